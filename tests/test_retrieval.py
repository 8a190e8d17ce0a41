"""Search by exact ranking: what is right, what is barred, and that nothing leaks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import retrieval
from model.errors import BadInput
from model.evaluators import Ranking
from model.retrieval import Pair, check_vectors, ranked, same_category, street_to_shop
from model.taxonomy import Taxonomy

TREE = Taxonomy(("Home > Lamps", "Home > Rugs", "Toys > Bears"))


def units(n: int, d: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def angles(*degrees: float) -> np.ndarray:
    turns = np.radians(degrees)
    return np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)


def codes(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_the_same_category_by_hand() -> None:
    """A lamp sees, in this order: its own other view, a rug, a bear, a lamp."""
    task = same_category(
        TREE,
        leaf=Pair(codes(0), codes(0, 1, 2, 0)),
        group=Pair(codes(7), codes(7, 1, 2, 3)),
    )
    found = task.measure(angles(0), angles(1, 10, 20, 30))
    assert list(found) == ["level_1", "leaf"]
    top, leaf = found["level_1"], found["leaf"]
    assert {name: float(values[0]) for name, values in leaf.items()} == {
        "precision@10": 0.0,  # one lamp to find, so one place
        "recall@10": 1.0,
        "hit@1": 0.0,
        "hit@10": 1.0,
        "mAP": pytest.approx(1 / 3),
        "nDCG@10": pytest.approx(1 / 2),
        "MRR": pytest.approx(1 / 3),
    }
    assert float(top["mAP"][0]) == pytest.approx((1 + 2 / 3) / 2)
    assert float(top["precision@10"][0]) == 1 / 2


def test_only_its_own_product_in_the_leaf_is_no_right_answer() -> None:
    task = same_category(TREE, Pair(codes(0), codes(0, 1)), Pair(codes(7), codes(7, 8)))
    found = task.measure(angles(0), angles(0, 90))
    assert np.isnan(found["leaf"]["mAP"]).tolist() == [True]
    assert found["level_1"]["mAP"].tolist() == [1.0]


def test_street_to_shop_by_hand() -> None:
    """The right product is fourth for the first photo, first for the second, lost to the third."""
    leaf = Pair(codes(0, 0, 0), codes(0, 0, 1, 2))
    task = street_to_shop(Pair(codes(5, 6, 9), codes(6, 4, 3, 5)), leaf)
    found = task.measure(angles(0, 0, 0), angles(1, 10, 20, 30))
    assert list(found) == ["product"]
    values = found["product"]
    np.testing.assert_array_equal(values["hit@1"], [0, 1, np.nan])
    np.testing.assert_array_equal(values["hit@5"], [1, 1, np.nan])
    np.testing.assert_array_equal(values["MRR"], [1 / 4, 1, np.nan])


def test_without_common_products_the_leaf_is_what_a_shopper_looks_for() -> None:
    task = street_to_shop(Pair(codes(5), codes(1, 2)), Pair(codes(1), codes(0, 1)))
    found = task.measure(angles(0), angles(1, 10))
    assert (list(found), found["leaf"]["MRR"].tolist()) == (["leaf"], [1 / 2])


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(0, 12), st.integers(0, 1000))
def test_the_order_is_that_of_the_cosines(q: int, g: int, seed: int) -> None:
    asked, base = units(q, 3, seed), units(g, 3, seed + 1)
    barred = Pair(np.arange(q) % 3, np.arange(g) % 4)
    for part, order, allowed in ranked(asked, base, barred.differ):
        for row, query in enumerate(range(q)[part]):
            may = [place for place in range(g) if place % 4 != query % 3]
            expected = sorted(may, key=lambda place: -float(asked[query] @ base[place]))
            assert order[row][allowed[row]].tolist() == expected
            assert allowed[row].tolist() == [True] * len(may) + [False] * (g - len(may))


@settings(max_examples=30)
@given(st.integers(0, 1000))
def test_neither_the_order_of_the_gallery_nor_the_blocks_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    asked, base = units(7, 4, seed), units(20, 4, seed + 1)
    leaf, group = rng.integers(0, 3, 27), rng.integers(0, 9, 27)
    order = rng.permutation(20)

    def measure(rows: np.ndarray) -> dict[str, np.ndarray]:
        pairs = [Pair(each[:7], each[7:][rows]) for each in (leaf, group)]
        return same_category(TREE, *pairs).measure(asked, base[rows])["leaf"]

    once = measure(np.arange(20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "BLOCK_BYTES", 4 * 20 * 2)  # two queries at a time
        again = measure(order)
    for name, values in once.items():
        np.testing.assert_allclose(values, again[name])


def test_the_evaluator_sees_the_whole_gallery() -> None:
    seen: list[Ranking] = []

    def evaluator(ranking: Ranking):  # type: ignore[no-untyped-def]
        seen.append(ranking)
        yield "places", np.full(len(ranking.existing), ranking.right.shape[1], float)

    task = retrieval.Task({"leaf": Pair(codes(0, 1), codes(0, 0, 1))}, evaluator)
    assert task.measure(angles(0, 9), angles(1, 2, 3))["leaf"]["places"].tolist() == [3.0, 3.0]
    assert seen[0].existing.tolist() == [2, 1]


def test_no_queries_and_no_gallery() -> None:
    task = same_category(TREE, Pair(codes(0), codes()), Pair(codes(0), codes()))
    empty = np.empty((0, 2), np.float32)
    assert np.isnan(task.measure(angles(0), empty)["leaf"]["mAP"]).all()
    assert task.measure(empty, angles(0)) == {}


def test_a_photo_that_says_nothing_may_be_zero() -> None:
    check_vectors(np.zeros((2, 3), np.float32), units(2, 3))


@pytest.mark.parametrize(
    "vectors",
    [
        2 * angles(0),
        np.full((1, 2), np.nan, np.float32),
        np.full((1, 2), np.inf, np.float32),
        0.5 * angles(0),
    ],
)
def test_vectors_of_another_length_are_refused(vectors: np.ndarray) -> None:
    with pytest.raises(BadInput, match="1 of 1 vectors cannot be compared by cosine"):
        next(ranked(angles(0), vectors))


@pytest.mark.parametrize("shapes", [((2, 3), (2, 4)), ((3,), (3,)), ((2, 3), (2, 3, 1))])
def test_vectors_of_another_width_are_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(BadInput, match="not of one space"):
        check_vectors(*(np.zeros(shape, np.float32) for shape in shapes))
