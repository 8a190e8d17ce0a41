"""The least embedder there is: a graph without a convolution, and so without an int8 form."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper


def write_mean_colours(path: Path, side: int) -> None:
    """An ONNX graph from pixels uint8 [n, side, side, 3] to their mean colour [n, 3]."""
    make = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["embedding"], axes=[1, 2], keepdims=0),
        helper.make_node("Softmax", ["embedding"], ["leaf"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mean colours",
        [make("pixels", TensorProto.UINT8, ["n", side, side, 3])],
        [make(name, TensorProto.FLOAT, ["n", 3]) for name in ("embedding", "leaf")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
