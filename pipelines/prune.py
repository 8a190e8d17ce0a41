"""Forget the live changes that every bundle has which may serve again.

    python -m pipelines.prune --ds 2026-11-20

Last of the day. A change goes when all of this holds:

    it was made more than KEPT_FOR before the day: the days since can be done again as they were
    it is in the champion, in the bundle before it, and in all that served within KEPT_FOR
    no catalogue within KEPT_FOR took it in: a feed that still had an older word would win again

So a rollback to any of these bundles finds nothing missing. Photos go with the last change, the
last catalogue and the last bundle that has them. Cost: 1 s, and 2 s to import SQLAlchemy once there
is a live store.
"""

import json
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.errors import Damaged
from pipelines.catalogue import COUNTED
from pipelines.decisions import served
from pipelines.release import LOCK
from pipelines.settings import Settings
from pipelines.step import Outcome, Partition, Report, command, locked, run_step
from serving.bundle import live_sequence
from serving.ledger import read_ledger, standing
from serving.live_change import Change
from serving.live_photos import PHOTOS
from serving.live_place import LIVE

KEPT_FOR = timedelta(days=30)
FORGOTTEN = "forgotten.json"


def run(settings: Settings, ds: date) -> Report:
    """Once for each day and newest change that all the bundles have."""
    if not settings.live_place.exists:
        return run_step(settings, "prune", ds, inputs={"sequence": "0"}, body=_nothing)
    with locked(settings.root / "locks" / LOCK):  # no bundle comes to serve meanwhile
        sequence = taken_in(settings, ds)
        return run_step(
            settings,
            "prune",
            ds,
            inputs={"sequence": str(sequence), "live": settings.live_place.url},
            body=lambda folder: _prune(settings, ds, sequence, folder),
        )


def taken_in(settings: Settings, ds: date) -> int:
    """The newest change that all bundles have which may serve again; 0 where one is not here."""
    entries = read_ledger(settings.root)
    beside = standing(reversed(entries)).candidate
    digests = {entry.bundle for entry in (*served(entries)[-2:], *([beside] if beside else []))}
    digests |= {entry.former for entry in entries if entry.former and entry.at >= _first(ds)}
    return min((live_sequence(settings.root / "bundles" / each) for each in digests), default=0)


def counted_since(settings: Settings, ds: date) -> frozenset[str] | None:
    """Items whose changes a catalogue took in since KEPT_FOR before `ds`; None: nobody knows."""
    counted: set[str] = set()
    for partition in _catalogues(settings):
        if partition.ds < _first(ds).date():
            continue
        path = partition.output / COUNTED
        if path.exists():
            counted.update(json.loads(path.read_bytes()))
        elif partition.done().details.get("live_changes"):
            return None  # of a version that did not say which
    return frozenset(counted)


def _nothing(folder: Path) -> Outcome:
    (folder / FORGOTTEN).write_text("[]")
    return Outcome(0)


def _prune(settings: Settings, ds: date, sequence: int, folder: Path) -> Outcome:
    from serving.live_store import LiveStore  # SQLAlchemy takes seconds to import

    counted, first = counted_since(settings, ds), _first(ds)

    def is_past(change: Change) -> bool:
        return change.sequence <= sequence and change.at < first and change.item_id not in needed

    with closing(LiveStore.open(settings.live_place.url, settings.live_place.folder)) as store:
        changes = list(store.all())
        needed = {change.item_id for change in changes} if counted is None else counted
        past = [change for change in changes if is_past(change)]
        count = store.prune([change.sequence for change in past], _photos(settings))
    (folder / FORGOTTEN).write_text(json.dumps([change.item_id for change in past], indent=1))
    return Outcome(count, {"sequence": sequence, "kept": len(changes) - count})


def _first(ds: date) -> datetime:
    return datetime.combine(ds, time(), UTC) - KEPT_FOR


def _catalogues(settings: Settings) -> list[Partition]:
    days = sorted(path.name for path in (settings.root / "ingest").glob("ds=*"))
    found = [
        Partition(settings, "ingest", date.fromisoformat(day.removeprefix("ds="))) for day in days
    ]
    return [partition for partition in found if partition.report() is not None]


def _photos(settings: Settings) -> frozenset[str]:
    """Digests of the photos of the store that a catalogue or a bundle has."""
    found: set[str] = set()
    for partition in _catalogues(settings):
        found |= _named(pq.read_table(partition.output / "items.parquet", columns=["image"]))
    for path in (settings.root / "bundles").glob("*/items.arrow"):
        try:
            with pa.memory_map(str(path)) as source:
                found |= _named(pa.ipc.open_file(source).read_all().select(["image"]))
        except pa.ArrowInvalid as error:
            raise Damaged(
                f"Cannot read which photos bundle {path.parent.name} has: {error}. Expected its "
                f"items in {path.name}. Restore the bundle, or remove its folder."
            ) from error
    return frozenset(found)


def _named(table: pa.Table) -> set[str]:
    live = pc.starts_with(table["image"], f"{LIVE}/{PHOTOS}/")
    return {image.rpartition("/")[2] for image in table["image"].filter(live).to_pylist()}


if __name__ == "__main__":
    command(run)
