"""From Keras to the ONNX graph that embeds the catalogue and serves.

TensorFlow stays out of serving, and the catalogue is embedded by the very graph that embeds a
shopper's photo.
"""

import warnings
from pathlib import Path

import keras
import onnx
from onnx import helper

from model.fuse import EMBEDDING, LEAF


def export_embedder(model: keras.Model, side: int, path: Path) -> None:
    """Write uint8 [n, side, side, 3] -> `embedding` float32 [n, D] of unit length, `leaf` odds."""
    pixels = keras.Input((side, side, 3), dtype="uint8", name="pixels")
    out = model(pixels, training=False)
    graph = keras.Model(
        pixels,
        [
            keras.layers.UnitNormalization(name="unit", dtype="float32")(out["embedding"]),
            keras.layers.Softmax(name="odds", dtype="float32")(out["logits"]),
        ],
    )
    signature = [keras.InputSpec(shape=(None, side, side, 3), dtype="uint8", name="pixels")]
    with warnings.catch_warnings():
        # Keras 3.15 looks for the `np.object` of NumPy 1; nothing follows from it.
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        graph.export(str(path), format="onnx", input_signature=signature, verbose=False)
    exported = onnx.load(path)
    _rename_outputs(exported.graph, [EMBEDDING, LEAF])
    onnx.save(exported, path)


def _rename_outputs(graph: onnx.GraphProto, names: list[str]) -> None:
    for output, name in zip(graph.output, names, strict=True):
        graph.node.append(helper.make_node("Identity", [output.name], [name]))
        output.name = name
