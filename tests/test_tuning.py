"""Which index is chosen, why, and within which limits."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from test_effort import vectors

from model.errors import BadInput
from pipelines import tuning
from pipelines.effort import Point
from pipelines.index_run import draw_tuning
from pipelines.tuning import APPROXIMATE_FROM, UPPER_FROM, Goal, promising, tune
from serving.engines import build_index, engine_of
from serving.scann_index import MIN_VECTORS

POINT = Point("exact", {}, 100, 1.0, 1.0, 10.0, 384.0, 1.0)


def fast(recall: float, one_ms: float, size: float = 100.0) -> Point:
    return replace(POINT, engine="fast", recall=recall, one_ms=one_ms, bytes_per_item=size)


@pytest.mark.parametrize(
    ("points", "chosen"),
    [
        ([], None),
        ([fast(0.97, 0.1)], None),
        ([fast(0.98, 0.1), fast(0.99, 0.2)], fast(0.98, 0.1)),
        ([fast(0.98, 0.1, 301)], None),
        ([fast(0.98, 0.1), fast(1.0, 0.149)], fast(1.0, 0.149)),
        ([fast(0.98, 0.1), fast(1.0, 0.151)], fast(0.98, 0.1)),
    ],
)
def test_the_fastest_that_reaches_the_goal(points: list[Point], chosen: Point | None) -> None:
    assert Goal(0.98, 1, max_bytes=300).fastest(points) == chosen


@pytest.mark.parametrize(("n", "engine"), [(1, "exact"), (15, "exact")])
def test_a_handful_is_searched_exactly(n: int, engine: str) -> None:
    base = vectors(n)
    index, found = tune(base, base, Goal(0.98, 10))
    assert (engine_of(index.description), len(index), found.chosen.recall) == (engine, n, 1)


def test_a_small_catalogue_loses_nothing() -> None:
    index, found = tune(vectors(2000), vectors(100, seed=1), Goal(0.9, 10))
    assert found.chosen.recall == 1
    assert engine_of(index.description) == found.chosen.engine
    assert {point.engine for point in found.points} == {"exact", "scann:brute,float32"}
    assert found.left_out == ()


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """A catalogue and queries, where 2,000 vectors are many."""
    monkeypatch.setattr(tuning, "APPROXIMATE_FROM", 2000)
    monkeypatch.setattr(tuning, "SAMPLE", 1000)
    return vectors(2000), vectors(60, seed=1)


def test_a_large_catalogue_is_compared_on_a_sample(large: tuple[np.ndarray, np.ndarray]) -> None:
    base, queries = large
    index, found = tune(base, queries, Goal(0.9, 100))
    assert len(index) == found.chosen.items == len(base)
    assert found.chosen.recall >= 0.9
    compared = {point.engine for point in found.points if point.items == 1000}
    assert compared == {maker(1000) for maker in promising(*base.shape)}
    assert index.description["effort"] == found.chosen.effort
    engines = {point.engine for point in found.points if point.items == len(base)}
    assert found.chosen.engine in engines
    assert found.reason == (
        f"{found.chosen}: {found.chosen.one_ms:.3f} ms a query at recall "
        f"{found.chosen.recall:.3f} (goal 0.9), the fastest of "
        f"{len({point.engine for point in found.points})} tried"
    )
    assert isinstance(draw_tuning(found), Figure)


def test_without_time_the_first_is_tried_and_the_rest_is_named(
    large: tuple[np.ndarray, np.ndarray],
) -> None:
    base, queries = large
    makers = promising(*base.shape)
    first, *rest = [maker(1000) for maker in makers]
    index, found = tune(base, queries, Goal(0.8, 0))
    assert engine_of(index.description) == makers[0](len(base))
    assert found.points[0].engine == first
    assert found.left_out == tuple(rest)


def test_only_the_effort_of_a_given_engine_is_sought() -> None:
    base, queries = vectors(3000), vectors(60, seed=1)
    index, found = tune(base, queries, Goal(0.95, 0), "faiss:HNSW16")
    assert {point.engine for point in found.points} == {"faiss:HNSW16"}
    least = found.chosen.effort["efSearch"]
    rows = build_index(base, "faiss:HNSW16").with_effort({"efSearch": least}).search(queries, 10)[0]
    np.testing.assert_array_equal(index.search(queries, 10)[0], rows)


def test_a_goal_that_nothing_reaches() -> None:
    base, queries = vectors(500), vectors(20, seed=1)
    with pytest.raises(BadInput) as caught:
        tune(base, queries, Goal(0.98, 10, max_bytes=20))
    assert str(caught.value) == (
        "No index reaches the goal. Expected recall 0.98 of the engine alone within 20 bytes an "
        "item. Best: exact, recall 1.000 at 64 bytes. Set `index.engine`, `index.target_recall` or "
        "`index.max_bytes_per_item`."
    )


@pytest.mark.parametrize("n", [1, MIN_VECTORS, APPROXIMATE_FROM, UPPER_FROM])
@pytest.mark.parametrize("dimensions", [96, 95])
def test_an_exact_engine_is_always_promising(n: int, dimensions: int) -> None:
    engines = [maker(n) for maker in promising(n, dimensions)]
    assert "exact" in engines
    assert len(set(engines)) == len(engines)
    assert any("upper=" in engine for engine in engines) == (n >= UPPER_FROM)
    assert any("PQ" in engine for engine in engines) == (
        n >= APPROXIMATE_FROM and dimensions % 2 == 0
    )
