"""Train the taxonomy classifier whose last layer is the embedding.

    python -m pipelines.train --ds 2026-11-20

Trains when more of the training photos changed since the embedder was made than
`train.retrain_above`, or when it is `train.max_age_days` old; otherwise the embedder stays, so that
the day's other steps only do the day's work. From scratch, or with `train.start = "warm"` from the
network of the day before, whatever became of the categories since. Killed, it goes on from the last
whole epoch. With `train.keep = "champion"`, as a refresh sets it, nothing is trained: the embedder
that serves is kept, also on the day that trained it or another one. Cost: 20 s to start, compile
and export, then 150 photos of 64 pixels a second on two cores without AVX-512.
"""

import hashlib
import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.catalogue import Catalogue, read_catalogue
from pipelines.champion_embedder import champion_training
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
from pipelines.suspects import read_verdicts


def run(settings: Settings, ds: date) -> Report:
    """Train, or keep the embedder of an earlier day, or the champion's."""
    keep = settings.train.keep == "champion"
    before = champion_training(settings, ds) if keep else previous_day(settings, "train", ds)
    inputs = {
        "ingest": Partition(settings, "ingest", ds).done().digest,  # labels and splits
        "preprocess": Partition(settings, "preprocess", ds).done().digest,
        "before": before.done().digest if before else "",
        "recipe": settings.train.recipe,
        "policy": f"{settings.train.retrain_above} {settings.train.max_age_days}",
        "pixel_spec": settings.preprocess.pixel_spec,
        "reviewed": _reviewed_digest(settings),
    }
    if before is not None and keep:
        # What it was made by, so that the policy sees tomorrow whether another recipe is asked for.
        inputs |= {"policy": "champion", "recipe": before.done().inputs["recipe"]}
    report = run_step(
        settings,
        "train",
        ds,
        inputs=inputs,
        body=lambda folder: _train_or_keep(settings, ds, before, folder),
    )
    # Only now: a training that is killed before its commit goes on from its last epoch.
    shutil.rmtree(checkpoints(settings, ds), ignore_errors=True)
    return report


def checkpoints(settings: Settings, ds: date) -> Path:
    """One folder for these photos, labels, splits and settings, so that only they resume it."""
    digests = [Partition(settings, step, ds).done().digest for step in ("ingest", "preprocess")]
    former = _former(settings, previous_day(settings, "train", ds))
    start = embedder_id(former) if former else ""
    return (
        settings.root
        / "checkpoints"
        / digest_of([*digests, settings.train.recipe, start, _reviewed_digest(settings)])
    )


def embedder_id(folder: Path) -> str:
    """Digest of the network; a part of the space id of every vector it makes."""
    return hashlib.sha256((folder / "embedder.onnx").read_bytes()).hexdigest()[:16]


def _reviewed_digest(settings: Settings) -> str:
    path = settings.train.reviewed
    return file_digest(path) if path and path.is_file() else ""


def _reviewed(catalogue: Catalogue, path: Path | None) -> Catalogue:
    """Without a split for the items whose category a person called wrong."""
    if path is None:
        return catalogue
    items = catalogue.items
    wrong = pa.array(read_verdicts(path, items).wrong)
    split = pc.if_else(wrong, "none", items["split"])
    return replace(
        catalogue, items=items.set_column(items.column_names.index("split"), "split", split)
    )


def _former(settings: Settings, before: Partition | None) -> Path | None:
    """The output of the training to start from."""
    return before.output if before and settings.train.start == "warm" else None


def _train_or_keep(settings: Settings, ds: date, before: Partition | None, folder: Path) -> Outcome:
    catalogue = _reviewed(read_catalogue(settings, ds), settings.train.reviewed)
    trained_on = _training_photos(catalogue)
    share, why = _reason_to_train(settings, ds, before, trained_on)
    if before is not None and (settings.train.keep == "champion" or not why):
        shutil.copytree(before.output, folder, dirs_exist_ok=True)
        details = {"kept": True, "changed_share": share, **_origin(folder)}
    else:
        from pipelines.training import Training  # Keras takes ten seconds to import

        former = _former(settings, before)
        training = Training(settings, ds, catalogue, checkpoints(settings, ds), former)
        facts = training.run(folder)
        origin = {
            "trained": ds.isoformat(),
            "embedder": embedder_id(folder),
            "mlflow_run": str(facts["mlflow_run"]),
        }
        (folder / "origin.json").write_text(json.dumps(origin))
        pq.write_table(trained_on, folder / "trained_on.parquet")
        details = {"kept": False, "why": why, **origin, **facts}
    return Outcome(rows=len(trained_on), details=details)


def _training_photos(catalogue: Catalogue) -> pa.Table:
    """Photo and leaf of split `train`, each pair once, in a fixed order."""
    rows = catalogue.items.filter(pc.equal(catalogue.items["split"], "train"))
    pairs = rows.select(["pixel_key", "leaf"]).group_by(["pixel_key", "leaf"]).aggregate([])
    return pairs.sort_by([("pixel_key", "ascending"), ("leaf", "ascending")])


def _reason_to_train(
    settings: Settings, ds: date, before: Partition | None, photos: pa.Table
) -> tuple[float, str]:
    """Share of the training photos that changed, and why to train; empty to keep."""
    if before is None:
        return 1.0, "there is no embedder yet"
    inputs, options = before.done().inputs, settings.train
    former = pq.read_table(before.output / "trained_on.parquet")
    same = photos.join(former, keys=["pixel_key", "leaf"], join_type="inner").num_rows
    share = round(1 - same / max(len(photos), len(former)), 4)
    if inputs["recipe"] != options.recipe:
        return share, "the recipe changed"
    if inputs["pixel_spec"] != settings.preprocess.pixel_spec:
        return share, "the pixel spec changed"
    if share > options.retrain_above:
        return share, f"{share:.1%} of the training photos changed"
    age = (ds - date.fromisoformat(_origin(before.output)["trained"])).days
    if share > 0 and age >= options.max_age_days:
        return share, f"the embedder was {age} days old"
    return share, ""


def _origin(folder: Path) -> dict[str, str]:
    return dict(json.loads((folder / "origin.json").read_bytes()))


if __name__ == "__main__":
    command(run)
