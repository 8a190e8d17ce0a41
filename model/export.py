"""From Keras to the ONNX graph that embeds the catalogue and serves.

TensorFlow stays out of serving, and the catalogue is embedded by the very graph that embeds a
shopper's photo.
"""

from pathlib import Path

import keras
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model.pca import Reducer

EMBEDDING, LEAF, VECTOR = "embedding", "leaf", "vector"


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
    graph.export(str(path), format="onnx", input_signature=signature, verbose=False)
    exported = onnx.load(path)
    _rename_outputs(exported.graph, [EMBEDDING, LEAF])
    onnx.save(exported, path)


def fuse_reducer(embedder: Path, reducer: Reducer, path: Path) -> None:
    """Append the reducer and the norm: `embedding` becomes `vector` float32 [n, d]."""
    model = onnx.load(embedder)
    graph = model.graph
    components = np.ascontiguousarray(reducer.components)
    graph.initializer.append(numpy_helper.from_array(components, "reducer_components"))
    graph.node.extend(
        [
            helper.make_node("MatMul", [EMBEDDING, "reducer_components"], ["reduced"]),
            helper.make_node("LpNormalization", ["reduced"], [VECTOR], axis=1, p=2),
        ]
    )
    leaf = next(output for output in graph.output if output.name == LEAF)
    vector = helper.make_tensor_value_info(
        VECTOR, TensorProto.FLOAT, ["n", reducer.components.shape[1]]
    )
    del graph.output[:]
    graph.output.extend([vector, leaf])
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _rename_outputs(graph: onnx.GraphProto, names: list[str]) -> None:
    for output, name in zip(graph.output, names, strict=True):
        graph.node.append(helper.make_node("Identity", [output.name], [name]))
        output.name = name
