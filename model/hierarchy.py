"""The loss and the accuracy over every level of the taxonomy from one softmax over its leaves.

An ancestor's probability is the sum of its leaves', so the levels can never disagree and a
mistake within the right parent costs less than one across departments.
"""

from collections.abc import Callable

import keras
import numpy as np
import numpy.typing as npt

from model.taxonomy import Taxonomy

Loss = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]
Array = npt.NDArray[np.float32]


def hierarchical_loss(taxonomy: Taxonomy, *, parent_weight: float, smoothing: float) -> Loss:
    """Cross entropy of the leaf plus `parent_weight` times that of each ancestor level.

    The loss takes leaf ids [n] and logits [n, leaves]; smoothing applies to the leaf level.
    """
    leaves = len(taxonomy.leaves)
    levels = [_membership(taxonomy, level) for level in range(1, taxonomy.depth)]

    def loss(leaf: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
        leaf = keras.ops.cast(keras.ops.reshape(leaf, (-1,)), "int32")
        target = keras.ops.one_hot(leaf, leaves)
        smoothed = target * (1 - smoothing) + smoothing / leaves
        total = -keras.ops.sum(smoothed * keras.ops.log_softmax(logits), axis=-1)
        odds = keras.ops.softmax(logits)
        for membership in levels:
            own = keras.ops.sum(
                keras.ops.matmul(odds, membership) * keras.ops.matmul(target, membership), axis=-1
            )
            total = total - parent_weight * keras.ops.log(keras.ops.maximum(own, 1e-7))
        return total

    return loss


def accuracy_by_level(
    taxonomy: Taxonomy, leaf: npt.NDArray[np.int32], odds: Array
) -> dict[str, float]:
    """Share of rows whose best node is right, at `level_1` (the top) .. and `leaf`."""
    if not len(leaf):
        return {}
    found = {}
    for level in range(1, taxonomy.depth):
        membership = _membership(taxonomy, level)
        truth = taxonomy.node_of_leaf(level)[leaf]
        found[f"level_{level}"] = float(np.mean((odds @ membership).argmax(axis=1) == truth))
    found["leaf"] = float(np.mean(odds.argmax(axis=1) == leaf))
    return found


def _membership(taxonomy: Taxonomy, level: int) -> Array:
    """float32 [leaves, nodes]: 1 where the leaf lies below the node."""
    node = taxonomy.node_of_leaf(level)
    return np.eye(len(taxonomy.nodes(level)), dtype=np.float32)[node]
