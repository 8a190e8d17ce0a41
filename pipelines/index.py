"""Reduce the day's catalogue and build its search index.

    python -m pipelines.index --ds 2026-11-20

The gate needs queries that are not in the index it measures, and shoppers need every item found.
So a sample of the catalogue (products of split `test`, and today's new items) stays out of the
base index and is served by exact search beside it: the gate asks for their neighbours in the
base, the engine merges both. Which engine, and how hard it is searched, is measured: see `tuning`.
Tomorrow keeps the engine while the catalogue is about as large, and folds its changes into this
index where that is sound: see `fold`. Cost: 9 s to start, most of it MLflow; 3,500 items took
another second.
"""

import json
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from model.errors import BadInput, LookalikeError
from pipelines.catalogue import read_catalogue
from pipelines.effort import Asked
from pipelines.embed import embedding_store
from pipelines.fold import Numbers, Rows, Wear, can_fold, fold
from pipelines.reduce import read_reducer, space_id
from pipelines.settings import Index as IndexSettings
from pipelines.settings import Settings
from pipelines.step import (
    Outcome,
    Partition,
    Report,
    command,
    digest_of,
    file_digests,
    previous_day,
    run_step,
)
from pipelines.tuning import AUTO, Goal, Tuning, settle, tune
from serving.engines import engine_of
from serving.index import Index, Vectors
from serving.scann_index import ScannIndex
from serving.shown import SHOWN

SERVED = (*SHOWN, "image", "attributes")
FACTS = "index.json"
TUNING_QUERIES = 500
RETUNE_ABOVE = 0.25  # change of size since the engine was chosen

log = structlog.get_logger()


def run(settings: Settings, ds: date) -> Report:
    """Write `index/`, `vectors.npy`, `items.arrow` and what was measured for `ds`."""
    before = previous_day(settings, "index", ds)
    inputs = {
        "preprocess": Partition(settings, "preprocess", ds).done().digest,
        "ingest": Partition(settings, "ingest", ds).done().digest,
        "embed": Partition(settings, "embed", ds).done().digest,
        "reduce": Partition(settings, "reduce", ds).done().digest,
        "settings": settings.index.model_dump_json(),
        "former": before.done().digest if before else "",
    }
    return run_step(
        settings,
        "index",
        ds,
        inputs=inputs,
        body=lambda folder: _index(settings, ds, Former.read(before) if before else None, folder),
    )


@dataclass(frozen=True)
class Former:
    """The index of the day before, in whatever space it was."""

    output: Path
    digest: str
    space: str
    base: int
    description: dict[str, Any]
    setting: str  # `index.engine`
    goal: Goal
    tuned_for: int  # items when the engine was chosen
    wear: Wear

    @classmethod
    def read(cls, partition: Partition) -> "Former | None":
        """None of an index that was written before it could be kept."""
        facts = json.loads((partition.output / FACTS).read_bytes())
        if "setting" not in facts:
            log.info("index.former_is_old", output=str(partition.output))
            return None
        return cls(
            output=partition.output,
            digest=partition.done().digest,
            space=str(partition.done().details["space_id"]),
            base=facts["base"],
            description=facts["description"],
            setting=facts["setting"],
            goal=Goal(**facts["goal"]),
            tuned_for=facts["tuned_for"],
            wear=Wear(**facts["wear"]),
        )

    @property
    def rows(self) -> Rows:
        items = read_arrow(self.output / "items.arrow")[: self.base]
        vectors = np.load(self.output / "vectors.npy", mmap_mode="r", allow_pickle=False)
        return _rows(items, vectors[: self.base])

    def fits(self, options: IndexSettings, items: int) -> bool:
        """Is its engine still the one to use?"""
        near = abs(items / self.tuned_for - 1) <= RETUNE_ABOVE
        return near and (self.setting, self.goal) == (options.engine, _goal(options))


