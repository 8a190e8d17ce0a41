"""Yes or no to what the gate measured, with the slice or the figure that failed.

Figures come in two parts: those of the index and its rows (`Health`), and those of the answers to
queries in one precision of the embedder (`Answers`). A verdict is both, and its failures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.settings import Gate
from serving.graph import Precision

ALL = "all"  # the slice of every query
MAX_LEAF_CHANCE = 0.3  # where most items are of one category, being right by chance is easy
MAX_LEAF_PRECISION = 0.9
MIN_GAIN = 1.1  # of speed: fewer bits than float32 must earn what they lose
MIN_LEAF_COVERAGE, MAX_LOST = 0.9, 2  # of one category: so few lost items can be chance
NAMED = 3  # categories in a sentence


@dataclass(frozen=True)
class Slice:
    """recall@k of some of the queries, its lower 95 % bound, and what each stage loses of it."""

    slice: str
    queries: int
    recall: float
    lower_bound: float
    reducer_loss: float
    precision_loss: float
    engine_loss: float


@dataclass(frozen=True)
class Judged(Slice):
    """A slice beside its bound; one of too few queries is not judged."""

    bound: float
    judged: bool

    @property
    def failed(self) -> bool:
        return self.judged and self.lower_bound < self.bound


@dataclass(frozen=True)
class Rival:
    """Share of answers in the query's own category, beside the champion's on the same queries."""

    slice: str
    queries: int
    leaf_precision: float
    champion: float
    gain_at_most: float  # upper 95 % bound of ours less the champion's


@dataclass(frozen=True)
class Health:
    """Figures of the index and its rows."""

    k: int
    items: int  # in the base index
    missing: Mapping[str, int]  # items of the catalogue that are not in the index, by category
    unknown_items: int  # rows of no item of the catalogue
    repeated_items: int  # rows of an item that has an earlier row
    wrong_vectors: int  # rows whose vector is not that of their item's photo
    stale_photos: int  # of `sampled_photos`, embedded again: another vector than the stored one
    sampled_photos: int
    coverage: float  # share of items among their own k nearest
    self_match: float  # share of items that are their own nearest
    lost: Mapping[str, tuple[int, int]]  # by category: items not covered, items asked
    latency_ms: Mapping[str, float]

    @property
    def missing_items(self) -> int:
        return sum(self.missing.values())


@dataclass(frozen=True)
class Answers:
    """Figures of the answers to queries in one precision of the embedder."""

    precision: Precision
    photos_per_second: float
    cosine: float | None  # the least to float32's vectors; None without a query
    slices: tuple[Slice, ...]
    rivals: tuple[Rival, ...]
    leaf_precision: float
    leaf_chance: float
    wild_photos: Mapping[str, float]


@dataclass(frozen=True)
class Verdict:
    """What was measured, and why it is not good enough; no failure is a yes."""

    health: Health
    answers: Answers
    slices: tuple[Judged, ...]
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """One flat record, as it is kept in the bundle's manifest."""
        health, answers = asdict(self.health), asdict(self.answers)
        return {
            "passed": self.passed,
            "failures": list(self.failures),
            **health,
            "missing_items": self.health.missing_items,
            **answers,
            "slices": [asdict(row) for row in self.slices],
        }


def judge(health: Health, answers: Answers, gate: Gate) -> Verdict:
    """Failures are sentences that name the slice or the figure, and the bound."""
    slices = tuple(_with_bound(row, gate) for row in answers.slices)
    asked = sum(row.queries for row in slices if row.slice == ALL)
    failures = [
        f"slice `{row.slice}`: recall@{health.k} is at least {row.lower_bound:.3f}, expected "
        f"{row.bound:.2f} (reducer loses {row.reducer_loss:.3f}, {answers.precision} "
        f"{row.precision_loss:.3f}, engine {row.engine_loss:.3f})"
        for row in slices
        if row.failed
    ]
    if asked < gate.min_queries and health.items >= gate.judge_from_items:
        failures.append(
            f"{asked} queries for {health.items} items, expected at least {gate.min_queries}: "
            f"give some products the split `test`, or raise `index.held_out_share`"
        )
    failures += _rows(health)
    failures += _categories(answers, asked, gate)
    failures += _found(health, gate)
    return Verdict(health, answers, slices, tuple(failures))


