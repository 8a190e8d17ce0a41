"""What two bundles hold and show, beside each other."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from model.errors import Refused
from pipelines.blessing import read_blessing
from pipelines.evidence_record import DataFacts, Serving, Shift, StepCost
from pipelines.index import read_arrow
from pipelines.settings import Settings
from pipelines.step import STEPS, Partition
from serving.bundle import Bundle
from serving.shown import SHOWN

SHIFTS = 12  # categories that are named


def items_of(bundle: Bundle) -> pa.Table:
    return read_arrow(bundle.folder / "items.arrow")


def data_facts(settings: Settings, ds: date, now: Bundle, was: Bundle | None) -> DataFacts:
    """Items, categories and photos of `now` beside `was`."""
    items = items_of(now)
    unlearned = _words(items["category"]) - set(now.taxonomy.leaves)
    if was is None:
        return DataFacts(items=len(items), categories_unlearned=tuple(sorted(unlearned)))
    former = items_of(was)
    pair = Pair.of(items.select(SHOWN), former.select(SHOWN))
    categories, formerly = _words(items["category"]), _words(former["category"])
    moved = now.taxonomy.moved
    return DataFacts(
        items=len(items),
        champion_items=len(former),
        added=len(items) - len(pair.now),
        removed=len(former) - len(pair.was),
        changed=_other_photos(settings, ds, now, was),
        restated=pair.restated,
        categories_added=tuple(sorted(categories - formerly)),
        categories_gone=tuple(sorted(formerly - categories)),
        categories_moved={
            path: nows for path, nows in moved.items() if was.taxonomy.moved.get(path) != nows
        },
        categories_unlearned=tuple(sorted(unlearned)),
        shifts=_shifts(items["category"], former["category"]),
    )


class Pair:
    """The rows that two tables both have, in the same order."""

    def __init__(self, now: pa.Table, was: pa.Table) -> None:
        self.now, self.was = now, was

    @classmethod
    def of(cls, now: pa.Table, was: pa.Table) -> "Pair":
        """By `item_id`."""
        rows = pc.index_in(now["item_id"], value_set=was["item_id"].combine_chunks())
        return cls(now.filter(rows.is_valid()), was.take(rows.drop_null()))

    @property
    def restated(self) -> dict[str, int]:
        """Rows with another value, by column; columns without one are not named."""
        columns = [name for name in SHOWN if name != "item_id"]
        counts = {name: self.differing(name) for name in columns}
        return {name: count for name, count in counts.items() if count}

    def differing(self, name: str) -> int:
        """Nothing is another value than something, and the same as nothing."""
        one, other = self.now[name], self.was[name]
        unlike = pc.fill_null(pc.not_equal(one, other), False)
        alone = pc.xor(one.is_null(nan_is_null=True), other.is_null(nan_is_null=True))
        nothing = pc.and_(one.is_null(nan_is_null=True), other.is_null(nan_is_null=True))
        found = pc.sum(pc.and_not(pc.or_(unlike, alone), nothing)).as_py()
        return int(found or 0)


def serving_facts(settings: Settings, digest: str) -> Serving:
    """Raises Refused where no server has blessed this bundle."""
    record = read_blessing(settings, digest)
    return Serving(**{name: record[name] for name in Serving.model_fields})


def serving_facts_left(settings: Settings, digest: str) -> Serving | None:
    """None where the record is gone."""
    try:
        return serving_facts(settings, digest)
    except (Refused, OSError):
        return None


def step_costs(settings: Settings, ds: date) -> tuple[StepCost, ...]:
    """Of the steps before this one, in their order."""
    reports = [Partition(settings, step, ds).report() for step in STEPS[: STEPS.index("evidence")]]
    return tuple(
        StepCost(step=report.step, seconds=report.seconds, rows=report.rows)
        for report in reports
        if report is not None
    )


def gate_champion(settings: Settings, ds: date) -> str | None:
    """The bundle that the gate of this day's bundle compared with."""
    gate = Partition(settings, "gate", ds).done()
    sealed = Partition(settings, "bundle", ds).done().inputs["gate"]
    return gate.inputs["champion"] or None if gate.digest == sealed else None


def rival(verdict: Mapping[str, Any], name: str = "all") -> Mapping[str, Any] | None:
    """A slice's share of right answers, beside the champion's."""
    return next((row for row in verdict["rivals"] if row["slice"] == name), None)


def leaf_precision(verdict: Mapping[str, Any]) -> float | None:
    """Share of answers in the query's own category; None where nothing was asked."""
    return verdict["leaf_precision"] if verdict["slices"] else None


def recall_of(verdict: Mapping[str, Any], name: str = "all") -> float | None:
    """A slice's recall@k."""
    rows = (row["recall"] for row in verdict["slices"] if row["slice"] == name)
    return next(rows, None)


def _other_photos(settings: Settings, ds: date, now: Bundle, was: Bundle) -> int | None:
    """Items of both whose photo has other bytes, or another box."""
    ours = _photo_keys(settings, ds, now.digest)
    theirs = _photo_keys(settings, date.fromisoformat(was.manifest["ds"]), was.digest)
    if ours is None or theirs is None:
        return None
    return Pair.of(ours, theirs).differing("pixel_key")


def _photo_keys(settings: Settings, ds: date, digest: str) -> pa.Table | None:
    """`item_id` and `pixel_key` of a bundle's items; None where its day was done again since."""
    bundle, index = (Partition(settings, step, ds).report() for step in ("bundle", "index"))
    if bundle is None or index is None or bundle.details["bundle"] != digest:
        return None
    if index.digest != bundle.inputs["index"]:
        return None
    items = read_arrow(Partition(settings, "index", ds).output / "items.arrow")
    return items.select(["item_id", "pixel_key"])


def _words(column: pa.ChunkedArray) -> set[str]:
    return set(column.unique().drop_null().to_pylist())


def _shifts(now: pa.ChunkedArray, was: pa.ChunkedArray) -> tuple[Shift, ...]:
    """The categories whose number of items changed most, the most first."""
    counts, former = _counts(now), _counts(was)
    found = [
        Shift(category=name, was=former.get(name, 0), now=counts.get(name, 0))
        for name in sorted({*counts, *former})
    ]
    moved = [each for each in found if each.was != each.now]
    return tuple(sorted(moved, key=lambda each: -abs(each.now - each.was))[:SHIFTS])


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    pairs = column.value_counts()
    return dict(zip(pairs.field(0).to_pylist(), pairs.field(1).to_pylist(), strict=True))
