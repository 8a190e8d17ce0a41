"""The loss and the accuracy over the levels of the taxonomy, against sums by hand."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.hierarchy import Array, accuracy_by_level, hierarchical_loss
from model.taxonomy import Taxonomy

TREE = Taxonomy(("Fashion > Tops > Knitwear", "Home", "Fashion > Shoes", "Fashion > Tops > Shirts"))
EYE = np.eye(4, dtype=np.float32)
ODDS = np.array([[0.1, 0.2, 0.3, 0.4], [0.25, 0.5, 0.125, 0.125], [0.1, 0.7, 0.1, 0.1]])
LEAF = np.array([0, 1, 2], np.int32)


def loss_of(
    odds: np.ndarray,
    share: np.ndarray,
    *,
    parent_weight: float = 0.5,
    smoothing: float = 0.0,
    robustness: float = 0.0,
) -> list[float]:
    loss = hierarchical_loss(
        TREE, parent_weight=parent_weight, smoothing=smoothing, robustness=robustness
    )
    logits = np.log(odds).astype(np.float32)
    return list(keras.ops.convert_to_numpy(loss(share.astype("f4"), logits)).astype(float))


def test_the_loss_by_hand() -> None:
    """Leaf, then `Fashion` or `Home`, then `Fashion > Tops`, `Home`, `Fashion > Shoes`."""
    expected = [
        -math.log(0.1) - 0.5 * math.log(0.8) - 0.5 * math.log(0.5),
        -math.log(0.5) - 0.5 * math.log(0.5) - 0.5 * math.log(0.5),
        -math.log(0.1) - 0.5 * math.log(0.3) - 0.5 * math.log(0.1),
    ]
    assert loss_of(ODDS, EYE[LEAF]) == pytest.approx(expected, abs=1e-5)


def test_smoothing_by_hand() -> None:
    odds, share = ODDS[0], 0.2 / 4
    expected = -sum((share + 0.8 * (leaf == 0)) * math.log(odds[leaf]) for leaf in range(4))
    found = loss_of(ODDS[:1], EYE[:1], parent_weight=0.0, smoothing=0.2)
    assert found == pytest.approx([expected], abs=1e-5)


def test_robustness_by_hand() -> None:
    """(1 - p^q) / q of the leaf, of `Fashion` and of `Fashion > Tops`."""
    q = 0.5
    expected = sum(w * (1 - p**q) / q for w, p in ((1.0, 0.1), (0.5, 0.8), (0.5, 0.5)))
    found = loss_of(ODDS[:1], EYE[:1], robustness=q)
    assert found == pytest.approx([expected], abs=1e-5)


def test_little_robustness_is_the_cross_entropy_and_much_is_bounded() -> None:
    plain, nearly = (loss_of(ODDS, EYE[LEAF], robustness=q) for q in (0.0, 1e-4))
    assert nearly == pytest.approx(plain, rel=1e-3)
    hopeless = np.array([[1e-30, 1.0, 1e-30, 1e-30]])
    wrong = loss_of(hopeless, EYE[:1], robustness=0.7)
    assert wrong[0] < 2 / 0.7 < loss_of(hopeless, EYE[:1])[0]


@settings(max_examples=30)
@given(st.floats(0, 1), st.sampled_from((0.0, 0.6)), st.integers(0, 2**32 - 1))
def test_the_loss_of_a_mixture_is_the_mixture_of_the_losses(
    kept: float, robustness: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    odds = rng.dirichlet(np.ones(4), 3)
    one, other = EYE[rng.integers(0, 4, 3)], EYE[rng.integers(0, 4, 3)]
    options = {"smoothing": 0.1, "robustness": robustness}
    mixed = loss_of(odds, kept * one + (1 - kept) * other, **options)
    parts = np.array([loss_of(odds, share, **options) for share in (one, other)])
    assert mixed == pytest.approx(list(kept * parts[0] + (1 - kept) * parts[1]), abs=1e-4)


@pytest.mark.parametrize("parent_weight", [0.0, 0.5, 2.0])
def test_a_mistake_within_the_parent_costs_less(parent_weight: float) -> None:
    near = loss_of(np.array([[0.1, 0.1, 0.1, 0.7]]), EYE[:1], parent_weight=parent_weight)
    far = loss_of(np.array([[0.1, 0.7, 0.1, 0.1]]), EYE[:1], parent_weight=parent_weight)
    gap = parent_weight * (math.log(0.9 / 0.3) + math.log(0.8 / 0.2))
    assert far[0] - near[0] == pytest.approx(gap, abs=1e-5)


def test_a_flat_taxonomy_has_the_plain_cross_entropy() -> None:
    loss = hierarchical_loss(Taxonomy(("a", "b")), parent_weight=9.0, smoothing=0.0)
    found = loss(EYE[1:2, :2], np.log(np.array([[0.2, 0.8]], np.float32)))
    assert float(found[0]) == pytest.approx(-math.log(0.8), abs=1e-6)


def test_the_loss_of_a_hopeless_photo_is_finite() -> None:
    loss = hierarchical_loss(TREE, parent_weight=0.5, smoothing=0.1)
    logits = np.array([[-900.0, 900.0, -900.0, -900.0]], np.float32)
    assert np.isfinite(keras.ops.convert_to_numpy(loss(EYE[:1], logits))).all()


def brute_force(taxonomy: Taxonomy, leaf: np.ndarray, odds: Array) -> dict[str, float]:
    """Sum the odds of each ancestor by its name, photo by photo."""
    found = {}
    for level in range(1, taxonomy.depth):
        right = 0
        for true, row in zip(leaf, odds, strict=True):
            sums: dict[str, np.float32] = {}
            for path, share in zip(taxonomy.leaves, row, strict=True):
                name = " > ".join(path.split(" > ")[:level])
                sums[name] = sums.get(name, np.float32(0)) + share
            own = " > ".join(taxonomy.leaves[true].split(" > ")[:level])
            right += max(sums, key=lambda name: sums[name]) == own
        found[f"level_{level}"] = right / len(leaf)
    hits = [row.argmax() == true for true, row in zip(leaf, odds, strict=True)]
    return {**found, "leaf": sum(hits) / len(leaf)}


@settings(max_examples=60)
@given(st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_accuracy_equals_brute_force(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    odds = rng.dirichlet(np.full(4, 0.5), n).astype(np.float32)
    leaf = rng.integers(0, 4, n).astype(np.int32)
    assert accuracy_by_level(TREE, leaf, odds) == pytest.approx(brute_force(TREE, leaf, odds))


def test_accuracy_by_hand() -> None:
    odds = np.array([[0.3, 0.4, 0.0, 0.3], [0.1, 0.6, 0.2, 0.1]], np.float32)
    found = accuracy_by_level(TREE, np.array([0, 1], np.int32), odds)
    assert found == {"level_1": 1.0, "level_2": 1.0, "leaf": 0.5}
    assert accuracy_by_level(TREE, np.empty(0, np.int32), np.empty((0, 4), np.float32)) == {}
    assert accuracy_by_level(Taxonomy(("a", "b")), LEAF[:1], odds[:1, :2]) == {"leaf": 0.0}


def test_a_closed_leaf_is_nowhere() -> None:
    """Retired: no level counts it, smoothing gives it nothing, and it is never the answer."""
    tree = Taxonomy(("A > a", "A > b", "B > c"), {"A > b": ()})
    logits = np.array([[1.0, 3.0, 0.5]], np.float32)
    share = np.array([[1.0, 0.0, 0.0]], np.float32)
    loss = hierarchical_loss(tree, parent_weight=1.0, smoothing=0.2)
    odds = np.exp(logits) / np.exp(logits).sum()
    leaf = -(0.9 * np.log(odds[0, 0]) + 0.1 * np.log(odds[0, 2]))
    parent = -np.log(odds[0, 0])  # of A only `a` is left
    np.testing.assert_allclose(loss(share, logits), [leaf + parent], rtol=1e-5)
    found = accuracy_by_level(tree, np.array([0], np.int32), odds)
    assert found == {"level_1": 1.0, "leaf": 1.0}