def choose(
    verdicts: Sequence[Verdict], absent: Mapping[Precision, str]
) -> tuple[Verdict, list[dict[str, Any]]]:
    """The verdict on the fastest precision that passes, and a record of every one.

    The first is that on float32: where it fails, the day does, as the others only come near it,
    and it stays where another is hardly faster.
    """
    exact, *others = verdicts
    enough = MIN_GAIN * exact.answers.photos_per_second
    good = [each for each in others if each.passed and each.answers.photos_per_second >= enough]
    fastest = max(good, key=lambda each: each.answers.photos_per_second, default=exact)
    chosen = fastest if exact.passed else exact
    columns = ("precision", "passed", "failures", "photos_per_second", "cosine", "slices")
    tried = [{name: record[name] for name in columns} for record in map(Verdict.to_json, verdicts)]
    tried += [
        {"precision": precision, "passed": False, "failures": [why], "photos_per_second": None,
         "cosine": None, "slices": []}
        for precision, why in absent.items()
    ]  # fmt: skip
    return chosen, tried


def _with_bound(row: Slice, gate: Gate) -> Judged:
    return Judged(
        **asdict(row),
        bound=gate.min_recall if row.slice == ALL else gate.min_slice_recall,
        judged=row.slice == ALL or row.queries >= gate.slice_queries,
    )


def _rows(health: Health) -> list[str]:
    """Is every item there, once, with its own photo's vector?"""
    failures = []
    if health.missing:
        failures.append(
            f"{health.missing_items} items of the catalogue are not in the index: "
            f"{_most(health.missing)}"
        )
    if health.unknown_items:
        failures.append(f"{health.unknown_items} rows of the index are of no item of the catalogue")
    if health.repeated_items:
        failures.append(
            f"{health.repeated_items} rows of the index repeat an item that has another"
        )
    if health.wrong_vectors:
        failures.append(
            f"{health.wrong_vectors} rows of the index do not have the vector of their item's "
            f"photo: ids, photos and vectors are out of step"
        )
    if health.stale_photos:
        failures.append(
            f"{health.stale_photos} of {health.sampled_photos} photos embedded again have another "
            f"vector than the stored one: the embeddings are of another embedder"
        )
    return failures


def _categories(answers: Answers, asked: int, gate: Gate) -> list[str]:
    """Does the space know the categories, and as well as the champion's?"""
    failures = []
    needed = min(gate.min_leaf_lift * answers.leaf_chance, MAX_LEAF_PRECISION)
    easy = answers.leaf_chance >= MAX_LEAF_CHANCE
    if asked >= gate.slice_queries and not easy and answers.leaf_precision < needed:
        failures.append(
            f"{answers.leaf_precision:.3f} of the answers are of the query's category, "
            f"expected {needed:.3f}: the embedder knows little more than chance"
        )
    failures += [
        f"slice `{row.slice}`: {row.leaf_precision:.3f} of the answers are of the query's "
        f"category, {row.champion:.3f} with the bundle that serves now; expected at most "
        f"{gate.max_leaf_drop:.2f} less"
        for row in answers.rivals
        if row.queries >= gate.slice_queries and row.gain_at_most < -gate.max_leaf_drop
    ]
    return failures


def _found(health: Health, gate: Gate) -> list[str]:
    """Does the engine find its own items, and in time?"""
    failures = [
        f"{name} is {value:.4f}, expected {gate.min_self_match}"
        for name, value in (("coverage", health.coverage), ("self_match", health.self_match))
        if value < gate.min_self_match
    ]
    lost = {
        name: count
        for name, (count, asked) in health.lost.items()
        if count > MAX_LOST and 1 - count / asked < MIN_LEAF_COVERAGE
    }
    if lost:
        failures.append(
            f"{sum(lost.values())} items cannot be found by their own photo: {_most(lost)}"
        )
    if health.latency_ms["p99"] > gate.max_p99_ms:
        failures.append(
            f"p99 of one search is {health.latency_ms['p99']} ms, expected at most "
            f"{gate.max_p99_ms}"
        )
    return failures


def _most(counts: Mapping[str, int]) -> str:
    """The largest counts by category, as a sentence names them."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    named = ", ".join(f"{count} of `{name}`" for name, count in ordered[:NAMED])
    return named + (f" and {len(ordered) - NAMED} other categories" if ordered[NAMED:] else "")
