"""Put everything that answers a query into one sealed folder.

    python -m pipelines.bundle --ds 2026-11-20

Only what the gate passed becomes a bundle. The reducer and the norm are fused into the embedder;
the fused graph must give the vectors of the index (cosine at least 0.9999), or there is no
bundle. Cost: 2 s.
"""

import json
import os
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from model.errors import Refused
from model.fuse import fuse_reducer
from pipelines.catalogue import pixel_store, read_shards
from pipelines.gate import VERDICT
from pipelines.index import SERVED, read_arrow, write_arrow
from pipelines.reduce import read_reducer, space_id
from pipelines.settings import Settings
from pipelines.step import Outcome, Partition, Report, command, run_step
from serving.bundle import seal, store, verify
from serving.embedder import Embedder
from serving.ledger import now

BUNDLE = "bundle.json"
PARITY_PHOTOS = 256
MIN_COSINE = 0.9999


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
        "preprocess": Partition(settings, "preprocess", ds).done().digest,
    }
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
    taxonomy = json.loads((outputs["ingest"] / "taxonomy.json").read_bytes())
    items = read_arrow(outputs["index"] / "items.arrow")
    write_arrow(items.select(SERVED), parts / "items.arrow")
    fuse_reducer(
        outputs["train"] / "embedder.onnx", read_reducer(settings, ds), parts / "embedder.onnx"
    )
    leaves = _leaves_of_embedder(settings, ds, taxonomy["leaves"])
    (parts / "taxonomy.json").write_text(json.dumps({"leaves": leaves}, indent=1))
    cosine = _parity(settings, ds, parts, items)
    facts = _facts(settings, ds, outputs) | {"parity_cosine": cosine}
    digest = seal(parts, facts)
    size = sum(path.stat().st_size for path in parts.rglob("*") if path.is_file())
    verify(store(parts, settings.root / "bundles", digest), digest)
    (folder / BUNDLE).write_text(json.dumps({"bundle": digest}))
    return Outcome(
        rows=len(items),
        details={
            "bundle": digest,
            "space_id": facts["space_id"],
            "parity_cosine": cosine,
            "megabytes": round(size / 1e6, 2),
        },
    )


def _leaves_of_embedder(settings: Settings, ds: date, leaves: list[str]) -> list[str]:
    """Leaf names in the order of the embedder's output: it may be older than the last leaves."""
    embedder = Embedder(Partition(settings, "train", ds).output / "embedder.onnx")
    return leaves[: embedder.leaves]


def _facts(settings: Settings, ds: date, outputs: dict[str, Path]) -> dict[str, Any]:
    index = json.loads((outputs["index"] / "index.json").read_bytes())
    train = Partition(settings, "train", ds).done().details
    return {
        "ds": ds.isoformat(),
        "created": now().isoformat(timespec="seconds"),
        "space_id": space_id(settings, ds),
        "pixel_spec": settings.preprocess.pixel_spec,
        "embedder": train["embedder"],
        "trained": train["trained"],
        "mlflow_run": train.get("mlflow_run"),
        "index": index["description"],
        "counts": {"base": index["base"], "held_out": index["held_out"]},
        "verdict": json.loads((outputs["gate"] / VERDICT).read_bytes()),
    }


def _parity(settings: Settings, ds: date, parts: Path, items: Any) -> float:
    """Least cosine between the fused graph and the vectors of the index. Raises Refused."""
    rows = np.linspace(0, len(items) - 1, min(len(items), PARITY_PHOTOS)).astype(np.int64)
    shards = read_shards(Partition(settings, "preprocess", ds).output)
    keys = items["pixel_key"].take(rows).to_pylist()
    photos = pixel_store(settings.root, settings.pixel_spec).view(shards, keys)[:]
    vectors, _ = Embedder(parts / "embedder.onnx").embed(photos)
    indexed = np.load(parts / "vectors.npy", mmap_mode="r", allow_pickle=False)[rows]
    cosine = float((vectors * indexed).sum(axis=1).min())
    if not cosine >= MIN_COSINE:
        raise Refused(
            f"The fused embedder does not give the vectors of the index. Expected a cosine of at "
            f"least {MIN_COSINE}. Received: {cosine:.6f}. Run `embed` for {ds} again."
        )
    return round(cosine, 7)


if __name__ == "__main__":
    command(run)
