"""Append the reducer to the embedder's ONNX graph. Needs ONNX only, not TensorFlow."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model.reducer import Reducer

EMBEDDING, LEAF, VECTOR = "embedding", "leaf", "vector"


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