def _index(settings: Settings, ds: date, former: Former | None, folder: Path) -> Outcome:
    catalogue = read_catalogue(settings, ds)
    items = catalogue.items.filter(pc.equal(catalogue.items["kind"], "catalogue"))
    if not len(items):
        raise BadInput(
            f"Nothing to index on {ds}. Expected items of kind `catalogue`. "
            f"Received {len(catalogue.items)} of kind `wild`: photos to search by, not to find."
        )
    wild = catalogue.items.filter(pc.equal(catalogue.items["kind"], "wild"))
    asked = pc.any(pc.not_equal(wild["split"], "train")).as_py()
    apart = _held_out(items, settings, ds, any_item=not asked)
    items = pa.concat_tables([items.filter(~apart), items.filter(apart)])
    store, shards = embedding_store(settings, ds)
    embeddings = store.view(shards, items["pixel_key"].to_pylist())
    vectors = read_reducer(settings, ds)(embeddings[:])
    base = len(items) - int(apart.sum())
    # Not the held-out ones: the gate asks those, and must not meet an index fitted to them.
    val = np.array(items["split"].to_pylist())[:base] == "val"
    asked = vectors[:base][val if val.any() else slice(None)][:TUNING_QUERIES]
    rows = _rows(items[:base], vectors[:base])
    built = None
    if former is not None and former.fits(settings.index, base):
        built = _folded(former, rows, asked, space_id(settings, ds))
    built = built or _built(rows, asked, settings.index, former)
    items = items.take(pa.array([*built.order, *range(base, len(items))]))
    vectors[:base] = vectors[:base][built.order]
    built.index.save(folder / "index")
    np.save(folder / "vectors.npy", vectors)
    write_arrow(items.select([*SERVED, "pixel_key", "split", "first_seen"]), folder / "items.arrow")
    facts = {
        "base": base,
        "held_out": len(items) - base,
        "description": built.index.description,
        "setting": settings.index.engine,
        "goal": asdict(built.tuning.goal),
        "tuned_for": built.tuned_for,
        "wear": asdict(built.wear),
    }
    (folder / FACTS).write_text(json.dumps(facts, indent=1))
    from pipelines.index_run import log_index  # MLflow takes seconds to import

    log_index(settings, ds, built.tuning)
    return Outcome(
        rows=len(items),
        details={
            "base": base,
            "held_out": len(items) - base,
            "engine": built.index.description["engine"],
            "form": built.index.description["form"],
            "effort": built.index.description["effort"],
            "folded": built.folded,
            "why": built.tuning.reason,
            "dimensions": vectors.shape[1],
            "space_id": space_id(settings, ds),
            "bytes_per_item": round(built.tuning.chosen.bytes_per_item, 1),
        },
    )


@dataclass(frozen=True)
class Built:
    """The day's index, which row of the catalogue is at each of its places, and how it was made."""

    index: Index
    order: Numbers
    tuning: Tuning
    tuned_for: int
    wear: Wear
    folded: int = 0  # changes that were folded into yesterday's


def _built(rows: Rows, asked: Vectors, options: IndexSettings, former: Former | None) -> Built:
    """From nothing. An engine stays while the catalogue is about as large as when it was chosen."""
    goal, order = _goal(options), np.arange(len(rows))
    if options.engine == AUTO and former is not None and former.fits(options, len(rows)):
        try:
            index, tuning = tune(rows.vectors, asked, goal, engine_of(former.description))
            return Built(index, order, tuning, former.tuned_for, Wear.of(index))
        except BadInput as error:
            log.warning("index.retuned", error=str(error))
    index, tuning = tune(rows.vectors, asked, goal, options.engine)
    return Built(index, order, tuning, len(rows), Wear.of(index))


def _folded(former: Former, rows: Rows, asked: Vectors, space: str) -> Built | None:
    """Yesterday's index with today's changes; None where it must be built anew."""
    if former.space != space or not can_fold(former.description):
        return None
    if digest_of(file_digests(former.output)) != former.digest:
        log.warning("index.former_is_damaged", output=str(former.output))
        return None  # a flipped bit may abort ScaNN's process
    try:
        index = ScannIndex.load(former.output / "index", former.description)
        folded = fold(index, former.rows, rows)
        wear = replace(former.wear, changed=former.wear.changed + folded.changed)
        if wear.too_much(folded.index):
            log.info("index.worn", changed=wear.changed)
            return None
        ordered = rows.vectors[folded.order]
        found, tuning = settle(folded.index, Asked.of(ordered, asked), former.goal)
    except (LookalikeError, RuntimeError) as error:  # ScaNN's own are of the second kind
        log.warning("index.rebuilt", error=str(error))
        return None
    return Built(found, folded.order, tuning, former.tuned_for, wear, folded.changed)


def _rows(items: pa.Table, vectors: Vectors) -> Rows:
    ids, photos = (items[name].combine_chunks() for name in ("item_id", "pixel_key"))
    return Rows(ids, photos, vectors)


def _goal(options: IndexSettings) -> Goal:
    return Goal(options.target_recall, options.tuning_seconds, options.max_bytes_per_item)


def _held_out(
    items: pa.Table, settings: Settings, ds: date, *, any_item: bool
) -> npt.NDArray[np.bool_]:
    """bool [items]: products of split `test`, and items that are new today, up to the limits.

    `any_item`: without a test product, take any; else the gate would have nothing to ask.
    """
    limit = min(settings.index.held_out, int(len(items) * settings.index.held_out_share))
    new = np.array(items["first_seen"].to_pylist()) == ds.isoformat()
    if new.mean() > settings.index.held_out_share:
        new[:] = False  # a first day, or a season: these are the catalogue, not its news
    test = np.array(items["split"].to_pylist()) == "test"
    # By photo digest: as good as random, and the same every day.
    if any_item and not test.any():
        test[:] = True
    order = np.argsort(items["pixel_key"].to_numpy(zero_copy_only=False), kind="stable")
    chosen = np.zeros(len(items), bool)
    chosen[[row for row in order if new[row]][: limit // 2]] = True
    left = limit - int(chosen.sum())
    chosen[[row for row in order if test[row] and not chosen[row]][:left]] = True
    return chosen


def write_arrow(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table.combine_chunks())


def read_arrow(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


if __name__ == "__main__":
    command(run)
