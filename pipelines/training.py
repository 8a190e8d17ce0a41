"""One training from scratch: data, network, loop, export, MLflow."""

import json
import os
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pyarrow.compute as pc

from model import resnet
from model.errors import LookalikeError
from model.export import export_embedder
from model.fit import Epoch, Photos, Schedule, fit, predict
from model.hierarchy import accuracy_by_level, hierarchical_loss
from model.pca import unit
from model.pixels import Pixels
from pipelines.catalogue import Catalogue
from pipelines.progress import progress
from pipelines.settings import Settings
from pipelines.step import Partition
from pipelines.training_run import TrainingRun
from serving.embedder import Embedder

PARITY_PHOTOS = slice(64)
MIN_COSINE = 0.9999


@dataclass(frozen=True)
class Training:
    """One training from scratch, with its checkpoints and its MLflow run."""

    settings: Settings
    ds: date
    catalogue: Catalogue
    checkpoints: Path

    def run(self, folder: Path) -> dict[str, object]:
        """Train and write `embedder.onnx`, `model.keras`, `history.json`; facts for the report."""
        options, taxonomy = self.settings.train, self.catalogue.taxonomy
        keras.utils.set_random_seed(options.seed)
        policy = "mixed_bfloat16" if options.mixed_precision else "float32"
        keras.mixed_precision.set_global_policy(policy)
        model = self._model()
        train, validation, test = (self._photos(split) for split in ("train", "val", "test"))
        tracker = TrainingRun.start(self.settings, self.ds, self.checkpoints)
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
                checkpoints=self.checkpoints,
                on_epoch=on_epoch,
                on_batch=lambda epoch, batch: advance(),
            )
        export_embedder(model, self.settings.pixel_spec.side, folder / "embedder.onnx")
        model.save(folder / "model.keras")
        cosine = parity(model, folder / "embedder.onnx", train.pixels[PARITY_PHOTOS])
        odds = predict(model, test.pixels)
        accuracy = accuracy_by_level(taxonomy, test.leaf, odds)
        curves = {"epochs": [asdict(epoch) for epoch in history], "test": accuracy}
        (folder / "history.json").write_text(json.dumps(curves, indent=1))
        tracker.finish(history, accuracy, taxonomy.confusion(test.leaf, odds.argmax(axis=1)))
        return {
            **{f"test_{level}": round(value, 4) for level, value in accuracy.items()},
            "images_per_second": history[-1].images_per_second,
            "parameters": int(model.count_params()),
            "parity_cosine": cosine,
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


def parity(model: keras.Model, embedder: Path, photos: Pixels) -> float:
    """Least cosine between what Keras and the exported graph embed. Raises LookalikeError."""
    ours = keras.ops.convert_to_numpy(model(photos, training=False)["embedding"])
    exported, _ = Embedder(embedder).embed(photos)
    cosine = float((unit(ours) * exported).sum(axis=1).min())
    if not cosine >= MIN_COSINE:
        raise LookalikeError(
            f"The exported embedder is not the trained one. Expected a cosine of at least "
            f"{MIN_COSINE}. Received: {cosine:.6f}."
        )
    return round(cosine, 7)
