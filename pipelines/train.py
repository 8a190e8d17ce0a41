"""Train the taxonomy classifier whose last layer is the embedding.

    python -m pipelines.train --ds 2026-11-20

Trains from scratch when more of the training photos changed since the embedder was made than
`train.retrain_above`, or when it is `train.max_age_days` old; otherwise the embedder stays, so
that the day's other steps only do the day's work. Killed, it goes on from the last whole epoch.
Cost: 20 s to start, compile and export, then 500 photos of 64 pixels a second on two cores.
"""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model import resnet
from model.export import export_embedder
from model.fit import Epoch, Photos, Schedule, fit, predict
from model.hierarchy import accuracy_by_level, hierarchical_loss
from pipelines.catalogue import Catalogue, read_catalogue
from pipelines.progress import progress
from pipelines.settings import Settings
from pipelines.step import Outcome, Partition, Report, command, digest_of, previous_day, run_step
from pipelines.training_run import TrainingRun


def run(settings: Settings, ds: date) -> Report:
    """Train, or keep the embedder of an earlier day."""
    before = previous_day(settings, "train", ds)
    inputs = {
        "preprocess": Partition(settings, "preprocess", ds).done().digest,
        "before": before.done().digest if before else "",
        "recipe": settings.train.recipe,
        "policy": f"{settings.train.retrain_above} {settings.train.max_age_days}",
        "pixel_spec": settings.preprocess.pixel_spec,
    }
    return run_step(
        settings,
        "train",
        ds,
        inputs=inputs,
        body=lambda folder: _train_or_keep(settings, ds, before, folder),
    )


def embedder_id(folder: Path) -> str:
    """Digest of the network; a part of the space id of every vector it makes."""
    return hashlib.sha256((folder / "embedder.onnx").read_bytes()).hexdigest()[:16]


def _train_or_keep(settings: Settings, ds: date, before: Partition | None, folder: Path) -> Outcome:
    catalogue = read_catalogue(settings, ds)
    trained_on = _training_photos(catalogue)
    share, why = _reason_to_train(settings, ds, before, trained_on)
    if before is not None and not why:
        shutil.copytree(before.output, folder, dirs_exist_ok=True)
        details = {"kept": True, "changed_share": share, **_origin(folder)}
    else:
        facts = Training(settings, ds, catalogue).run(folder)
        origin = {"trained": ds.isoformat(), "embedder": embedder_id(folder)}
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


@dataclass(frozen=True)
class Training:
    """One training from scratch, with its checkpoints and its MLflow run."""

    settings: Settings
    ds: date
    catalogue: Catalogue

    def run(self, folder: Path) -> dict[str, object]:
        """Train and write `embedder.onnx`, `model.keras`, `history.json`; facts for the report."""
        options, taxonomy = self.settings.train, self.catalogue.taxonomy
        keras.utils.set_random_seed(options.seed)
        policy = "mixed_bfloat16" if options.mixed_precision else "float32"
        keras.mixed_precision.set_global_policy(policy)
        model = self._model()
        train, validation, test = (self._photos(split) for split in ("train", "val", "test"))
        checkpoints = self._checkpoints()
        tracker = TrainingRun.start(self.settings, self.ds, checkpoints)
        batches = -(-len(train) // options.batch_size) * options.epochs
        with progress("train", batches) as advance:

            def on_epoch(epoch: Epoch) -> None:
                tracker.log_epoch(epoch)
                advance(0, f"epoch {epoch.epoch + 1}, loss {epoch.loss:.3f}")

            history = fit(
                model,
                train,
                validation,
                taxonomy=taxonomy,
                loss=hierarchical_loss(
                    taxonomy,
                    parent_weight=options.parent_weight,
                    smoothing=options.label_smoothing,
                ),
                schedule=Schedule(**options.model_dump(include=set(Schedule.__annotations__))),
                checkpoints=checkpoints,
                on_epoch=on_epoch,
                on_batch=lambda epoch, batch: advance(),
            )
        export_embedder(model, self.settings.pixel_spec.side, folder / "embedder.onnx")
        model.save(folder / "model.keras")
        odds = predict(model, test.pixels)
        accuracy = accuracy_by_level(taxonomy, test.leaf, odds)
        curves = {"epochs": [asdict(epoch) for epoch in history], "test": accuracy}
        (folder / "history.json").write_text(json.dumps(curves, indent=1))
        tracker.finish(history, accuracy, taxonomy.confusion(test.leaf, odds.argmax(axis=1)))
        shutil.rmtree(checkpoints)
        return {
            **{f"test_{level}": round(value, 4) for level, value in accuracy.items()},
            "images_per_second": history[-1].images_per_second,
            "parameters": int(model.count_params()),
            "mlflow_run": tracker.run_id,
        }

    def _model(self) -> keras.Model:
        output = Partition(self.settings, "preprocess", self.ds).output
        statistics = json.loads((output / "statistics.json").read_bytes())
        options = self.settings.train
        return resnet.build(
            resnet.Architecture(options.blocks, options.width),
            len(self.catalogue.taxonomy.leaves),
            mean=statistics["mean"],
            deviation=statistics["deviation"],
        )

    def _photos(self, split: str) -> Photos:
        items = self.catalogue.items
        rows = items.filter(pc.equal(items["split"], split))
        keys = rows["pixel_key"].to_pylist()
        pixels = self.catalogue.pixels.view(self.catalogue.shards, keys)
        return Photos(pixels, rows["leaf"].to_numpy().astype(np.int32))

    def _checkpoints(self) -> Path:
        """One folder for these photos, labels and settings, so that only they resume it."""
        preprocess = Partition(self.settings, "preprocess", self.ds).done().digest
        key = digest_of([preprocess, self.settings.train.recipe])
        return self.settings.root / "checkpoints" / key


if __name__ == "__main__":
    command(run)
