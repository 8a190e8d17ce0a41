"""What each number of dimensions costs: the curve that the reducer is chosen from, by rule.

Two figures a point, for queries that the fit has not seen. Quality: share of the ten answers in
the query's leaf, and of wild photos that find their own product among twenty. Neighbours: the
tie-aware recall of the full space's own answers, which is what the gate judges. A space can keep
the one and lose the other, so both must hold. Cost: 6 to 12 s for 36 points, of 340 queries among
3,500 items of 192 dimensions.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog

from model.errors import BadInput
from model.evaluators import lower_bound, recall_by_query
from model.reducer import Method, Moment, Reducer, fit_reducer
from pipelines.settings import Reduce, Settings
from pipelines.trial import MIN_QUERIES, Trial
from pipelines.tuning import APPROXIMATE_FROM

STEPS_PER_HALVING = 3

log = structlog.get_logger()


@dataclass(frozen=True)
class Bounds:
    """What a point must keep: the gate's own bounds, and the greatest relative loss."""

    max_loss: float
    min_recall: float
    min_slice_recall: float
    slice_queries: int
    rounds: int

    @classmethod
    def of(cls, settings: Settings, items: int) -> "Bounds":
        """The gate judges reducer and engine together, so the engine's share comes on top."""
        gate, index = settings.gate, settings.index
        exact = index.engine == "exact" or items < APPROXIMATE_FROM
        engine = 1.0 if exact else index.target_recall
        return cls(
            max_loss=settings.reduce.max_loss,
            min_recall=min(gate.min_recall / engine, 1.0),
            min_slice_recall=min(gate.min_slice_recall / engine, 1.0),
            slice_queries=gate.slice_queries,
            rounds=gate.bootstrap_rounds,
        )


@dataclass(frozen=True)
class Point:
    """One method at one number of dimensions."""

    method: Method
    dimensions: int
    precision: float
    hit: float | None
    loss: float  # relative to the full space; the greater of both, where there are enough photos
    recall: float
    floor: float  # of recall, for other queries: see `floor`
    keeps_quality: bool
    keeps_neighbours: bool

    @property
    def passes(self) -> bool:
        return self.keeps_quality and self.keeps_neighbours

    def __str__(self) -> str:
        return f"{self.method} {self.dimensions}"


@dataclass(frozen=True)
class Curve:
    """The points, and what the full space reaches."""

    width: int
    queries: int
    items: int
    precision: float
    hit: float | None
    bounds: Bounds
    points: tuple[Point, ...]

    def smallest(self, holds: Callable[[Point], bool]) -> Point | None:
        """The fewest dimensions that hold, as do all more of the same method: no lucky dip."""
        found = []
        for method in dict.fromkeys(point.method for point in self.points):
            own = [point for point in self.points if point.method == method]
            own.sort(key=lambda point: -point.dimensions)
            good = next((n for n, point in enumerate(own) if not holds(point)), len(own))
            found += own[good - 1 : good] if good else []
        return min(found, key=lambda point: (point.dimensions, point.loss), default=None)

    @property
    def nearest(self) -> Point:
        """The best of these points: one that passes, else the one that keeps most neighbours."""
        return max(
            self.points,
            key=lambda point: (point.passes, -point.loss if point.passes else point.floor),
        )

    def facts(self, method: Method, dimensions: int) -> dict[str, Any]:
        """For the report: what was chosen, and what each criterion alone would choose."""
        point = next(p for p in self.points if (p.method, p.dimensions) == (method, dimensions))
        facts: dict[str, Any] = {
            "compression": round(self.width / dimensions, 2),
            "loss": round(point.loss, 4),
            "recall": round(point.recall, 4),
            "floor": round(point.floor, 4),
        }
        if len(self.points) > 1:
            facts |= {
                "by_quality": str(self.smallest(lambda point: point.keeps_quality)),
                "by_neighbours": str(self.smallest(lambda point: point.keeps_neighbours)),
            }
        return facts

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    trial: Trial,
    moment: Moment,
    bounds: Bounds,
    methods: Iterable[Method],
    dimensions: Sequence[int],
) -> Curve:
    """Every method at every number of dimensions, fitted on a second moment [D, D]."""
    rows, truth = trial.search(lambda embeddings: embeddings)
    precision, hit = trial.precision(rows), trial.hit(rows)
    judged_hit = hit if trial.known_wild.sum() >= bounds.slice_queries else None

    def point(method: Method, reducer: Reducer) -> Point:
        rows, scores = trial.search(reducer)
        recall = recall_by_query(scores, truth, trial.k)
        kept, found = trial.precision(rows), trial.hit(rows)
        pairs = [(kept, precision), (found, judged_hit)]
        loss = max(
            (1 - ours / full for ours, full in pairs if ours is not None and full), default=0
        )
        return Point(
            method=method,
            dimensions=reducer.components.shape[1],
            precision=kept,
            hit=found,
            loss=loss,
            recall=float(recall.mean()),
            floor=floor(recall, bounds.rounds),
            keeps_quality=loss <= bounds.max_loss,
            keeps_neighbours=_keeps(recall, trial.asked.wild, bounds),
        )

    points = []
    for method in methods:
        whole = fit_reducer(moment, max(dimensions), method)
        points += [point(method, whole.first(number)) for number in dimensions]
    return Curve(
        width=len(moment),
        queries=len(trial.asked.leaf),
        items=len(trial.base.leaf),
        precision=precision,
        hit=hit,
        bounds=bounds,
        points=tuple(points),
    )


def choose(options: Reduce, curve: Curve | None, width: int) -> tuple[Method, int]:
    """The reducer by rule. Raises BadInput when a method bends the space at any dimension.

    Without a curve there is nothing to decide by: principal components, and all of them.
    """
    method: Method = "pca" if options.method == "auto" else options.method
    if curve is None:
        if options.dimensions != "auto":
            return method, options.dimensions
        log.warning("curve.too_few_photos", expected=MIN_QUERIES, dimensions=width)
        return method, width
    best = curve.nearest
    if options.dimensions == "auto":
        best = curve.smallest(lambda point: point.passes) or best
        if not best.passes:
            raise BadInput(
                f"No number of dimensions of `{options.method}` is good enough. Expected at most "
                f"{options.max_loss} of the quality lost and the gate's recall kept. Best: {best} "
                f"loses {best.loss:.3f}, its recall may be as low as {best.floor:.3f}. "
                f"Set `reduce.method` to `pca` or `auto`."
            )
    return best.method, best.dimensions


def grid(width: int) -> list[int]:
    """Dimensions to try: three a halving, to multiples of 8 where there are many."""
    step = 8 if width >= 64 else 1
    halvings = np.arange(STEPS_PER_HALVING * int(np.log2(width) + 1)) / STEPS_PER_HALVING
    tried = (step * max(1, round(width / 2**halving / step)) for halving in halvings)
    return sorted({width, *(number for number in tried if number < width)})


def floor(recall: npt.NDArray[np.float64], rounds: int) -> float:
    """The mean less twice its 95 % margin: the gate takes its own bound, of other queries."""
    return 2 * lower_bound(recall, rounds) - float(recall.mean())


def _keeps(recall: npt.NDArray[np.float64], wild: npt.NDArray[np.bool_], bounds: Bounds) -> bool:
    """Would the gate pass these queries, whole and by kind?"""
    slices = [(recall, bounds.min_recall)]
    for kind in (recall[wild], recall[~wild]):
        if len(kind) >= bounds.slice_queries:
            slices.append((kind, bounds.min_slice_recall))
    return all(floor(part, bounds.rounds) >= least for part, least in slices)
