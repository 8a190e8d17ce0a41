"""Reduce the day's catalogue and build its search index.

    python -m pipelines.index --ds 2026-11-20

The gate needs queries that are not in the index it measures, and shoppers need every item found.
So a sample of the catalogue (products of split `test`, and today's new items) stays out of the
base index and is served by exact search beside it: the gate asks for their neighbours in the
base, the engine merges both. ScaNN is the engine from 16 items on. Cost: 1 s to start; building
3,500 items took another second.
"""

import json
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from model.errors import BadInput
from pipelines.catalogue import read_catalogue
from pipelines.embed import embedding_store
from pipelines.reduce import read_reducer, space_id
from pipelines.settings import Settings
from pipelines.step import Outcome, Partition, Report, command, run_step
from serving.exact import ExactIndex
from serving.index import Index, Vectors
from serving.scann_index import MIN_VECTORS, ScannIndex

SERVED = (
    "item_id", "product_id", "title", "brand", "category", "price", "currency", "in_stock", "image",
)  # fmt: skip
TUNING_QUERIES = 500


def run(settings: Settings, ds: date) -> Report:
    """Write `index/`, `vectors.npy`, `items.arrow` and `queries.json` for `ds`."""
    inputs = {
        "preprocess": Partition(settings, "preprocess", ds).done().digest,
        "ingest": Partition(settings, "ingest", ds).done().digest,
        "embed": Partition(settings, "embed", ds).done().digest,
        "reduce": Partition(settings, "reduce", ds).done().digest,
        "settings": settings.index.model_dump_json(),
    }
    return run_step(
        settings, "index", ds, inputs=inputs, body=lambda folder: _index(settings, ds, folder)
    )


def _index(settings: Settings, ds: date, folder: Path) -> Outcome:
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
    tuning = np.array(items["split"].to_pylist())[:base] == "val"
    index = build_index(vectors[:base], vectors[:base][tuning][:TUNING_QUERIES], settings)
    index.save(folder / "index")
    np.save(folder / "vectors.npy", vectors)
    write_arrow(items.select([*SERVED, "pixel_key", "split", "first_seen"]), folder / "items.arrow")
    facts = {"base": base, "held_out": len(items) - base, "description": index.description}
    (folder / "index.json").write_text(json.dumps(facts, indent=1))
    return Outcome(
        rows=len(items),
        details={
            **facts,
            "engine": index.description["engine"],
            "form": index.description["form"],
            "dimensions": vectors.shape[1],
            "space_id": space_id(settings, ds),
            "bytes_per_item": round(_bytes_below(folder / "index") / max(base, 1), 1),
        },
    )


def build_index(base: Vectors, queries: Vectors, settings: Settings) -> Index:
    """The engine for this many vectors; a tree searches as many leaves as its recall needs."""
    engine = settings.index.engine
    if engine == "exact" or (engine == "auto" and len(base) < MIN_VECTORS):
        return ExactIndex(base)
    index = ScannIndex.build(base)
    leaves = index.description.get("leaves")
    if isinstance(leaves, int):
        asked = queries if len(queries) else base[:TUNING_QUERIES]
        index = _with_recall(index, ExactIndex(base), asked, leaves, settings.index.target_recall)
    return index


def _with_recall(
    index: ScannIndex, exact: ExactIndex, queries: Vectors, leaves: int, target: float
) -> ScannIndex:
    """Search half as many leaves again until the recall is there."""
    truth, _ = exact.search(queries, 10)
    effort = max(1, leaves // 50)
    while True:
        index = index.with_effort(min(effort, leaves))
        found, _ = index.search(queries, 10)
        recall = np.mean([np.isin(*pair).mean() for pair in zip(truth, found, strict=True)])
        if recall >= target or effort >= leaves:
            return index
        effort += max(1, effort // 2)


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


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    command(run)
