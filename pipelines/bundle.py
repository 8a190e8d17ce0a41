"""Put everything that answers a query into one sealed folder.

    python -m pipelines.bundle --ds 2026-11-20

Only what the gate passed becomes a bundle, with the embedder in the precision that the gate chose.
The reducer and the norm are fused into it; in float32 the fused graph must give the vectors of the
index (cosine at least 0.9999), and the one that serves nearly so, or there is no bundle. Where it
takes in live changes, the report says how old they are by then. Cost: 2 s, and 3 more for MLflow
with such.
"""

import json
import os
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from model.errors import Refused
from model.fuse import fuse_reducer
from model.taxonomy import Taxonomy
from pipelines.catalogue import pixel_store, read_shards, read_taxonomy
from pipelines.embed import embedder_path
from pipelines.freshness import at_seal, log_freshness
from pipelines.gate import VERDICT
from pipelines.index import SERVED, read_arrow, write_arrow
from pipelines.localise import localiser_path
from pipelines.reduce import read_reducer, space_id
from pipelines.settings import Settings
from pipelines.step import Outcome, Partition, Report, command, file_digest, run_step
from serving.bundle import CATEGORIES, LIVE_SEQUENCE, LOCALISER, seal, store, verify
from serving.embedder import Embedder
from serving.graph import Precision
from serving.index import Vectors
from serving.ledger import now
from serving.shown import with_heads

BUNDLE = "bundle.json"
PARITY_PHOTOS = 256
MIN_COSINE = 0.9999  # of every photo in float32: the same numbers by the same path
MIN_MEAN_COSINE = 0.99  # in fewer bits, which bend a photo a little; the gate measured the cost


def run(settings: Settings, ds: date) -> Report:
    """Seal the bundle of `ds` under `<root>/bundles/<digest>`."""
    gate = Partition(settings, "gate", ds).done()
    if not gate.details["passed"]:
        raise Refused(f"The gate refused the index of {ds}; there is nothing to bundle.")
    inputs = {
        "gate": gate.digest,
        "index": Partition(settings, "index", ds).done().digest,
        "reduce": Partition(settings, "reduce", ds).done().digest,
        "train": Partition(settings, "train", ds).done().digest,
        "embed": Partition(settings, "embed", ds).done().digest,
        "localise": Partition(settings, "localise", ds).done().digest,
        "preprocess": Partition(settings, "preprocess", ds).done().digest,
        LIVE_SEQUENCE: str(_live_sequence(settings, ds)),
    }
    categories = Partition(settings, "ingest", ds).output / CATEGORIES
    if categories.exists():
        inputs["categories"] = file_digest(categories)  # which change without any item
    return run_step(
        settings,
        "bundle",
        ds,
        inputs=inputs,
        body=lambda folder: _bundle(settings, ds, folder),
        intact=lambda output: _stored(settings, output).is_dir(),
    )


def _stored(settings: Settings, output: Path) -> Path:
    digest = json.loads((output / BUNDLE).read_bytes())["bundle"]
    return settings.root / "bundles" / str(digest)


def bundle_digest(settings: Settings, ds: date) -> str:
    return str(Partition(settings, "bundle", ds).done().details["bundle"])


def _bundle(settings: Settings, ds: date, folder: Path) -> Outcome:
    outputs = {
        step: Partition(settings, step, ds).output
        for step in ("ingest", "preprocess", "train", "index", "gate")
    }
    parts = folder / "parts"
    # Hard links: a bundle shares the bytes of the steps' outputs.
    shutil.copytree(outputs["index"] / "index", parts / "index", copy_function=os.link)
    os.link(outputs["index"] / "vectors.npy", parts / "vectors.npy")
    shutil.copytree(outputs["preprocess"] / "transform", parts / "transform", copy_function=os.link)
    os.link(outputs["gate"] / VERDICT, parts / VERDICT)
    localiser = localiser_path(settings, ds)
    if localiser is not None:
        os.link(localiser, parts / LOCALISER)
    items = read_arrow(outputs["index"] / "items.arrow")
    write_arrow(with_heads(items.select(SERVED)), parts / "items.arrow")
    if (outputs["ingest"] / CATEGORIES).exists():
        os.link(outputs["ingest"] / CATEGORIES, parts / CATEGORIES)
    (parts / "taxonomy.json").write_text(_taxonomy_of_embedder(settings, ds).to_json())
    cosines = _fuse(settings, ds, parts, items)
    facts = _facts(settings, ds, outputs) | cosines
    digest = seal(parts, facts)
    size = sum(path.stat().st_size for path in parts.rglob("*") if path.is_file())
    verify(store(parts, settings.root / "bundles", digest), digest)
    (folder / BUNDLE).write_text(json.dumps({"bundle": digest}))
    freshness = at_seal(settings, ds, _live_sequence(settings, ds), items)
    if freshness.folded:
        log_freshness(settings, ds, "bundle", digest, freshness)
    return Outcome(
        rows=len(items),
        details={
            "bundle": digest,
            "space_id": facts["space_id"],
            "precision": facts["precision"],
            **cosines,
            "megabytes": round(size / 1e6, 2),
            **freshness.details,
        },
    )


