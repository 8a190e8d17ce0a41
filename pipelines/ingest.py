"""The day's catalogue: the feed of the day upon the catalogue of the day before.

    python -m pipelines.ingest --ds 2026-11-20

Every later step reads what this one writes, so each item here has a photo that was there, a leaf
whose id never moves, and a split that no look-alike crosses. Bad rows go to quarantine with a
reason; too many of them fail the step and leave the old state. Items follow their category when
it is renamed, merged, split or retired (`ingest.moved`), also those that the feed leaves out.
What operators changed live since (`live_changes`) counts as if the feed had said it.

Measured on 2 cores: 4,000 photos of 10 KB in 3 s, the next day with 1 % changed in 0.4 s, and 2 s
before either to import pandas and pandera.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.errors import BadInput
from model.taxonomy import Taxonomy
from pipelines.catalogue import COUNTED
from pipelines.categories import read_paths, rearranged
from pipelines.duplicates import group
from pipelines.feed import FEED, check
from pipelines.importers import import_feed
from pipelines.live_changes import LiveChanges, read_live_changes, with_live_changes
from pipelines.moved import brought_back, is_retired, is_split_up, refusals, renamed, set_apart
from pipelines.photos import Fault, Photo, read_photos
from pipelines.settings import Ingest, Settings, Tolerance
from pipelines.splits import assign
from pipelines.step import (
    Outcome,
    Partition,
    Report,
    command,
    file_digest,
    previous_day,
    run_step,
)
from pipelines.tables import Frame, read_table
from serving.bundle import CATEGORIES, LIVE_SEQUENCE

ITEMS = pa.schema(
    [
        ("item_id", pa.string()),
        ("product_id", pa.string()),
        ("image", pa.string()),  # relative to the root, absolute, or a URI
        ("category", pa.string()),
        ("leaf", pa.int32()),  # place of the category in taxonomy.json
        *[FEED.field(name) for name in ("title", "brand", "attributes", "price", "currency")],
        *[FEED.field(name) for name in ("in_stock", "updated_at", "kind")],
        ("split", pa.string()),  # train, val, test or none
        ("box", pa.list_(pa.int32())),
        ("image_digest", pa.string()),  # SHA-256 of the bytes
        ("pixel_key", pa.string()),  # of the bytes and the box
        ("group", pa.int64()),  # the same for items that show the same thing
        ("first_seen", pa.string()),  # ds
        ("changed", pa.string()),  # ds of the last other photo or box
        ("phash", pa.binary()),  # 256 bits; null: undecodable
        ("signature", pa.binary()),  # uint8 [4, 4, 3]
    ]
)
QUARANTINE = pa.schema([(name, pa.string()) for name in ("item_id", "image", "reason", "detail")])

PHOTO = pa.schema(
    [
        ITEMS.field(name)
        for name in ("image_digest", "pixel_key", "changed", "first_seen", "phash", "signature")
    ]
)

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Former:
    """The catalogue of the newest day before; empty on the first day."""

    items: pa.Table  # ITEMS
    taxonomy: Taxonomy

    def rows_of(self, item_ids: pa.ChunkedArray) -> pa.Table:
        """The row of each id, nulls where it has none."""
        return self.items.take(pc.index_in(item_ids, value_set=self.items["item_id"]))


def run(settings: Settings, ds: date) -> Report:
    _catch_up(settings, ds)
    feed = _feed(settings, ds)
    former = previous_day(settings, "ingest", ds)
    live = read_live_changes(settings, ds, former)
    tree, moved = settings.ingest.taxonomy, settings.ingest.moved
    inputs = {
        "feed": feed.digest,
        "previous": former.done().digest if former else "",
        "settings": settings.ingest.model_dump_json(),
        "taxonomy": file_digest(tree) if tree and tree.is_file() else "",
        "moved": file_digest(moved) if moved and moved.is_file() else "",
        **live.inputs,
    }

    def body(folder: Path) -> Outcome:
        return _ingest(settings, live, _former(former), folder)

    return run_step(settings, "ingest", ds, inputs=inputs, body=body)


def main() -> None:
    command(run)


def _feed(settings: Settings, ds: date) -> Report:
    if settings.ingest.feed is not None:
        table = _table(settings.ingest.feed, ds)
        if not table.exists():
            # Not bad data: it may only be late, and then another try finds it.
            raise FileNotFoundError(f"The feed of {ds} is not there yet. Expected it at {table}.")
        return import_feed(settings, ds, table)
    partition = Partition(settings, "feed", ds)
    report = partition.report()
    if report is not None:
        return report
    raise BadInput(
        f"There is no feed for {ds}. Expected one in {partition.folder}. Bring it in with "
        f"`lookalike import SOURCE --ds {ds}`, or set ingest.feed to a path with {{ds}}."
    )


def _table(template: str, ds: date) -> Path:
    return Path(template.replace("{ds}", str(ds)))


def _catch_up(settings: Settings, ds: date) -> None:
    """A feed is what changed that day, so a day that was left out would be lost.

    With `ingest.feed` the days in between are done first; else raises BadInput that names one.
    """
    former = previous_day(settings, "ingest", ds)
    if former is None or settings.ingest.snapshot:
        return
    day = former.ds + timedelta(days=1)
    while day < ds:
        if settings.ingest.feed is not None:
            if _table(settings.ingest.feed, day).exists():
                run(settings, day)
        elif Partition(settings, "feed", day).report() is not None:
            raise BadInput(
                f"The feed of {day} was imported and never ingested; {ds} builds on it. "
                f"Run `python -m pipelines.ingest --ds {day}` first."
            )
        day += timedelta(days=1)


def _former(partition: Partition | None) -> Former:
    if partition is None:
        return Former(ITEMS.empty_table(), Taxonomy(()))
    taxonomy = Taxonomy.from_json((partition.output / "taxonomy.json").read_bytes())
    items = pq.read_table(partition.output / "items.parquet")
    return Former(brought_back(items, taxonomy), taxonomy)


def _ingest(settings: Settings, live: LiveChanges, former: Former, folder: Path) -> Outcome:
    ds = live.ds
    source = Partition(settings, "feed", ds).output
    # A refused row still says that the shop has the item.
    refused = pq.read_table(source / "refused.parquet")["item_id"].to_pylist()
    feed, counted = with_live_changes(
        live,
        read_table(source / "feed.parquet"),
        former.items,
        refused if settings.ingest.snapshot else None,
    )
    taxonomy, known = _taxonomy(settings.ingest, former.taxonomy, feed)
    checked = check(feed, known=known)
    quarantine = [
        {**row, "image": feed.at[row["row"], "image"]} for row in checked.refused.to_pylist()
    ]
    rows = checked.rows.filter(pc.invert(checked.rows["deleted"]))
    old = former.rows_of(rows["item_id"])
    photos, faults = _photograph(rows, old, settings.root, ds)
    quarantine += [row for row in faults if row]
    _check_share(quarantine, len(feed), settings.ingest)

    good = pa.array([fault is None for fault in faults], pa.bool_())
    today = _columns(rows, old, photos).filter(good)
    stay = former.items
    if settings.ingest.snapshot:
        stay = _with_ids(stay, feed["item_id"].tolist() + refused)
    gone = checked.rows.filter(checked.rows["deleted"])["item_id"].to_pylist()
    stay = _with_ids(stay, today["item_id"].to_pylist() + gone, keep=False)
    items = pa.concat_tables([stay.select(today.column_names), today]).sort_by("item_id")
    retired = is_retired(items, taxonomy)
    out, items = items.filter(retired), items.filter(pc.invert(retired))
    if not len(items):
        raise BadInput(
            f"No item is left for {ds}. Expected at least one in the feed or from the day before. "
            f"Received {len(feed)} rows, {len(gone)} of them deleted. Check the feed."
        )
    settled = set_apart(renamed(items, taxonomy), taxonomy)
    taxonomy = taxonomy.extended(settled["category"].to_pylist())
    placed = _placed(settled, taxonomy, settings.ingest)
    _write(folder, placed, quarantine + refusals(out), taxonomy)
    if known is not None:
        (folder / CATEGORIES).write_text(json.dumps(sorted(known), indent=1))
    former = replace(former, items=_with_ids(former.items, out["item_id"].to_pylist(), keep=False))
    details = _details(placed, former, quarantine, taxonomy)
    details[LIVE_SEQUENCE] = live.sequence
    if live.taken:
        details["live_changes"] = len(counted)
    if counted:
        (folder / COUNTED).write_text(json.dumps(sorted(counted), indent=1))
    if taxonomy.moved:
        split_up = pc.sum(is_split_up(placed, taxonomy)).as_py()
        details |= {
            "straddling": details["straddling"] - split_up,
            "renamed": pc.sum(pc.not_equal(items["category"], settled["category"])).as_py(),
            "split_up": split_up,
            "retired": len(out),
        }
    return Outcome(len(placed), details)


def _taxonomy(
    options: Ingest, taxonomy: Taxonomy, feed: Frame
) -> tuple[Taxonomy, frozenset[str] | None]:
    """The day's taxonomy before its new leaves, and the only paths that a feed may use."""
    known = read_paths(options.taxonomy) if options.taxonomy else None
    if options.moved is not None:
        taxonomy = rearranged(taxonomy, options.moved, feed["category"].dropna(), known)
    return taxonomy, known and known | taxonomy.moved.keys()


