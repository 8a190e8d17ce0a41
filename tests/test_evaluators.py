"""Retrieval measures against values by hand, and how sure their means are."""

from dataclasses import astuple
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from model import evaluators
from model.errors import BadInput
from model.evaluators import (
    Interval,
    Ranking,
    Summary,
    category_measures,
    hit_rates,
    intervals,
    lower_bound,
    product_measures,
    recall_by_query,
    summaries,
)

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


def ranking(places: str, existing: int | None = None) -> Ranking:
    """A query's answers in one letter each: `x` is right."""
    right = np.array([[place == "x" for place in places]], bool)
    return Ranking.whole(right) if existing is None else Ranking(right, np.array([existing]))


LOG3 = float(np.log2(3))


@pytest.mark.parametrize(
    ("places", "existing", "expected"),
    [
        # precision@3, recall@3, hit@3, AP, nDCG@3, RR
        ("x..", 1, (1, 1, 1, 1, 1, 1)),
        (".x.", 1, (0, 1, 1, 1 / 2, 1 / LOG3, 1 / 2)),  # one place is enough for one right answer
        ("...x", 1, (0, 0, 0, 1 / 4, 0, 1 / 4)),
        ("....", 1, (0, 0, 0, 0, 0, 0)),  # not ranked at all
        ("xxx", 3, (1, 1, 1, 1, 1, 1)),
        ("x.x.", 2, (1 / 2, 1, 1, (1 + 2 / 3) / 2, 1.5 / (1 + 1 / LOG3), 1)),
        ("xxxx", 4, (1, 3 / 4, 1, 1, 1, 1)),
        (".xx.x", 3, (2 / 3, 2 / 3, 1, (1 / 2 + 2 / 3 + 3 / 5) / 3, None, 1 / 2)),
        ("xx", 5, (2 / 3, 2 / 5, 1, 1, None, 1)),  # cut: the mean of AP is over 2, not 5
        ("x.", 5, (1 / 3, 1 / 5, 1, 1 / 2, None, 1)),
    ],
)
def test_measures_by_hand(places: str, existing: int, expected: tuple[float | None, ...]) -> None:
    one = ranking(places, existing)
    values = (
        one.precision(3),
        one.recall(3),
        one.hit(3),
        one.average_precision(),
        one.ndcg(3),
        one.reciprocal_rank(),
    )
    assert {value.dtype for value in values} == {np.dtype(np.float64)}
    pairs = zip(values, expected, strict=True)
    assert [float(value[0]) for value, hand in pairs if hand is not None] == pytest.approx(
        [hand for hand in expected if hand is not None]
    )


def test_gain_by_hand() -> None:
    best = 1 + 1 / LOG3 + 1 / 2
    assert ranking(".xx.x").ndcg(3)[0] == pytest.approx((1 / LOG3 + 1 / 2) / best)
    assert ranking("xx", 5).ndcg(3)[0] == pytest.approx((1 + 1 / LOG3) / best)
    assert ranking("...x", 9).ndcg(4)[0] == pytest.approx(
        (1 / np.log2(5)) / (best + 1 / np.log2(5))
    )


def test_a_query_without_a_right_answer_has_no_value() -> None:
    for one in (ranking("..."), ranking("")):
        for _, values in (*category_measures(one), *product_measures(one)):
            assert np.isnan(values).all()
            assert values.shape == (1,)


def test_an_empty_ranking_finds_nothing() -> None:
    for _, values in (*category_measures(ranking("", 3)), *product_measures(ranking("", 3))):
        assert values.tolist() == [0.0]


def test_the_evaluators_yield_names_and_values() -> None:
    one = ranking(".x")
    found = {name: float(values[0]) for name, values in category_measures(one)}
    assert found == {
        "precision@10": 0.0,
        "recall@10": 1.0,
        "hit@1": 0.0,
        "hit@10": 1.0,
        "mAP": 0.5,
        "nDCG@10": pytest.approx(1 / LOG3),
        "MRR": 0.5,
    }
    names = [name for name, _ in product_measures(one)]
    assert names == ["hit@1", "hit@5", "hit@10", "hit@20", "mAP", "nDCG@20", "MRR"]


@pytest.mark.parametrize("existing", [np.array([1]), np.array([2, 2]), np.array([[2]])])
def test_more_ranked_than_there_are_is_refused(existing: np.ndarray) -> None:
    with pytest.raises(BadInput, match="at least as many right answers as are ranked"):
        Ranking(np.array([[True, True]]), existing)


RIGHT = st.integers(0, 10_000).map(
    lambda seed: np.random.default_rng(seed).random((5, seed % 30 + 1)) < (seed % 7) / 6
)


@given(RIGHT, st.integers(1, 40))
def test_values_are_shares_and_a_better_ranking_is_better(right: np.ndarray, k: int) -> None:
    some, best, worst = (
        measured(Ranking.whole(each), k)
        for each in (right, -np.sort(-right.astype(int)) > 0, np.sort(right))
    )
    known = right.any(axis=1)
    for name in some:
        assert np.isnan(some[name][~known]).all()
        assert (worst[name][known] <= some[name][known] + 1e-12).all()
        assert (some[name][known] <= best[name][known] + 1e-12).all()
        assert (worst[name][known] >= 0).all()
    existing = right.sum(axis=1)[known]
    for name in ("precision", "hit", "AP", "nDCG", "RR"):
        assert best[name][known] == pytest.approx(1.0)
    assert best["recall"][known] == pytest.approx(np.minimum(k, existing) / existing)


