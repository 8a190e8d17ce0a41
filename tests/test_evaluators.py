"""Retrieval measures against values by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.evaluators import hit_rates, lower_bound, recall_by_query

NONE = -np.inf
SHARES = st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), min_size=1, max_size=60)


def scores(rows: list[list[float]]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(len(rows), -1)


@pytest.mark.parametrize(
    ("found", "true", "k", "expected"),
    [
        ([[0.9, 0.8, 0.7]], [[0.9, 0.8, 0.7]], 3, [1.0]),
        ([[0.9, 0.8, 0.6]], [[0.9, 0.8, 0.7]], 3, [2 / 3]),
        ([[0.9, 0.6, 0.5]], [[0.9, 0.8, 0.7]], 1, [1.0]),
        ([[0.6, 0.9, 0.8]], [[0.9, 0.8, 0.7]], 3, [2 / 3]),  # order does not matter
        ([[0.8, 0.8, 0.8]], [[0.9, 0.8, 0.8]], 3, [1.0]),  # duplicates of the last place
        ([[0.7, 0.69995, 0.6997]], [[0.9, 0.8, 0.7]], 3, [2 / 3]),  # a tie is 1e-4 wide
        ([[0.9, NONE, NONE]], [[0.9, 0.8, 0.7]], 3, [1 / 3]),
        ([[NONE, NONE, NONE]], [[0.9, 0.8, 0.7]], 3, [0.0]),
        ([[0.9]], [[0.9, 0.8]], 2, [0.5]),  # an engine that answers with fewer columns
        ([[0.9, 0.8]], [[0.9, 0.8]], 10, [1.0]),  # k above n: there are only two places
        ([[0.9, NONE]], [[0.9, 0.8]], 10, [0.5]),
        ([[0.9, 0.1], [0.9, 0.8]], [[0.9, 0.8], [0.9, 0.8]], 2, [0.5, 1.0]),
    ],
)
def test_recall_by_hand(
    found: list[list[float]], true: list[list[float]], k: int, expected: list[float]
) -> None:
    recall = recall_by_query(scores(found), scores(true), k)
    assert (recall.tolist(), recall.dtype) == (expected, np.float64)


def test_recall_without_anything_to_find_is_whole() -> None:
    nothing = np.empty((3, 0), np.float32)
    assert recall_by_query(nothing, nothing, 10).tolist() == [1.0, 1.0, 1.0]
    no_queries = np.empty((0, 5), np.float32)
    assert recall_by_query(no_queries, no_queries, 5).shape == (0,)


def test_the_tie_is_a_setting() -> None:
    found, true = scores([[0.9, 0.75]]), scores([[0.9, 0.8]])
    assert recall_by_query(found, true, 2, tie=0.1).tolist() == [1.0]
    assert recall_by_query(found, true, 2, tie=0.0).tolist() == [0.5]


@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 1000))
def test_the_truth_recalls_itself(n: int, k: int, seed: int) -> None:
    best = -np.sort(-np.random.default_rng(seed).normal(size=(4, n)).astype(np.float32), axis=1)
    assert recall_by_query(best[:, :k], best[:, :k], k).tolist() == [1.0] * 4
    worse = np.where(np.arange(n) < k - 1, best, NONE)
    expected = [(min(k, n) - (k <= n)) / min(k, n)] * 4
    assert recall_by_query(worse[:, :k], best, k).tolist() == expected


@given(SHARES)
def test_the_bound_lies_between_the_worst_and_the_mean(shares: list[float]) -> None:
    values = np.array(shares)
    bound = lower_bound(values, 200)
    assert values.min() - 1e-12 <= bound <= values.mean() + 1e-12
    assert lower_bound(values, 200) == bound


def test_the_bound_follows_its_seed_and_confidence() -> None:
    values = np.random.default_rng(1).random(200)
    first = lower_bound(values, 300)
    assert lower_bound(values, 300, seed=1) != first
    assert lower_bound(values, 300, confidence=0.999) < first < lower_bound(
        values, 300, confidence=0.6
    )  # fmt: skip


def test_the_bound_is_that_of_the_normal_law_for_many_values() -> None:
    values = (np.arange(2000) % 10 < 9).astype(float)  # mean 0.9, deviation 0.3
    expected = 0.9 - 1.645 * 0.3 / np.sqrt(2000)
    assert lower_bound(values, 2000) == pytest.approx(expected, abs=1e-3)


def test_the_bound_of_constants_and_of_nothing() -> None:
    assert lower_bound(np.ones(7), 50) == 1.0
    assert lower_bound(np.empty(0), 50) == 0.0


def test_hit_rates_by_hand() -> None:
    found = np.array(
        [[7, 1, 2, 3, 4, 9], [5, 7, 0, 0, 0, 0], [1, 1, 1, 1, 1, 7], [0, 0, 0, 0, 0, 0]]
    )
    wanted = np.array([7, 7, 7, 7])
    assert dict(hit_rates(found, wanted)) == {"hit@1": 0.25, "hit@5": 0.5, "hit@10": 0.75}
    assert list(hit_rates(found, wanted, ks=(2,))) == [("hit@2", 0.5)]


def test_hit_rates_of_names() -> None:
    found = np.array([["hat", "bag"], ["lamp", "hat"]])
    rates = dict(hit_rates(found, np.array(["bag", "rug"]), ks=(1, 2)))
    assert rates == {"hit@1": 0.0, "hit@2": 0.5}
