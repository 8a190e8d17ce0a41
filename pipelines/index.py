"""Reduce the day's catalogue and build its search index.

    python -m pipelines.index --ds 2026-11-20

The gate needs queries that are not in the index it measures, and shoppers need every item found.
So a sample of the catalogue (products of split `test`, and today's new items) stays out of the
base index and is served by exact search beside it: the gate asks for their neighbours in the
base, the engine merges both. Which engine, and how hard it is searched, is measured: see
`tuning`. Tomorrow keeps the engine while the catalogue is about as large. Cost: 1 s to start;
3,500 items took another second.
"""

import json
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from model.errors import BadInput
from pipelines.catalogue import read_catalogue
from pipelines.embed import embedding_store
from pipelines.reduce import read_reducer, space_id
from pipelines.settings import Settings
from pipelines.step import Outcome, Partition, Report, command, digest_of, previous_day, run_step
from pipelines.tuning import AUTO, Goal, Tuning, tune
from serving.engines import engine_of
from serving.index import Index, Vectors

SERVED = (
    "item_id", "product_id", "title", "brand", "category", "price", "currency", "in_stock", "image",
)  # fmt: skip
FACTS = "index.json"
TUNING_QUERIES = 500
RETUNE_ABOVE = 0.25  # change of size since the engine was chosen

log = structlog.get_logger()


def run(settings: Settings, ds: date) -> Report:
    """Write `index/`, `vectors.npy`, `items.arrow` and what was measured for `ds`."""
    former = _former(settings, ds)
    inputs = {
        "preprocess": Partition(settings, "preprocess", ds).done().digest,
        "ingest": Partition(settings, "ingest", ds).done().digest,
        "embed": Partition(settings, "embed", ds).done().digest,
        "reduce": Partition(settings, "reduce", ds).done().digest,
        "settings": settings.index.model_dump_json(),
        "former": digest_of([former and former[name] for name in ("description", "tuned_for")]),
    }
    return run_step(
        settings,
        "index",
        ds,
        inputs=inputs,
        body=lambda folder: _index(settings, ds, former, folder),
    )


def _index(settings: Settings, ds: date, former: dict[str, Any] | None, folder: Path) -> Outcome:
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
    index, tuning, tuned_for = _tuned(vectors[:base], asked, settings, former)
    index.save(folder / "index")
    np.save(folder / "vectors.npy", vectors)
    write_arrow(items.select([*SERVED, "pixel_key", "split", "first_seen"]), folder / "items.arrow")
    facts = {
        "base": base,
        "held_out": len(items) - base,
        "description": index.description,
        "goal": asdict(tuning.goal),
        "tuned_for": tuned_for,
    }
    (folder / FACTS).write_text(json.dumps(facts, indent=1))
    from pipelines.index_run import log_index  # MLflow takes seconds to import

    log_index(settings, ds, tuning)
    return Outcome(
        rows=len(items),
        details={
            "base": base,
            "held_out": len(items) - base,
            "engine": index.description["engine"],
            "form": index.description["form"],
            "effort": index.description["effort"],
            "why": tuning.reason,
            "dimensions": vectors.shape[1],
            "space_id": space_id(settings, ds),
            "bytes_per_item": round(tuning.chosen.bytes_per_item, 1),
        },
    )


def _tuned(
    base: Vectors, queries: Vectors, settings: Settings, former: dict[str, Any] | None
) -> tuple[Index, Tuning, int]:
    """The index, how it was found, and the size for which its engine was.

    An engine stays while the catalogue is about as large as when it was chosen, and reaches the
    goal; its effort is measured again every day.
    """
    options = settings.index
    goal = Goal(options.target_recall, options.tuning_seconds, options.max_bytes_per_item)
    if options.engine == AUTO and former is not None and former["goal"] == asdict(goal):
        size = int(former["tuned_for"])
        if abs(len(base) / size - 1) <= RETUNE_ABOVE:
            try:
                return *tune(base, queries, goal, engine_of(former["description"])), size
            except BadInput as error:
                log.warning("index.retuned", error=str(error))
    return *tune(base, queries, goal, options.engine), len(base)


def _former(settings: Settings, ds: date) -> dict[str, Any] | None:
    """The facts of the index of the day before, in whatever space it was."""
    before = previous_day(settings, "index", ds)
    return json.loads((before.output / FACTS).read_bytes()) if before else None


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
