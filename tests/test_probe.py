"""The probe of attributes: a space that knows colour, one that knows nothing, and by hand."""

import numpy as np
import pytest

from model.evaluators import Interval, Summary
from model.probe import MIN_CHOICE, NEIGHBOURS, UNKNOWN, Probe, lift
from model.retrieval import Pair

COLOURS = 4
ROUNDS = 200


def probe(asked: np.ndarray, base: np.ndarray, **given: Pair) -> Probe:
    """All of one leaf, all of other products, unless said otherwise."""
    pairs = {
        "leaf": Pair(np.zeros(len(asked), np.int64), np.zeros(len(base), np.int64)),
        "group": Pair(np.arange(len(asked)), -1 - np.arange(len(base))),
    }
    return Probe(Pair(asked, base), **{**pairs, **given})


def colours(n: int) -> np.ndarray:
    return np.arange(n) % COLOURS


def one_hot(values: np.ndarray) -> np.ndarray:
    return np.eye(COLOURS, dtype=np.float32)[values]


def units(n: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_space_that_is_the_colour_lifts_by_one_over_chance() -> None:
    asked, base = colours(12), colours(40)
    share, chance = probe(asked, base).measure(one_hot(asked), one_hot(base))
    assert (share.tolist(), chance.tolist()) == ([1.0] * 12, [1 / COLOURS] * 12)
    whole, quarter, four = (Interval(value, value, value) for value in (1.0, 0.25, 4.0))
    expected = Summary(12, 0, {"share": whole, "chance": quarter, "lift": four})
    assert lift(share, chance, np.arange(12), ROUNDS) == expected


def test_a_space_that_knows_nothing_lifts_nothing() -> None:
    asked, base = colours(400), colours(200)
    measured = probe(asked, base).measure(units(400, 0), units(200, 1))
    found = lift(*measured, np.arange(400), ROUNDS).measures["lift"]
    assert found.low < 1 < found.high
    assert found.high - found.low < 0.3


def test_a_neighbour_counts_once_by_hand() -> None:
    """Of a red query's five nearest three are red; of the ten in its leaf four."""
    base = np.array([0, 0, 0, 1, 1, 1, 2, 2, 0, 3])
    turns = np.radians(np.arange(1, 11, dtype=float))
    circle = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)
    start = np.array([[1, 0]], np.float32)
    share, chance = probe(np.array([0]), base).measure(start, circle)
    assert (NEIGHBOURS, MIN_CHOICE, share.tolist(), chance.tolist()) == (5, 10, [0.6], [0.4])


def test_neighbours_are_of_the_own_leaf_but_not_of_the_own_product() -> None:
    """Two leaves in one gallery; a query's own product would be its best answer."""
    base = np.concatenate([np.full(12, 1), np.arange(12) % 2])
    leaf = Pair(np.array([1]), np.repeat([0, 1], 12))
    group = Pair(np.array([7]), np.concatenate([np.arange(100, 112), [0, 7], np.arange(10, 20)]))
    asked = np.array([1])
    share, chance = probe(asked, base, leaf=leaf, group=group).measure(
        one_hot(asked), one_hot(base)
    )
    assert (share.tolist(), chance.tolist()) == ([1.0], [5 / 11])


def test_unknown_values_neither_ask_nor_answer() -> None:
    asked, base = np.array([UNKNOWN, 0]), np.concatenate([colours(12), np.full(30, UNKNOWN)])
    base_vectors = np.concatenate([one_hot(colours(12)), one_hot(np.zeros(30, int))])
    share, chance = probe(asked, base).measure(one_hot(np.array([0, 0])), base_vectors)
    np.testing.assert_array_equal(share, [np.nan, 3 / NEIGHBOURS])
    np.testing.assert_array_equal(chance, [np.nan, 3 / 12])


@pytest.mark.parametrize(
    "base",
    [
        colours(MIN_CHOICE - 1),  # the neighbours would be half of all
        np.zeros(30, int),  # all share the colour
        np.ones(30, int),  # none does
        np.empty(0, int),
    ],
)
def test_where_nothing_can_be_told_the_query_is_left_out(base: np.ndarray) -> None:
    share, chance = probe(np.array([0]), base).measure(units(1, 0), units(len(base), 1))
    assert np.isnan([share, chance]).all()
    assert lift(share, chance, np.array([0]), ROUNDS) == Summary(0, 1, {})


def test_the_lift_is_the_ratio_of_the_means() -> None:
    share, chance = np.array([1.0, 0.0, np.nan]), np.array([0.2, 0.6, np.nan])
    found = lift(share, chance, np.arange(3), ROUNDS)
    assert (found.queries, found.left_out) == (2, 1)
    assert found.measures["lift"].value == pytest.approx(0.5 / 0.4)
    assert (found.measures["lift"].low, found.measures["lift"].high) == (0.0, pytest.approx(5.0))
