"""What operators changed live, taken into the feed of the day, so that the next bundle has it.

A change counts where it is newer than the word of the feed. A row with `updated_at` speaks of that
time; a row without one, as a snapshot that lacks the item, of the moment when its day began (UTC):
the feed may be written at any time after it, and what an operator did since must not be lost. Where
the feed says nothing of an item, what the day before has taken in stays as it is there.

A day takes in no change that was made after the day that follows it: a past day that is done again
stays in the past. The server goes on after `sequence`, so what is left out here is applied there.
What counted is written beside the catalogue: `prune` keeps it as long as a feed has an older word.
"""

from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from itertools import takewhile
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.live_day import OPEN_FOR, beginning
from pipelines.settings import Settings
from pipelines.step import Partition, digest_of
from pipelines.tables import Frame, to_frame
from serving.bundle import LIVE_SEQUENCE
from serving.live_change import Change
from serving.live_photos import photo_path
from serving.live_place import LIVE

COLUMNS = ["item_id", "image", "box", "kind", "updated_at"]  # what facts of an item do not hold

Row = dict[str, Any]


@dataclass(frozen=True)
class LiveChanges:
    """The changes that belong to a day or to those before."""

    ds: date
    taken: tuple[Change, ...] = ()
    sequence: int = 0  # every change up to this one is among them, or was changed again
    settled: int = 0  # those up to this one were there when the day before was ingested

    @property
    def inputs(self) -> dict[str, str]:
        """For the fingerprint of the step."""
        changes = [change.sequence for change in self.taken]
        return {
            "live": digest_of([self.settled, changes]) if changes else "",
            LIVE_SEQUENCE: str(self.sequence),
        }


@dataclass(frozen=True)
class Known:
    """What is known of the changed items without the live store."""

    live: LiveChanges
    feed: dict[str, Row]  # rows of the day, by id
    former: dict[str, Row]  # rows of the day before, by id
    gone: Collection[str]  # a snapshot lacks them

    @classmethod
    def of(
        cls, live: LiveChanges, feed: Frame, former: pa.Table, stay: Collection[str] | None
    ) -> "Known":
        """`stay`: ids that a snapshot has beside its good rows; None: the feed is no snapshot."""
        ids = [change.item_id for change in live.taken]
        rows = _by_id(feed[feed["item_id"].isin(ids)])
        named = pc.is_in(former["item_id"], value_set=pa.array(ids, pa.string()))
        before = _by_id(to_frame(former.filter(named).select(COLUMNS)))
        gone = () if stay is None else set(ids) - rows.keys() - set(stay)
        return cls(live, rows, before, gone)

    def is_older(self, item_id: str, sequence: int, at: datetime) -> bool:
        """Than what was changed at that time by the change of that sequence."""
        row = self.feed.get(item_id)
        if row is not None or item_id in self.gone:
            return at >= (row and row["updated_at"] or beginning(self.live.ds))
        before = self.former.get(item_id, {}).get("updated_at")
        return sequence > self.live.settled and (before is None or at >= before)

    def with_change(self, change: Change) -> Row:
        """The row of the item, cells of FEED by name; those left out are empty."""
        item = change.item
        if item is None:
            return {"item_id": change.item_id, "deleted": True}
        facts = item.model_dump() | {"product_id": item.product, "updated_at": change.at}
        row = self.feed.get(change.item_id)
        shown = self.former.get(change.item_id) if row is None or row["deleted"] else row
        if change.photo and change.photo_sequence and change.photo_at:
            newer = self.is_older(change.item_id, change.photo_sequence, change.photo_at)
            if shown is None or newer:
                kind = shown and shown["kind"]
                return {"image": f"{LIVE}/{photo_path(change.photo)}", "kind": kind, **facts}
        # Without any photo `check` refuses the row and says so.
        return {**({name: shown[name] for name in COLUMNS} if shown else {}), **facts}


def read_live_changes(settings: Settings, ds: date, former: Partition | None) -> LiveChanges:
    """Those of the store as it is now; none where there is no store."""
    if not settings.live_place.exists:
        return LiveChanges(ds)
    changes, newest = _stored(settings)
    end = beginning(ds) + OPEN_FOR
    whole = list(takewhile(lambda change: change.at < end, changes))
    settled = former.done().details.get(LIVE_SEQUENCE, 0) if former else 0
    if settled > newest:
        settled = 0  # it was that of another store
    return LiveChanges(
        ds,
        tuple(change for change in changes if change.at < end),
        max(whole[-1].sequence if whole else 0, settled),  # the newest may be forgotten by now
        settled,
    )


def with_live_changes(
    live: LiveChanges, feed: Frame, former: pa.Table, stay: Collection[str] | None = None
) -> tuple[Frame, list[str]]:
    """The feed with the changes that count in place of its rows, and which items they are of.

    `former` is the catalogue of the day before; `stay` as for `Known.of`.
    """
    known = Known.of(live, feed, former, stay)
    counted = [
        change
        for change in live.taken
        if known.is_older(change.item_id, change.sequence, change.at)
    ]
    if not counted:
        return feed, []
    rows = [known.with_change(change) for change in counted]
    first = int(feed.index.max()) + 1
    changed = pd.DataFrame(
        {name: [row.get(name) for row in rows] for name in feed.columns},
        index=range(first, first + len(rows)),
        dtype=object,
    )
    ids = [change.item_id for change in counted]
    return pd.concat([feed[~feed["item_id"].isin(ids)], changed]), ids


def _by_id(rows: Frame) -> dict[str, Row]:
    return {row["item_id"]: row for row in rows.to_dict("records")}


def _stored(settings: Settings) -> tuple[list[Change], int]:
    """The changes up to the newest that there is now, and its sequence."""
    from serving.live_store import LiveStore  # takes a second to import

    with closing(LiveStore.open(settings.live_place.url, settings.live_place.folder)) as store:
        newest = store.newest()
        changes = list(takewhile(lambda change: change.sequence <= newest, store.all()))
    return changes, newest