def _photograph(
    rows: pa.Table, old: pa.Table, root: Path, ds: date
) -> tuple[pa.Table, list[dict[str, str] | None]]:
    """PHOTO columns beside `rows`, and for each row its quarantine row or None.

    A row with the image, time and box of the day before keeps its digests; no byte is read. A row
    without a time may have another photo under the same name.
    """
    same = _same(rows, old, "image", "updated_at", "box") & rows["updated_at"].is_valid().to_numpy()
    photos = read_photos(rows["image"].filter(pa.array(~same)).to_pylist(), root)
    facts: list[dict[str, Any]] = []
    faults: list[dict[str, str] | None] = []
    pairs = zip(
        rows.select(["item_id", "image", "box"]).to_pylist(),
        old.select(PHOTO.names).to_pylist(),
        same.tolist(),
        strict=True,
    )
    for row, before, unchanged in pairs:
        photo = None if unchanged else photos[row["image"]]
        if isinstance(photo, Fault):
            faults.append({"item_id": row["item_id"], "image": row["image"], **photo._asdict()})
        else:
            faults.append(None)
        facts.append(_facts(photo, row["box"], before, ds) if isinstance(photo, Photo) else before)
    return pa.Table.from_pylist(facts, schema=PHOTO), faults


def _same(rows: pa.Table, old: pa.Table, *names: str) -> Mask:
    """Rows that are in `old` with equal values."""
    same: Mask = old["item_id"].is_valid().to_numpy()
    for name in names:
        pairs = zip(rows[name].to_pylist(), old[name].to_pylist(), strict=True)
        same = same & np.array([one == other for one, other in pairs], bool)
    return same


