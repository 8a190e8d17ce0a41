"""The policy's bounds: just within each, and just beyond."""

from datetime import date
from typing import Any

import pytest

from pipelines.evidence_record import AnswerFacts, DataFacts, Evidence, Serving
from pipelines.policy import UNNOTICED_MS, beyond
from pipelines.settings import Review

BOUNDS = Review(
    max_churn=0.5, max_item_change=0.25, max_recall_drop=0.125, max_leaf_drop=0.0625,
    max_slowdown=2.0,
)  # fmt: skip
DATA = DataFacts(items=100, champion_items=100, added=0, removed=0)
SERVING = Serving(
    p50_ms={"items": 100.0, "photos": 200.0},
    p99_ms={"items": 300.0, "photos": 600.0},
    load_seconds=2.0,
    memory_bytes=400_000_000,
)
ALIKE = Evidence(
    ds=date(2026, 11, 20),
    bundle="b" * 16,
    champion="a" * 16,
    champion_ds=date(2026, 11, 19),
    champion_version="1",
    champion_fault=None,
    data=DATA,
    retrained=False,
    space_changed=False,
    recall=0.75,
    champion_recall=0.75,
    leaf_precision=0.5,
    champion_leaf_precision=0.5,
    churn_net=0.0,
    answers=AnswerFacts(),
    serving=SERVING,
    champion_serving=SERVING,
    steps=(),
)


def of(**given: Any) -> list[str]:
    return beyond(ALIKE.model_copy(update=given), BOUNDS)


def data(**given: Any) -> dict[str, DataFacts]:
    return {"data": DATA.model_copy(update=given)}


def p50(**milliseconds: float | None) -> dict[str, Serving]:
    return {"serving": SERVING.model_copy(update={"p50_ms": {**SERVING.p50_ms, **milliseconds}})}


def test_what_is_alike_is_within() -> None:
    assert of() == []


@pytest.mark.parametrize(
    ("within", "over", "reason"),
    [
        ({"churn_net": 0.5}, {"churn_net": 0.501}, "churn net of noise is 0.501, above 0.5"),
        (data(added=25), data(added=26), "share of items that came is 0.260, above 0.25"),
        (data(removed=25), data(removed=26), "share of items that went is 0.260, above 0.25"),
        ({"recall": 0.625}, {"recall": 0.615}, "recall below the champion's is 0.135, above 0.125"),
        (
            {"leaf_precision": 0.4375},
            {"leaf_precision": 0.43},
            "right answers below the champion's is 0.070, above 0.0625",
        ),
        (
            p50(items=200.0),
            p50(items=200.5),
            "p50 of items is 200.5 ms, above 2 times the champion's 100 ms",
        ),
        (
            p50(photos=400.0),
            p50(photos=401.0),
            "p50 of photos is 401 ms, above 2 times the champion's 200 ms",
        ),
    ],
)
def test_each_bound(within: dict[str, Any], over: dict[str, Any], reason: str) -> None:
    assert of(**within) == []
    assert of(**over) == [reason]


def test_what_is_better_is_never_beyond() -> None:
    assert of(recall=1.0, leaf_precision=1.0, churn_net=-0.9, **p50(items=1.0, photos=1.0)) == []


def test_a_fast_answer_may_become_slower_unnoticed() -> None:
    """Three times nothing is nothing."""
    fast = {"champion_serving": SERVING.model_copy(update={"p50_ms": {"items": 1.0}})}
    assert of(**fast, **p50(items=1.0 + UNNOTICED_MS, photos=None)) == []
    assert of(**fast, **p50(items=1.5 + UNNOTICED_MS, photos=None)) == [
        "p50 of items is 21.5 ms, above 2 times the champion's 1 ms"
    ]


def test_the_slowest_of_few_queries_say_more_of_the_machine() -> None:
    slowest = {"items": 9_000.0, "photos": 9_000.0}
    assert of(serving=SERVING.model_copy(update={"p99_ms": slowest})) == []


def test_all_reasons_are_named_in_order() -> None:
    found = of(churn_net=0.9, recall=0.0, **data(added=50, removed=60), **p50(items=900.0))
    assert found == [
        "churn net of noise is 0.900, above 0.5",
        "share of items that came is 0.500, above 0.25",
        "share of items that went is 0.600, above 0.25",
        "recall below the champion's is 0.750, above 0.125",
        "p50 of items is 900 ms, above 2 times the champion's 100 ms",
    ]


def test_what_nobody_knows_is_not_beyond() -> None:
    """As after a new taxonomy, whose answers no former truth judges."""
    unknown = dict.fromkeys(("churn_net", "champion_recall", "champion_leaf_precision"))
    none = data(added=None, removed=None, champion_items=0)
    assert of(**unknown, **none, champion_serving=None) == []
    assert of(**data(added=7, champion_items=0)) == []


def test_the_first_bundle_of_a_shop_has_nothing_to_be_beyond_of() -> None:
    assert of(champion=None, churn_net=1.0, recall=0.0) == []


def test_a_champion_that_could_not_be_compared_is_for_a_person() -> None:
    assert of(champion_fault="vectors.npy is damaged", recall=0.0) == [
        "the champion cannot be compared with: vectors.npy is damaged"
    ]


def test_with_bounds_of_one_even_another_shop_is_within() -> None:
    wide = Review(
        max_churn=1, max_item_change=9, max_recall_drop=1, max_leaf_drop=1, max_slowdown=100
    )
    other = {"churn_net": 1.0, "recall": 0.0, "leaf_precision": 0.0}
    worst = ALIKE.model_copy(update=other | data(added=900, removed=100))
    assert beyond(worst, wide) == []
