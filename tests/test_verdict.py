"""What figures the gate refuses, in which words, and which precision serves."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import pytest

from pipelines.settings import Gate
from pipelines.verdict import Answers, Health, Rival, Slice, Verdict, choose, judge


def health(**given: Any) -> Health:
    """Figures that pass, but for what is given."""
    figures: dict[str, Any] = {
        "k": 10,
        "items": 1000,
        "missing": {},
        "unknown_items": 0,
        "repeated_items": 0,
        "wrong_vectors": 0,
        "stale_photos": 0,
        "sampled_photos": 256,
        "coverage": 1.0,
        "self_match": 1.0,
        "lost": {},
        "latency_ms": {"p50": 1.0, "p99": 2.0},
    }
    return Health(**{**figures, **given})


def answers(**given: Any) -> Answers:
    figures: dict[str, Any] = {
        "precision": "int8",
        "photos_per_second": 5000.0,
        "cosine": 0.999,
        "slices": (slice_of("all", 500, 0.99),),
        "rivals": (),
        "leaf_precision": 0.5,
        "leaf_chance": 0.01,
        "wild_photos": {},
    }
    return Answers(**{**figures, **given})


def slice_of(name: str, queries: int, bound: float) -> Slice:
    return Slice(name, queries, 1.0, bound, 0.004, 0.003, 0.006)


def rival(name: str, queries: int, gain: float) -> Rival:
    return Rival(name, queries, 0.5, 0.7, gain)


OF_HEALTH = {field.name for field in fields(Health)}


@pytest.mark.parametrize(
    ("given", "failures"),
    [
        ({}, []),
        ({"slices": ()}, []),
        (
            {"missing": {"Home > Lamps": 1, "A": 2, "C": 9, "B": 2}},
            [
                "14 items of the catalogue are not in the index: 9 of `C`, 2 of `A`, 2 of `B` and "
                "1 other categories"
            ],
        ),
        ({"unknown_items": 3}, ["3 rows of the index are of no item of the catalogue"]),
        ({"repeated_items": 3}, ["3 rows of the index repeat an item that has another"]),
        (
            {"wrong_vectors": 2},
            [
                "2 rows of the index do not have the vector of their item's photo: ids, photos and "
                "vectors are out of step"
            ],
        ),
        (
            {"stale_photos": 200},
            [
                "200 of 256 photos embedded again have another vector than the stored one: the "
                "embeddings are of another embedder"
            ],
        ),
        ({"lost": {"A": (2, 2), "B": (3, 30)}}, []),  # so few can be chance
        (
            {"lost": {"A": (3, 5), "B": (4, 39)}},
            ["7 items cannot be found by their own photo: 4 of `B`, 3 of `A`"],
        ),
        ({"rivals": (rival("all", 99, -0.3), rival("wild", 100, -0.1))}, []),
        (
            {"rivals": (rival("all", 500, 0.1), rival("wild", 100, -0.1001))},
            [
                "slice `wild`: 0.500 of the answers are of the query's category, 0.700 with the "
                "bundle that serves now; expected at most 0.10 less"
            ],
        ),
        ({"slices": (slice_of("all", 3, 0.95),)}, []),
        (
            {"slices": (slice_of("all", 3, 0.9499),)},
            [
                "slice `all`: recall@10 is at least 0.950, expected 0.95 (reducer loses 0.004, "
                "int8 0.003, engine 0.006)"
            ],
        ),
        ({"slices": (slice_of("all", 500, 0.99), slice_of("wild", 99, 0.1))}, []),
        ({"slices": (slice_of("all", 500, 0.99), slice_of("wild", 100, 0.9))}, []),
        (
            {"slices": (slice_of("all", 500, 0.99), slice_of("wild", 100, 0.85))},
            [
                "slice `wild`: recall@10 is at least 0.850, expected 0.90 (reducer loses 0.004, "
                "int8 0.003, engine 0.006)"
            ],
        ),
        ({"items": 1999, "slices": (slice_of("all", 49, 0.99),)}, []),
        ({"items": 2000, "slices": (slice_of("all", 50, 0.99),)}, []),
        (
            {"items": 2000, "slices": (slice_of("all", 49, 0.99),)},
            [
                "49 queries for 2000 items, expected at least 50: give some products the split "
                "`test`, or raise `index.held_out_share`"
            ],
        ),
        ({"leaf_precision": 0.02}, []),
        ({"leaf_precision": 0.0, "slices": (slice_of("all", 99, 0.99),)}, []),  # too few to judge
        (
            {"leaf_precision": 0.019},
            [
                "0.019 of the answers are of the query's category, expected 0.020: the embedder "
                "knows little more than chance"
            ],
        ),
        ({"leaf_precision": 0.3, "leaf_chance": 0.3}, []),  # easy to be right by chance
        ({"coverage": 0.995, "self_match": 0.995}, []),
        ({"coverage": 0.9949}, ["coverage is 0.9949, expected 0.995"]),
        ({"self_match": 0.5}, ["self_match is 0.5000, expected 0.995"]),
        ({"latency_ms": {"p50": 1.0, "p99": 100.0}}, []),
        (
            {"latency_ms": {"p50": 1.0, "p99": 100.1}},
            ["p99 of one search is 100.1 ms, expected at most 100.0"],
        ),
        (
            {"coverage": 0.1, "latency_ms": {"p50": 1.0, "p99": 300.0}},
            [
                "coverage is 0.1000, expected 0.995",
                "p99 of one search is 300.0 ms, expected at most 100.0",
            ],
        ),
    ],
)
def test_judgement(given: dict[str, Any], failures: list[str]) -> None:
    of_health = {name: value for name, value in given.items() if name in OF_HEALTH}
    others = {name: value for name, value in given.items() if name not in OF_HEALTH}
    found = judge(health(**of_health), answers(**others), Gate())
    assert (found.passed, list(found.failures)) == (not failures, failures)
    for row in found.slices:
        assert row.judged is (row.slice == "all" or row.queries >= 100)
        assert row.bound == (0.95 if row.slice == "all" else 0.90)
        assert row.failed is (row.judged and row.lower_bound < row.bound)


def test_a_verdict_as_it_is_kept() -> None:
    given = answers(rivals=(rival("all", 7, 0.1),))
    found = judge(health(missing={"A": 2}, lost={"B": (1, 9)}), given, Gate()).to_json()
    assert json.loads(json.dumps(found)) == {
        "passed": False,
        "failures": ["2 items of the catalogue are not in the index: 2 of `A`"],
        **asdict(health()),
        "missing": {"A": 2},
        "missing_items": 2,
        "lost": {"B": [1, 9]},
        **asdict(given),
        "slices": [{**asdict(slice_of("all", 500, 0.99)), "bound": 0.95, "judged": True}],
        "rivals": [asdict(rival("all", 7, 0.1))],
    }


def form(precision: str, speed: float, failures: Sequence[str] = ()) -> Verdict:
    given = answers(precision=precision, photos_per_second=speed)
    return Verdict(health(), given, (), tuple(failures))


FAST, SLOW, LOST = form("int8", 5000), form("int8", 2199), form("int8", 9000, ["recall"])
HALF, EXACT, WRONG = form("bfloat16", 3000), form("float32", 2000), form("float32", 2000, ["p99"])


@pytest.mark.parametrize(
    ("verdicts", "chosen"),
    [
        ([EXACT], EXACT),
        ([EXACT, FAST], FAST),
        ([EXACT, HALF, FAST], FAST),
        ([EXACT, HALF, LOST], HALF),
        ([EXACT, LOST], EXACT),
        ([EXACT, SLOW], EXACT),  # not 1.1 times as fast
        ([WRONG], WRONG),
        ([WRONG, HALF, FAST], WRONG),  # they come near it; they cannot be better
    ],
)
def test_the_fastest_that_passes_serves(verdicts: list[Verdict], chosen: Verdict) -> None:
    found, rows = choose(verdicts, {"int8": "There is none."})
    assert found is chosen
    columns = ("precision", "passed", "failures", "photos_per_second", "cosine", "slices")
    records = [verdict.to_json() for verdict in verdicts]
    assert rows[:-1] == [{name: record[name] for name in columns} for record in records]
    assert rows[-1] == {
        "precision": "int8",
        "passed": False,
        "failures": ["There is none."],
        "photos_per_second": None,
        "cosine": None,
        "slices": [],
    }