@given(RIGHT, st.integers(1, 40), st.randoms(use_true_random=False))
def test_queries_do_not_see_each_other(right: np.ndarray, k: int, random: Random) -> None:
    order = list(range(len(right)))
    random.shuffle(order)
    together, apart = measured(Ranking.whole(right), k), measured(Ranking.whole(right[order]), k)
    for name, values in together.items():
        np.testing.assert_array_equal(values[order], apart[name])


@given(RIGHT, st.integers(1, 40))
def test_the_measures_are_those_of_scikit_learn(right: np.ndarray, k: int) -> None:
    scores = -np.arange(right.shape[1], dtype=float)
    found = measured(Ranking.whole(right), k)
    for query in np.flatnonzero(right.any(axis=1)):
        expected = average_precision_score(right[query], scores)
        assert found["AP"][query] == pytest.approx(expected)
        if right.shape[1] > 1:
            gain = ndcg_score(right[query][None], scores[None], k=k)
            assert found["nDCG"][query] == pytest.approx(gain)


def measured(one: Ranking, k: int) -> dict[str, np.ndarray]:
    return {
        "precision": one.precision(k),
        "recall": one.recall(k),
        "hit": one.hit(k),
        "AP": one.average_precision(),
        "nDCG": one.ndcg(k),
        "RR": one.reciprocal_rank(),
    }


def near(one: Interval) -> Interval:
    return Interval(*(pytest.approx(value) for value in astuple(one)))


def test_the_interval_is_that_of_the_normal_law_for_many_values() -> None:
    values = (np.arange(2000) % 10 < 9).astype(float)[:, None]  # mean 0.9, deviation 0.3
    (found,) = intervals(values, np.arange(2000), 4000)
    half = 1.96 * 0.3 / np.sqrt(2000)
    assert found.value == pytest.approx(0.9)
    assert (found.low, found.high) == pytest.approx((0.9 - half, 0.9 + half), abs=1e-3)


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    samples = (rng.random((60, 400)) < 0.3).astype(float)  # 400 samples of 60 queries
    found = intervals(samples, np.arange(60), 500)
    held = np.mean([each.low <= 0.3 <= each.high for each in found])
    assert 0.9 <= held <= 0.98


def test_photos_of_a_product_are_drawn_together() -> None:
    values = np.random.default_rng(0).random((50, 1))
    once = intervals(values, np.arange(50), 300)
    four_views = intervals(np.repeat(values, 4, axis=0), np.repeat(np.arange(50), 4), 300)
    as_if_apart = intervals(np.repeat(values, 4, axis=0), np.arange(200), 300)
    assert four_views[0] == near(once[0])
    assert as_if_apart[0].high - as_if_apart[0].low < 0.6 * (once[0].high - once[0].low)


def test_columns_are_drawn_alike_and_a_seed_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((40, 1))
    twice = intervals(np.concatenate([values, values], axis=1), np.arange(40), 100)
    assert twice == [near(intervals(values, np.arange(40), 100)[0])] * 2
    assert intervals(values, np.arange(40), 100, seed=1)[0] != twice[0]
    wide = intervals(values, np.arange(40), 100, confidence=0.5)[0]
    assert twice[0].low < wide.low < wide.value < wide.high < twice[0].high
    monkeypatch.setattr(evaluators, "DRAWN_AT_ONCE", 7 * 40)
    assert intervals(values, np.arange(40), 100)[0] == near(twice[0])


def test_a_ratio_has_an_interval_too() -> None:
    half = np.random.default_rng(0).random((40, 1))
    (found,) = intervals(2 * half, np.arange(40), 100, against=half)
    assert found == near(Interval(2.0, 2.0, 2.0))


def test_no_interval_without_queries() -> None:
    with pytest.raises(BadInput, match="No mean without queries"):
        intervals(np.empty((0, 1)), np.empty(0, np.int64), 10)


def test_summaries_leave_out_and_count() -> None:
    values = {"hit@1": np.array([1.0, 0.0, np.nan, 1.0]), "mAP": np.array([1.0, 0.5, np.nan, 1.0])}
    slices = {
        "all": np.array([True] * 4),
        "wild": np.array([True, False, True, True]),
        "lost": np.array([False, False, True, False]),
        "none": np.array([False] * 4),
    }
    found = dict(summaries(values, slices, np.array([0, 1, 2, 0]), 200))
    one = Interval(1.0, 1.0, 1.0)
    assert list(found) == ["all", "wild", "lost"]
    assert found["wild"] == Summary(2, 1, {"hit@1": one, "mAP": one})
    assert found["lost"] == Summary(0, 1, {})
    assert (found["all"].queries, found["all"].left_out) == (3, 1)
    assert found["all"].measures["hit@1"] == Interval(pytest.approx(2 / 3), 0.0, 1.0)
