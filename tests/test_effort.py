"""The least effort at which an index reaches a recall."""

from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.reducer import unit
from pipelines.effort import LOOKS, WIDTHS, Asked, Candidate, Point, saved_bytes, speed
from serving.engines import build_index
from serving.exact import ExactIndex
from serving.index import MISSING, Effort, Index, Rows, Vectors


def vectors(n: int, seed: int = 0, dimensions: int = 16) -> Vectors:
    """Unit vectors in loose groups, as embeddings are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(60, dimensions))
    return unit(centres[rng.integers(0, 60, n)] + 0.7 * rng.normal(size=(n, dimensions)))


class Forgetful:
    """An exact index that leaves out each query's best answers, so many as its effort says."""

    def __init__(self, base: Vectors, lost: int) -> None:
        self.exact, self.lost = ExactIndex(base), lost

    description: dict[str, object] = {"effort": {}}

    def __len__(self) -> int:
        return len(self.exact)

    def search(self, queries: Vectors, k: int) -> tuple[Rows, Vectors]:
        rows, scores = self.exact.search(queries, k)
        rows[:, : self.lost], scores[:, : self.lost] = MISSING, -np.inf
        return rows, scores

    def with_effort(self, effort: Effort) -> Index:
        raise NotImplementedError

    def save(self, folder: object) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("lost", [0, 1, 4, 10])
def test_recall_counts_each_lost_neighbour(lost: int) -> None:
    base = vectors(300)
    asked = Asked.of(base, vectors(40, seed=1))
    assert asked.recall(Forgetful(base, lost)) == pytest.approx(1 - lost / 10)


@given(st.integers(2, 40), st.integers(1, 9))
def test_a_query_of_the_base_does_not_find_itself_for_nothing(n: int, seed: int) -> None:
    base = vectors(n, seed)
    asked = Asked.of(base, base)
    assert asked.recall(ExactIndex(base)) == 1
    only_itself = asked.recall(Forgetful(base, 0)) - asked.recall(_Narcissus(base))
    assert only_itself == pytest.approx(1)


class _Narcissus(Forgetful):
    def __init__(self, base: Vectors) -> None:
        super().__init__(base, 0)

    def search(self, queries: Vectors, k: int) -> tuple[Rows, Vectors]:
        rows, scores = self.exact.search(queries, k)
        rows[:, 1:], scores[:, 1:] = MISSING, -np.inf
        return rows, scores


def test_the_exact_engine_has_one_point() -> None:
    base, queries = vectors(500), vectors(30, seed=1)
    (point,) = Candidate.built("exact", Asked.of(base, queries)).points(0.9)
    assert (point.engine, point.effort, point.items, point.recall) == ("exact", {}, 500, 1.0)
    assert point.bytes_per_item == pytest.approx(64, abs=1)
    assert 0 < point.one_ms < 50
    assert point.batched > 10
    assert str(point) == "exact"


@pytest.mark.parametrize(
    ("engine", "ladders"),
    [
        ("faiss:HNSW8", {"efSearch": WIDTHS}),
        ("scann:ah=2,float32", {"reorder": LOOKS["reorder"]}),
        ("faiss:IVF32,Flat", {"nprobe": WIDTHS}),
        ("faiss:IVF32,SQ4,RFlat", {"nprobe": WIDTHS, "k_factor_rf": LOOKS["k_factor_rf"]}),
        (
            "scann:tree=60,soar=1.5,ah=2,float32",
            {"leaves_to_search": WIDTHS, "reorder": LOOKS["reorder"]},
        ),
    ],
)
def test_the_least_effort_is_found(engine: str, ladders: dict[str, tuple[int, ...]]) -> None:
    """One step less of the first misses the recall, and no two efforts are asked twice."""
    asked = Asked.of(vectors(4000), vectors(80, seed=1))
    points = list(Candidate.built(engine, asked).points(0.9))
    efforts = [tuple(point.effort.items()) for point in points]
    assert len(set(efforts)) == len(efforts)
    assert all(set(point.effort) == set(ladders) for point in points)
    assert all(point.effort[name] in ladder for point in points for name, ladder in ladders.items())
    first, *second = ladders
    for depth in {tuple(point.effort[name] for name in second) for point in points}:
        mine = [p for p in points if tuple(p.effort[name] for name in second) == depth]
        enough = [p.effort[first] for p in mine if p.recall >= 0.9]
        if enough:
            missed = [p.effort[first] for p in mine if p.recall < 0.9]
            assert not missed or max(missed) < min(enough)
            ladder = sorted(ladders[first])
            least = ladder.index(min(enough))
            assert least == 0 or ladder[least - 1] in missed


def test_less_of_a_second_look_is_not_tried_once_the_most_fails() -> None:
    asked = Asked.of(vectors(3000), vectors(50, seed=1))
    candidate = Candidate.built("faiss:IVF8,SQ4,RFlat", asked)
    points = list(candidate.points(1.1))
    assert {point.effort["k_factor_rf"] for point in points} == {LOOKS["k_factor_rf"][0]}


def test_bytes_are_those_of_the_files() -> None:
    index = build_index(vectors(1000), "faiss:SQ8")
    assert saved_bytes(index) == pytest.approx(16 * 1000, abs=500)


def test_without_queries_there_is_no_speed() -> None:
    assert speed(ExactIndex(vectors(10)), np.empty((0, 16), np.float32)) == (0.0, 0.0)


def test_a_point_says_its_effort() -> None:
    point = Point("scann:ah=2,int8", {"reorder": 30}, 5, 0.9, 0.1, 10.0, 3.0, 1.0)
    assert str(point) == "scann:ah=2,int8 (reorder 30)"
    assert cast(dict[str, int], point.effort) == {"reorder": 30}
