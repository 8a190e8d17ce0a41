"""Full embeddings of every photo, in float32, and the forms of the embedder that may serve.

    python -m pipelines.embed --ds 2026-11-20

An embedding shard mirrors a pixel shard and is kept by (photo, embedder): a day embeds only its new
shards, a new embedder fills all of them, those with most of the photos that were changed last
first, and a killed run goes on with the shards that are missing. What `embed.precisions` names
beside float32 is made once for each embedder and kept with it; the gate says which one answers
queries. Cost: 2 s to start, another 2 s to calibrate int8 for a new embedder, then about 2,000
photos of 64 pixels a second on two cores without AVX-512.
"""

import json
import shutil
from collections.abc import Container, Mapping, Sequence
from datetime import date
from pathlib import Path

import pyarrow.compute as pc
import structlog

from model.errors import BadInput
from model.pixels import Pixels
from pipelines.catalogue import pixel_store, read_catalogue, read_items, read_shards
from pipelines.content_store import ContentStore
from pipelines.progress import progress
from pipelines.settings import Settings
from pipelines.step import Outcome, Partition, Report, command, made_from, run_step
from serving.embedder import Embedder
from serving.graph import Precision

FACTS = "embeddings.json"
HOT_SHARE = 0.2  # of the items in stock

log = structlog.get_logger()


def run(settings: Settings, ds: date) -> Report:
    """Embed the shards of `ds` that this day's embedder has not seen."""
    inputs = {
        "shards": Partition(settings, "preprocess", ds).done().digest,
        "embedder": str(Partition(settings, "train", ds).done().details["embedder"]),
        "precisions": settings.embed.model_dump_json(),
    }
    form = {name: inputs[name] for name in ("embedder", "precisions")}
    kept = made_from(settings, "embed", ds, form)
    # Without one to keep, int8 depends on the photos of the day it is calibrated on.
    inputs["calibrated_on"] = (
        kept.done().inputs["calibrated_on"]
        if kept
        else Partition(settings, "ingest", ds).done().digest
    )
    return run_step(
        settings,
        "embed",
        ds,
        inputs=inputs,
        body=lambda folder: _embed(settings, ds, kept, folder),
        intact=lambda output: _intact(settings, output),
    )


def embedding_store(settings: Settings, ds: date) -> tuple[ContentStore, list[str]]:
    """The store that `embed` filled for `ds`, float32 [D] of unit length, and its shards."""
    return _read(settings, Partition(settings, "embed", ds).output)


def embedder_path(settings: Settings, ds: date, precision: Precision) -> Path:
    """The graph that computes in `precision`. Raises BadInput, with the reason, without one."""
    if precision == "float32":
        return Partition(settings, "train", ds).output / "embedder.onnx"
    output = Partition(settings, "embed", ds).output
    path = output / _file(precision)
    if not path.is_file():
        why = json.loads((output / FACTS).read_bytes())["not_made"].get(precision)
        raise BadInput(why or f"`embed` made no {precision} embedder for {ds}. Run it again.")
    return path


def _file(precision: str) -> str:
    return f"embedder.{precision}.onnx"


def _read(settings: Settings, output: Path) -> tuple[ContentStore, list[str]]:
    facts = json.loads((output / FACTS).read_bytes())
    return _store(settings, facts["embedder"], facts["dimensions"]), list(facts["shards"])


def _intact(settings: Settings, output: Path) -> bool:
    store, shards = _read(settings, output)
    return all(store.path(shard).is_file() for shard in shards)


def _store(settings: Settings, embedder: str, dimensions: int) -> ContentStore:
    return ContentStore(settings.root / "embeddings" / embedder, (dimensions,), "float32")


def _embed(settings: Settings, ds: date, kept: Partition | None, folder: Path) -> Outcome:
    shards = read_shards(Partition(settings, "preprocess", ds).output)
    name = str(Partition(settings, "train", ds).done().details["embedder"])
    embedder = Embedder(embedder_path(settings, ds, "float32"))
    store = _store(settings, name, embedder.dimensions)
    missing = [shard for shard in shards if not store.path(shard).is_file()]
    pixels = pixel_store(settings.root, settings.pixel_spec)
    if len(missing) > 1:
        missing = hot_first({shard: pixels.keys(shard) for shard in missing}, _hot(settings, ds))
    embedded = 0
    with progress("embed", len(missing)) as advance:
        for shard in missing:
            keys, photos = pixels.read(shard)
            store.write(shard, keys, embedder.embed(photos)[0])
            embedded += len(keys)
            advance()
    not_made = _keep_forms(kept, folder) if kept else _make_forms(settings, ds, folder)
    facts = {"embedder": name, "dimensions": embedder.dimensions, "shards": shards}
    (folder / FACTS).write_text(json.dumps({**facts, "not_made": not_made}, indent=1))
    return Outcome(
        rows=embedded,
        details={
            "embedder": name,
            "dimensions": embedder.dimensions,
            "new_shards": len(missing),
            "kept_shards": len(shards) - len(missing),
            "precisions": " ".join(p for p in settings.embed.precisions if p not in not_made),
        },
    )


def hot_first(shards: Mapping[str, Sequence[str]], hot: Container[str]) -> list[str]:
    """Shards by how many of their photos are hot, most first; else in the order given."""
    counts = {shard: sum(key in hot for key in keys) for shard, keys in shards.items()}
    return sorted(shards, key=lambda shard: -counts[shard])


def _hot(settings: Settings, ds: date) -> frozenset[str]:
    """Photos of the items in stock that were updated last: nobody's clicks are known here."""
    items = read_items(settings, ds)
    items = items.filter(pc.fill_null(items["in_stock"], True)).sort_by(
        [("updated_at", "descending"), ("item_id", "ascending")]
    )
    return frozenset(items["pixel_key"][: int(len(items) * HOT_SHARE)].to_pylist())


def _keep_forms(kept: Partition, folder: Path) -> dict[str, str]:
    for path in kept.output.glob(_file("*")):
        shutil.copy2(path, folder)
    return dict(json.loads((kept.output / FACTS).read_bytes())["not_made"])


def _make_forms(settings: Settings, ds: date, folder: Path) -> dict[str, str]:
    """Write the graphs beside float32; those that cannot be made, by precision, and why."""
    exact = embedder_path(settings, ds, "float32")
    failed: dict[str, str] = {}
    for precision in settings.embed.precisions:
        if precision == "float32":
            continue
        from model.quantise import in_bfloat16, quantise  # ONNX Runtime takes a second to import

        try:
            if precision == "int8":
                quantise(exact, _calibration_photos(settings, ds), folder / _file(precision))
            else:
                in_bfloat16(exact, folder / _file(precision))
        except BadInput as error:  # a foreign backbone may have no such form; float32 serves then
            log.warning("embedder.not_made", precision=precision, error=str(error))
            failed[precision] = str(error)
    return failed


def _calibration_photos(settings: Settings, ds: date) -> Pixels:
    """Training photos, so that the gate's queries are new to the ranges; by digest, as if drawn."""
    catalogue = read_catalogue(settings, ds)
    items = catalogue.items.filter(pc.equal(catalogue.items["split"], "train"))
    keys = sorted(set(items["pixel_key"].to_pylist()))
    return catalogue.pixels.view(catalogue.shards, keys[: settings.embed.calibration_photos])[:]


if __name__ == "__main__":
    command(run)
