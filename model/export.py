"""From Keras to the ONNX graph that embeds the catalogue and serves.

TensorFlow stays out of serving, and the catalogue is embedded by the very graph that embeds a
shopper's photo.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import onnx
from onnx import helper, numpy_helper

from model.errors import BadInput
from model.fuse import EMBEDDING, LEAF
from model.precision import in_float32
from model.taps import DEFAULT, Taps


def embedder(model: keras.Model, side: int, taps: Taps = DEFAULT) -> keras.Model:
    """uint8 [n, side, side, 3] -> `embedding` float32 [n, D] of unit length, `leaf` odds.

    In float32 whatever `model` was trained in; both are what the exported graph must give.
    """
    pixels = keras.Input((side, side, 3), dtype="uint8", name="pixels")
    outputs = in_float32(model)(pixels, training=False)
    odds = keras.layers.Softmax(name="odds", dtype="float32")(outputs["logits"])
    return keras.Model(pixels, {EMBEDDING: taps.join(outputs), LEAF: odds})


def export_embedder(model: keras.Model, side: int, path: Path, taps: Taps = DEFAULT) -> None:
    """Write the `embedder` as an ONNX graph of outputs `embedding` and `leaf`."""
    export(embedder(model, side, taps), path, (EMBEDDING, LEAF))


def export(network: keras.Model, path: Path, names: Sequence[str]) -> None:
    """Write a network of photos as an ONNX graph with the named outputs. Raises BadInput."""
    side = network.input.shape[1]
    graph = keras.Model(network.input, [network.output[name] for name in names])
    signature = [keras.InputSpec(shape=(None, side, side, 3), dtype="uint8", name="pixels")]
    with warnings.catch_warnings():
        # Keras 3.15 looks for the `np.object` of NumPy 1; nothing follows from it.
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        graph.export(str(path), format="onnx", input_signature=signature, verbose=False)
    exported = onnx.load(path)
    _rename_outputs(exported.graph, names)
    _replace_erfc(exported.graph)
    try:
        onnx.checker.check_model(exported)
    except onnx.checker.ValidationError as error:
        path.unlink()
        raise BadInput(
            f"The network cannot be exported. Expected layers that ONNX knows. Received: {error} "
            f"Set another `train.backbone`."
        ) from error
    onnx.save(exported, path)


def _rename_outputs(graph: onnx.GraphProto, names: Sequence[str]) -> None:
    for output, name in zip(graph.output, names, strict=True):
        graph.node.append(helper.make_node("Identity", [output.name], [name]))
        output.name = name


def _replace_erfc(graph: onnx.GraphProto) -> None:
    """TensorFlow's GELU is made of erfc, which is not in ONNX; it is 1 - erf."""
    nodes = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type == "Erfc":
            erfc, erf, one = node.output[0], f"{node.name}/erf", f"{node.name}/one"
            graph.initializer.append(numpy_helper.from_array(np.float32(1), one))
            node.op_type, node.output[0] = "Erf", erf
            nodes.append(helper.make_node("Sub", [one, erf], [erfc]))
    del graph.node[:]
    graph.node.extend(nodes)