def _facts(photo: Photo, box: list[int] | None, before: dict[str, Any], ds: date) -> dict[str, Any]:
    key = photo.digest
    if box is not None:
        key = hashlib.sha256(f"{photo.digest} {box}".encode()).hexdigest()
    return {
        "image_digest": photo.digest,
        "pixel_key": key,
        "changed": before["changed"] if key == before["pixel_key"] else str(ds),
        "first_seen": before["first_seen"] or str(ds),
        "phash": photo.look and photo.look.phash,
        "signature": photo.look and photo.look.signature,
    }


def _check_share(quarantine: list[dict[str, Any]], total: int, limit: Tolerance) -> None:
    if limit.allows(len(quarantine), total):
        return
    reasons = Counter(row["reason"] for row in quarantine)
    message = (
        f"{len(quarantine)} of {total} rows are bad: {dict(reasons.most_common())}. "
        f"Expected at most {limit.max_bad_share:.2%} (ingest.max_bad_share). "
        f"The first: {quarantine[0]['detail']} Correct the feed and import it again."
    )
    if limit.allows(len(quarantine) - reasons["image_unreadable"], total):
        raise OSError(message)  # the storage is at fault, so another try can help
    raise BadInput(message)


def _columns(rows: pa.Table, old: pa.Table, photos: pa.Table) -> pa.Table:
    """ITEMS without leaf and group; a split that the feed leaves open is yesterday's."""
    columns = {name: rows[name] for name in rows.column_names if name in ITEMS.names}
    columns["split"] = pc.coalesce(rows["split"], old["split"])
    columns |= {name: photos[name] for name in photos.column_names}
    names = [name for name in ITEMS.names if name not in ("leaf", "group")]
    return pa.table({name: columns[name] for name in names})


def _with_ids(items: pa.Table, item_ids: list[str], *, keep: bool = True) -> pa.Table:
    """Only the items with these ids; without `keep` only the others."""
    named = pc.is_in(items["item_id"], value_set=pa.array(item_ids, pa.string()))
    return items.filter(named if keep else pc.invert(named))


def _placed(items: pa.Table, taxonomy: Taxonomy, settings: Ingest) -> pa.Table:
    """ITEMS: with leaf, group and split."""
    groups = group(items, settings.near_duplicate_bits)
    own, products = items["split"].to_pylist(), items["product_id"].to_pylist()
    columns = {name: items[name] for name in items.column_names}
    columns["leaf"] = pa.array([taxonomy.ids[path] for path in items["category"].to_pylist()])
    columns["group"] = pa.array(groups)
    columns["split"] = pa.array(assign(groups, products, own, settings.split_shares), pa.string())
    return pa.table({name: columns[name] for name in ITEMS.names}).cast(ITEMS)


def _write(
    folder: Path, items: pa.Table, quarantine: list[dict[str, Any]], taxonomy: Taxonomy
) -> None:
    # One chunk: how the rows came together must not show in the bytes of the file.
    pq.write_table(items.combine_chunks(), folder / "items.parquet", compression="zstd")
    bad = sorted(({name: row[name] for name in QUARANTINE.names} for row in quarantine), key=str)
    pq.write_table(pa.Table.from_pylist(bad, QUARANTINE), folder / "quarantine.parquet")
    (folder / "taxonomy.json").write_text(taxonomy.to_json())


def _details(
    items: pa.Table, former: Former, quarantine: list[dict[str, Any]], taxonomy: Taxonomy
) -> dict[str, Any]:
    old = former.rows_of(items["item_id"])
    known = old["item_id"].is_valid().to_numpy()
    same = _same(items, old, "pixel_key")
    reasons = Counter(row["reason"] for row in quarantine)
    return {
        "new": int((~known).sum()),
        "changed": int((known & ~same).sum()),
        "unchanged": int(same.sum()),
        "deleted": len(former.items) - int(known.sum()),
        "quarantined": len(quarantine),
        "reasons": dict(sorted(reasons.items())),
        "leaves": int(taxonomy.open.sum()),
        "new_leaves": len(taxonomy.leaves) - len(former.taxonomy.leaves),
        "straddling": items["split"].to_pylist().count("none"),
    }


if __name__ == "__main__":
    main()
