"""The least effort at which an index reaches a recall, and how fast it is there.

Recall is that of the engine alone, in the space that it indexes, ties counted. Speed is that of
the calling thread, for queries one by one, as shoppers ask, and all at once; the exact engine and
`two-stage` take every core that is free, as they do when they serve.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np

from model.evaluators import recall_by_query
from serving.engines import build_index, engine_of
from serving.exact import ExactIndex
from serving.index import MISSING, Effort, Index, Vectors

K = 10
OWN = 1 - 1e-5  # a query this near to a vector is that vector: every index finds it
ROUNDS, ROUND_SECONDS = 3, 0.02  # of timing, one by one

WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
LOOKS: dict[str, Sequence[int]] = {  # at the best once more; the most first
    "reorder": (400, 250, 150, 100, 70, 50, 30, 20),
    "k_factor_rf": (32, 16, 10, 6, 4, 3, 2, 1),
    "candidates": (1000, 500, 300, 200, 120, 80, 50),
}


@dataclass(frozen=True)
class Asked:
    """Queries [q, d] of a base [n, d], and the scores of their nearest [q, <= K + 1]."""

    base: Vectors
    queries: Vectors
    truth: Vectors = field(repr=False)

    @classmethod
    def of(cls, base: Vectors, queries: Vectors) -> "Asked":
        return cls(base, queries, ExactIndex(base).search(queries, K + 1)[1])

    def recall(self, index: Index) -> float:
        """Mean recall@10; that a query of the base finds itself counts for nothing."""
        rows, _ = index.search(self.queries, self.truth.shape[1])
        scores = np.einsum("qd,qkd->qk", self.queries, self.base[rows])
        scores = -np.sort(-np.where(rows == MISSING, -np.inf, scores), axis=1).astype(np.float32)
        own = self.truth[:, 0] > OWN
        values = [
            recall_by_query(scores[mask, first:], self.truth[mask, first:], K)
            for mask, first in ((own, 1), (~own, 0))
        ]
        return float(np.concatenate(values).mean())


@dataclass(frozen=True)
class Point:
    """An engine at one effort."""

    engine: str
    effort: Effort
    items: int
    recall: float
    one_ms: float  # median of queries one by one
    batched: float  # queries a second, all at once
    bytes_per_item: float
    build_seconds: float

    def __str__(self) -> str:
        effort = ", ".join(f"{name} {value}" for name, value in self.effort.items())
        return f"{self.engine} ({effort})" if effort else self.engine


@dataclass(frozen=True)
class Candidate:
    """An engine, built on the base that is asked."""

    engine: str
    index: Index
    asked: Asked
    build_seconds: float
    bytes_per_item: float

    @classmethod
    def built(
        cls, engine: str, asked: Asked, build: Callable[[Vectors, str], Index] = build_index
    ) -> "Candidate":
        started = time.monotonic()
        index = build(asked.base, engine)
        seconds = time.monotonic() - started
        return cls(engine, index, asked, seconds, saved_bytes(index) / max(len(index), 1))

    @classmethod
    def of(cls, index: Index, asked: Asked) -> "Candidate":
        """One that is there already."""
        size = saved_bytes(index) / max(len(index), 1)
        return cls(engine_of(index.description), index, asked, 0.0, size)

    def points(self, recall: float) -> Iterator[Point]:
        """Every effort on the way to the least that reaches the recall.

        Where there is a second look, the least first effort is sought for each of its depths.
        """
        names = list(cast(Effort, self.index.description["effort"]))
        widths = [name for name in names if name not in LOOKS]
        looks = [name for name in names if name in LOOKS]
        if not widths:
            for look in looks:
                yield from self._climb(look, LOOKS[look][::-1], {}, recall)
            if not looks:
                yield self.at({})
            return
        for depth in LOOKS[looks[0]] if looks else (0,):
            found = list(self._climb(widths[0], WIDTHS, {looks[0]: depth} if looks else {}, recall))
            yield from found
            if max(point.recall for point in found) < recall:
                return  # nor is it reached by less of a second look

    def at(self, effort: Effort) -> Point:
        index = self.index.with_effort(effort)
        one_ms, batched = speed(index, self.asked.queries)
        return Point(
            engine=self.engine,
            effort=effort,
            items=len(index),
            recall=self.asked.recall(index),
            one_ms=one_ms,
            batched=batched,
            bytes_per_item=self.bytes_per_item,
            build_seconds=self.build_seconds,
        )

    def _climb(
        self, name: str, ladder: Sequence[int], fixed: Effort, recall: float
    ) -> Iterator[Point]:
        """Halve the ladder until the least step is found that reaches the recall."""
        found: dict[int, Point] = {}

        def enough(value: int) -> bool:
            if value not in found:
                found[value] = self.at({name: value, **fixed})
            return found[value].recall >= recall

        bisect_left(ladder, True, key=enough)
        yield from found.values()


def speed(index: Index, queries: Vectors, k: int = K) -> tuple[float, float]:
    """Median milliseconds of a query alone, and queries a second all at once: best of rounds."""
    if not len(queries):
        return 0.0, 0.0
    medians, batched = [], []
    for _ in range(ROUNDS):
        times: list[float] = []
        number, started = 0, time.perf_counter()
        while not times or time.perf_counter() - started < ROUND_SECONDS:
            query = queries[number % len(queries)][None]
            before = time.perf_counter()
            index.search(query, k)
            times.append(time.perf_counter() - before)
            number += 1
        medians.append(1000 * float(np.median(times)))
        started = time.perf_counter()
        index.search(queries, k)
        batched.append(len(queries) / (time.perf_counter() - started))
    return min(medians), max(batched)


def saved_bytes(index: Index) -> int:
    """What its files hold, which is what it needs in memory."""
    with TemporaryDirectory() as folder:
        index.save(Path(folder))
        return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
