"""Fit the reducer: from the full embedding to what the index holds.

    python -m pipelines.reduce --ds 2026-11-20

Fitted once for each embedder, on the catalogue of that day, and kept with it: vectors of two
reducers do not compare. With `reduce.dimensions = "auto"` the curve of every dimension decides:
the fewest that lose at most `reduce.max_loss` of the quality and that the gate would still pass.
Cost: 1 s, plus one pass over the embeddings; the curve another 6 to 12 s, minutes for a large shop.
"""

import json
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from model.reducer import METHODS, Reducer, check_dimensions, fit_reducer, second_moment
from pipelines.catalogue import read_catalogue
from pipelines.content_store import View
from pipelines.curve import Bounds, choose, grid, measure
from pipelines.embed import embedding_store
from pipelines.settings import Settings
from pipelines.step import (
    Outcome,
    Partition,
    Report,
    command,
    digest_of,
    file_digest,
    made_from,
    run_step,
)
from pipelines.trial import draw_trial

REDUCER, CURVE = "reducer.npz", "curve.json"
BLOCK = 65_536  # embeddings at a time


def run(settings: Settings, ds: date) -> Report:
    """Fit, or keep the reducer that was fitted for this embedder."""
    embedder = str(Partition(settings, "embed", ds).done().details["embedder"])
    inputs = {"embedder": embedder, "rule": _rule(settings)}
    kept = made_from(settings, "reduce", ds, inputs)
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


def _rule(settings: Settings) -> str:
    """The settings that the reducer depends on."""
    options = settings.reduce
    if "auto" not in (options.dimensions, options.method):
        return f"{options.method} {options.dimensions}"
    gate = settings.gate.model_dump_json(
        include={"k", "min_recall", "min_slice_recall", "slice_queries", "bootstrap_rounds"}
    )
    index = settings.index.model_dump_json(include={"engine", "target_recall"})
    return f"{options.model_dump_json()} {gate} {index}"


def _fit_or_keep(settings: Settings, ds: date, kept: Partition | None, folder: Path) -> Outcome:
    if kept is not None:
        shutil.copytree(kept.output, folder, dirs_exist_ok=True)
        return Outcome(rows=0, details={**kept.done().details, "kept": True})
    items = read_catalogue(settings, ds).items
    store, shards = embedding_store(settings, ds)
    photos = store.view(shards, _photos(items))
    moment = second_moment(_blocks(photos))
    options, width = settings.reduce, len(moment)
    if options.dimensions != "auto":
        check_dimensions(options.dimensions, width)
    trial, fitted = draw_trial(items, lambda keys: store.view(shards, keys)[:], settings.gate.k)
    curve = None
    if trial is not None:
        curve = measure(
            trial,
            second_moment(_blocks(store.view(shards, _photos(fitted)))),
            Bounds.of(settings, len(trial.base.leaf)),
            METHODS if options.method == "auto" else [options.method],
            grid(width) if options.dimensions == "auto" else [options.dimensions],
        )
    method, dimensions = choose(options, curve, width)
    reducer = fit_reducer(moment, dimensions, method)
    reducer.save(folder / REDUCER)
    details: dict[str, object] = {
        "kept": False,
        "method": method,
        "from": width,
        "to": dimensions,
        "explained": round(float(reducer.explained.sum()), 5),
        "reducer": file_digest(folder / REDUCER)[:16],
    }
    if curve is not None:
        (folder / CURVE).write_text(json.dumps(curve.to_json(), indent=1))
        details |= curve.facts(method, dimensions)
        if len(curve.points) > 1:
            from pipelines.reduce_run import log_curve  # MLflow takes seconds to import

            details["mlflow_run"] = log_curve(settings, ds, curve, f"{method} {dimensions}")
    return Outcome(rows=len(photos), details=details)


def _photos(items: pa.Table) -> list[str]:
    return sorted(set(items["pixel_key"].to_pylist()))


def _blocks(embeddings: View) -> Iterator[npt.NDArray[np.float32]]:
    for start in range(0, len(embeddings), BLOCK):
        yield embeddings[start : start + BLOCK]


if __name__ == "__main__":
    command(run)
