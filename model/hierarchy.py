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


def hierarchical_loss(
    taxonomy: Taxonomy, *, parent_weight: float, smoothing: float, robustness: float = 0.0
) -> Loss:
    """Loss of the leaf plus `parent_weight` times that of each ancestor level.

    The loss takes shares of the leaves float32 [n, leaves], one-hot or mixed, and logits
    [n, leaves], and gives float32 [n]; smoothing applies to the leaf level. It is the generalised
    cross entropy (Zhang & Sabuncu 2018, arXiv 1805.07836): with `robustness` q of 0 the cross
    entropy, towards 1 the mean absolute error, which a wrong label cannot pull far.
    """
    levels = [
        (taxonomy.node_of_leaf(level), len(taxonomy.nodes(level)))
        for level in range(1, taxonomy.depth)
    ]
    spread = (smoothing * taxonomy.open / max(taxonomy.open.sum(), 1)).astype(np.float32)

    def cost(share: keras.KerasTensor, log_odds: keras.KerasTensor) -> keras.KerasTensor:
        each = -keras.ops.expm1(robustness * log_odds) / robustness if robustness else -log_odds
        return keras.ops.sum(share * each, axis=-1)

    def loss(share: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
        smoothed = share * (1 - smoothing) + spread
        total = cost(smoothed, keras.ops.log_softmax(logits))
        odds = keras.ops.softmax(logits)
        for node, nodes in levels:
            own = keras.ops.maximum(_sums(odds, node, nodes), 1e-7)
            of_parent = _sums(share, node, nodes)
            total = total + parent_weight * cost(of_parent, keras.ops.log(own))
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
    found["leaf"] = float(np.mean((odds * taxonomy.open).argmax(axis=1) == leaf))
    return found


def _sums(values: keras.KerasTensor, node: npt.NDArray[np.int32], nodes: int) -> keras.KerasTensor:
    """[n, leaves] -> [n, nodes]; a matrix of leaves x nodes would cost 0.5 GB for 10,000 leaves."""
    of_leaf = keras.ops.transpose(values)
    # One more, for closed leaves, which are below no node.
    return keras.ops.transpose(keras.ops.segment_sum(of_leaf, node, nodes + 1)[:nodes])


def _membership(taxonomy: Taxonomy, level: int) -> Array:
    """float32 [leaves, nodes]: 1 where the leaf lies below the node; a closed leaf does nowhere."""
    nodes = len(taxonomy.nodes(level))
    return np.eye(nodes + 1, nodes, dtype=np.float32)[taxonomy.node_of_leaf(level)]
