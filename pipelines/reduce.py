"""Fit the reducer: PCA from the full embedding to what the index holds.

    python -m pipelines.reduce --ds 2026-11-20

Fitted once for each embedder, on the catalogue of that day, and kept with it: vectors of two
reducers do not compare. Cost: 1 s, plus one pass over the embeddings.
"""

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.pca import Reducer, fit_pca
from pipelines.catalogue import read_catalogue
from pipelines.content_store import View
from pipelines.embed import embedding_store
from pipelines.settings import Settings
from pipelines.step import (
    Outcome,
    Partition,
    Report,
    command,
    digest_of,
    file_digest,
    previous_day,
    run_step,
)

REDUCER = "reducer.npz"
BLOCK = 65_536  # embeddings at a time


def run(settings: Settings, ds: date) -> Report:
    """Fit, or keep the reducer that was fitted for this embedder."""
    embedder = str(Partition(settings, "embed", ds).done().details["embedder"])
    before = previous_day(settings, "reduce", ds)
    inputs = {"embedder": embedder, "dimensions": str(settings.reduce.dimensions)}
    same = before is not None and all(
        before.done().inputs[name] == value for name, value in inputs.items()
    )
    kept = before if same else None
    # Without a reducer to keep, it depends on the photos of the day it is fitted on.
    inputs["fitted_on"] = (
        kept.done().inputs["fitted_on"] if kept else Partition(settings, "embed", ds).done().digest
    )
    return run_step(
        settings, "reduce", ds, inputs=inputs, body=lambda to: _fit_or_keep(settings, ds, kept, to)
    )


def space_id(settings: Settings, ds: date) -> str:
    """Digest of pixel spec, embedder and reducer. Only vectors of one space compare."""
    report = Partition(settings, "reduce", ds).done()
    return digest_of(
        [settings.preprocess.pixel_spec, report.inputs["embedder"], report.details["reducer"]]
    )


def read_reducer(settings: Settings, ds: date) -> Reducer:
    return Reducer.load(Partition(settings, "reduce", ds).output / REDUCER)


def _fit_or_keep(settings: Settings, ds: date, kept: Partition | None, folder: Path) -> Outcome:
    if kept is not None:
        shutil.copy2(kept.output / REDUCER, folder / REDUCER)
        rows = 0
    else:
        catalogue = read_catalogue(settings, ds)
        store, shards = embedding_store(settings, ds)
        embeddings = store.view(shards, sorted(set(catalogue.items["pixel_key"].to_pylist())))
        rows = len(embeddings)
        fit_pca(_blocks(embeddings), settings.reduce.dimensions).save(folder / REDUCER)
    reducer = Reducer.load(folder / REDUCER)
    return Outcome(
        rows=rows,
        details={
            "kept": kept is not None,
            "from": len(reducer.components),
            "to": reducer.components.shape[1],
            "explained": round(float(reducer.explained.sum()), 5),
            "reducer": file_digest(folder / REDUCER)[:16],
        },
    )


def _blocks(embeddings: View) -> Iterator[npt.NDArray[np.float32]]:
    for start in range(0, len(embeddings), BLOCK):
        yield embeddings[start : start + BLOCK]


if __name__ == "__main__":
    command(run)
