"""How old the live changes are that a bundle takes in, when it is sealed and when it serves.

From their commit, through the whole path, to the moment at which the last replica confirms it.
Measured on what operators really changed, not on items planted for it: a planted item would be a
product that shoppers meet, and it would only tell how it fares itself. The live store keeps the
newest change of an item, so an item that changes all the time counts from its last change.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from pipelines.index import read_arrow
from pipelines.live_day import changes_of
from pipelines.settings import Settings
from serving.bundle import live_sequence
from serving.ledger import Entry, champion, now
from serving.live_change import Change

log = structlog.get_logger()


@dataclass(frozen=True)
class Freshness:
    """Of the changes that a bundle has and the one that serves has not."""

    folded: int  # items that are in the bundle as the change says: there, or gone
    left_out: int  # those that are not: the catalogue refused them, or the feed has a newer word
    oldest_seconds: float  # from the commit of the first folded one until now
    newest_seconds: float

    @classmethod
    def of(cls, changes: list[Change], items: frozenset[str], at: datetime) -> "Freshness":
        """`items`: ids of the changed ones that the bundle has. Of no change every figure is 0."""
        folded = [change for change in changes if (change.item_id in items) == bool(change.item)]
        ages = [(at - change.at).total_seconds() for change in folded] or [0.0]
        return cls(
            folded=len(folded),
            left_out=len(changes) - len(folded),
            oldest_seconds=round(max(ages), 3),
            newest_seconds=round(min(ages), 3),
        )

    @property
    def details(self) -> dict[str, Any]:
        """For a step's report; nothing where nothing was folded in."""
        if not self.folded:
            return {}
        return {
            "live_folded": self.folded,
            "live_left_out": self.left_out,
            "freshness_seconds": {"oldest": self.oldest_seconds, "newest": self.newest_seconds},
        }


def at_seal(settings: Settings, ds: date, sequence: int, items: pa.Table) -> Freshness:
    """Of a bundle that was sealed just now, with the live changes up to `sequence`."""
    serves = champion(settings.root)
    return _measure(settings, ds, serves.bundle if serves else None, sequence, items)


def when_served(settings: Settings, entry: Entry) -> Freshness:
    """Of a bundle that every replica serves since just now, beside what served before.

    Raises OSError where the live store is away.
    """
    folder = settings.root / "bundles" / entry.bundle
    items = read_arrow(folder / "items.arrow")
    return _measure(settings, entry.ds, entry.former, live_sequence(folder), items)


def log_freshness(
    settings: Settings, ds: date, step: str, bundle: str, freshness: Freshness
) -> None:
    """One MLflow run for each step of a bundle that folded changes in; none where that is away."""
    from mlflow.exceptions import MlflowException  # takes seconds to import

    from pipelines.tracking import client, experiment_id

    figures = {
        "live_folded": freshness.folded,
        "live_left_out": freshness.left_out,
        "freshness_seconds_oldest": freshness.oldest_seconds,
        "freshness_seconds_newest": freshness.newest_seconds,
    }
    try:
        tracker = client(settings)
        run = tracker.create_run(
            experiment_id(settings),
            run_name=f"freshness {ds}",
            tags={"ds": str(ds), "step": step, "bundle": bundle},
        )
        for name, value in figures.items():
            tracker.log_metric(run.info.run_id, name, value)
        tracker.set_terminated(run.info.run_id)
    except (MlflowException, OSError) as error:
        log.error("freshness.not_logged", error=str(error), **figures)


def _measure(
    settings: Settings, ds: date, former: str | None, sequence: int, items: pa.Table
) -> Freshness:
    after = live_sequence(settings.root / "bundles" / former) if former else 0
    changes = changes_of(settings, ds, after=after)
    taken = [change for change in changes if change.sequence <= sequence]
    changed = pa.array([change.item_id for change in taken], pa.string())
    there = pc.filter(items["item_id"], pc.is_in(items["item_id"], value_set=changed))
    return Freshness.of(taken, frozenset(there.to_pylist()), now())