def _taxonomy_of_embedder(settings: Settings, ds: date) -> Taxonomy:
    """The leaves in the order of the embedder's output: it may be older than the last of them."""
    taxonomy = read_taxonomy(settings, ds)
    embedder = Embedder(embedder_path(settings, ds, "float32"))
    return replace(taxonomy, leaves=taxonomy.leaves[: embedder.leaves])


def _facts(settings: Settings, ds: date, outputs: dict[str, Path]) -> dict[str, Any]:
    index = json.loads((outputs["index"] / "index.json").read_bytes())
    train = Partition(settings, "train", ds).done().details
    return {
        "ds": ds.isoformat(),
        "created": now().isoformat(timespec="seconds"),
        "space_id": space_id(settings, ds),
        "pixel_spec": settings.preprocess.pixel_spec,
        "embedder": train["embedder"],
        "precision": _precision(settings, ds),
        "trained": train["trained"],
        "mlflow_run": train.get("mlflow_run"),
        "index": index["description"],
        "counts": {"base": index["base"], "held_out": index["held_out"]},
        LIVE_SEQUENCE: _live_sequence(settings, ds),
        "verdict": json.loads((outputs["gate"] / VERDICT).read_bytes()),
    }


def _live_sequence(settings: Settings, ds: date) -> int:
    """The newest live change that the catalogue has; a server applies those after it."""
    return int(Partition(settings, "ingest", ds).done().details.get(LIVE_SEQUENCE, 0))


def _precision(settings: Settings, ds: date) -> Precision:
    precision: Precision = Partition(settings, "gate", ds).done().details["precision"]
    return precision


def _fuse(settings: Settings, ds: date, parts: Path, items: Any) -> dict[str, float]:
    """Write `embedder.onnx`; returns how near it is to the index. Raises Refused if it is not.

    In float32 first: only there a wrong reducer or a stale vector cannot hide behind rounding.
    """
    exact = _cosines(settings, ds, parts, items, "float32")
    _check(ds, "float32", float(exact.min()), MIN_COSINE)
    precision = _precision(settings, ds)
    served = _cosines(settings, ds, parts, items, precision)
    _check(ds, precision, float(served.mean()), MIN_MEAN_COSINE)
    return {
        "parity_cosine": round(float(exact.min()), 7),
        "precision_cosine": round(float(served.mean()), 7),
    }


def _cosines(
    settings: Settings, ds: date, parts: Path, items: Any, precision: Precision
) -> Vectors:
    """Write the fused graph; cosines of its vectors of some photos to those in the index."""
    path = parts / "embedder.onnx"
    fuse_reducer(embedder_path(settings, ds, precision), read_reducer(settings, ds), path)
    rows = np.linspace(0, len(items) - 1, min(len(items), PARITY_PHOTOS)).astype(np.int64)
    shards = read_shards(Partition(settings, "preprocess", ds).output)
    keys = items["pixel_key"].take(rows).to_pylist()
    photos = pixel_store(settings.root, settings.pixel_spec).view(shards, keys)[:]
    indexed = np.load(parts / "vectors.npy", mmap_mode="r", allow_pickle=False)[rows]
    return np.asarray(np.einsum("nd,nd->n", Embedder(path).embed(photos)[0], indexed))


def _check(ds: date, precision: Precision, cosine: float, bound: float) -> None:
    if not cosine >= bound:
        raise Refused(
            f"The fused {precision} embedder does not give the vectors of the index. Expected a "
            f"cosine of at least {bound}. Received: {cosine:.6f}. Run `embed` for {ds} again."
        )


if __name__ == "__main__":
    command(run)
