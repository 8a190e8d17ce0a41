"""Which index to build, and how hard to search it: by measurement, within a budget of time.

    index, tuning = tune(base, queries, Goal(recall=0.98, seconds=60))

Engines are built in the order of their promise, on a sample where the catalogue is large, and the
one that is fastest at the recall is built in full. Cost: at most `seconds` and the engine it is in
the middle of, then the winner's build; a second for 3,500 items.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from model.errors import BadInput
from pipelines.effort import Asked, Candidate, Point
from pipelines.progress import progress
from serving.index import Index, Vectors
from serving.scann_index import MIN_VECTORS

Maker = Callable[[int], str]  # of an engine for so many vectors

AUTO = "auto"
SAMPLE = 200_000  # vectors that engines are compared on
SLACK_MS = 0.05
APPROXIMATE_FROM = 20_000  # fewer vectors are searched exactly in a fraction of a millisecond
UPPER_FROM = 500_000  # where finding partitions takes as long as searching them


@dataclass(frozen=True)
class Goal:
    """What is asked of an index, and what finding it may cost."""

    recall: float  # @10, of the engine alone
    seconds: float
    max_bytes: float | None = None  # an item, in memory

    def fastest(self, points: Sequence[Point]) -> Point | None:
        """The fastest point that reaches the goal; an exact one may be a little slower.

        None where there is none. Nobody feels SLACK_MS, but a missing neighbour is missed.
        """
        good = [point for point in points if self.reached(point)]
        best = min(good, key=lambda point: point.one_ms, default=None)
        exact = [p for p in good if best and p.recall == 1 and p.one_ms < best.one_ms + SLACK_MS]
        return min(exact, key=lambda point: point.one_ms, default=best)

    def reached(self, point: Point) -> bool:
        return point.recall >= self.recall and self.small_enough(point)

    def small_enough(self, point: Point) -> bool:
        return self.max_bytes is None or point.bytes_per_item <= self.max_bytes


@dataclass(frozen=True)
class Tuning:
    """Every point that was measured, the one chosen, and why."""

    goal: Goal
    points: tuple[Point, ...]
    left_out: tuple[str, ...]  # engines that there was no time for
    chosen: Point
    reason: str


def tune(base: Vectors, queries: Vectors, goal: Goal, engine: str = AUTO) -> tuple[Index, Tuning]:
    """The index of `base` [n, d] that answers `queries` [q, d] fastest at the goal's recall.

    With another `engine` than `auto` only its effort is sought. Raises BadInput where nothing
    reaches the goal: without a limit on bytes the exact engine always does.
    """
    ranked: list[Maker] = [lambda n: engine]
    points: list[Point] = []
    left_out: list[str] = []
    if engine == AUTO:
        ranked, points, left_out = _rank(base, queries, goal)
    asked = Asked.of(base, queries)
    for maker in ranked:
        candidate = Candidate.built(maker(len(base)), asked)
        found = list(candidate.points(goal.recall))
        points += found
        best = goal.fastest(found)
        if best is not None:
            reason = _reason(best, points, goal)
            tuning = Tuning(goal, tuple(points), tuple(left_out), best, reason)
            return candidate.index.with_effort(best.effort), tuning
    raise _unreached(points, goal)


def settle(index: Index, asked: Asked, goal: Goal) -> tuple[Index, Tuning]:
    """An index that is there already, at the least effort. Raises BadInput as `tune` does."""
    candidate = Candidate.of(index, asked)
    points = tuple(candidate.points(goal.recall))
    best = goal.fastest(points)
    if best is None:
        raise _unreached(points, goal)
    tuning = Tuning(goal, points, (), best, _reason(best, points, goal))
    return index.with_effort(best.effort), tuning


def _unreached(points: Sequence[Point], goal: Goal) -> BadInput:
    nearest = max(points, key=lambda point: (goal.small_enough(point), point.recall))
    limit = "any number of" if goal.max_bytes is None else f"{goal.max_bytes:g}"
    return BadInput(
        f"No index reaches the goal. Expected recall {goal.recall} of the engine alone within "
        f"{limit} bytes an item. Best: {nearest}, recall {nearest.recall:.3f} at "
        f"{nearest.bytes_per_item:.0f} bytes. Set `index.engine`, `index.target_recall` or "
        f"`index.max_bytes_per_item`."
    )


def promising(n: int, dimensions: int) -> list[Maker]:
    """Engines that may be the fastest for so many vectors, the likeliest first."""
    exact = [_always("exact")]
    if n < MIN_VECTORS:
        return exact
    if n < APPROXIMATE_FROM:
        return [*exact, _always("scann:brute,float32")]
    found: list[Maker] = [
        lambda n: f"scann:tree={_leaves(n, 2)},soar=1.5,avq=2.5,ah=2,bfloat16",
        _always("faiss:HNSW32_SQ8"),
        lambda n: f"scann:tree={_leaves(n, 2)},avq=2.5,ah=2,bfloat16",
        lambda n: f"scann:tree={_leaves(n, 2)},soar=1.5,avq=2.5,ah=2,int8",
        _always("faiss:HNSW32"),
        lambda n: f"scann:tree={_leaves(n, 1)},avq=2.5,ah=2,int8",
    ]
    if n >= UPPER_FROM:
        found.append(
            lambda n: (
                f"scann:tree={_leaves(n, 4)},upper={_leaves(_leaves(n, 4), 1)},"
                f"soar=1.5,avq=2.5,ah=2,bfloat16"
            )
        )
    if dimensions % 2 == 0:
        codes = f"PQ{dimensions // 2}x4fs,Refine(SQ8)"
        found.append(lambda n: f"faiss:IVF{_leaves(n, 2)},{codes}")
    return found + exact


def _always(engine: str) -> Maker:
    return lambda n: engine


def _leaves(n: int, roots: int) -> int:
    return int(roots * np.sqrt(n))


def _rank(
    base: Vectors, queries: Vectors, goal: Goal
) -> tuple[list[Maker], list[Point], list[str]]:
    """The promising engines, the fastest at the goal first; all points; those left out.

    An engine that misses the goal on a sample comes last.
    """
    started = time.monotonic()
    step = max(1, -(-len(base) // SAMPLE))
    asked = Asked.of(np.ascontiguousarray(base[::step]), queries)
    makers = promising(*base.shape)
    points: list[Point] = []
    left_out: list[str] = []
    times = []
    with progress("tune", len(makers)) as advance:
        for maker in makers:
            engine = maker(len(asked.base))
            advance(0, engine)
            found: list[Point] = []
            if points and time.monotonic() - started > goal.seconds:
                left_out.append(engine)
            else:
                found = list(Candidate.built(engine, asked).points(goal.recall))
            best = goal.fastest(found)
            times.append(best.one_ms if best else float("inf"))
            points += found
            advance()
    return [makers[number] for number in np.argsort(times, kind="stable")], points, left_out


def _reason(best: Point, points: Sequence[Point], goal: Goal) -> str:
    """A sentence for the report."""
    tried = len({point.engine for point in points})
    return (
        f"{best}: {best.one_ms:.3f} ms a query at recall {best.recall:.3f} (goal {goal.recall}), "
        f"the fastest of {tried} tried"
    )
