"""One training: data, network, stages, export, and what is said of the result in MLflow."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pyarrow as pa

from model import backbone, metric
from model.augment import Augmentation
from model.baselines import colour_histogram, fit_pixel_components
from model.devices import parallel
from model.discriminant import Scatter, fit_projection
from model.errors import BadInput, LookalikeError
from model.export import embedder, export_embedder
from model.fit import Photos, PixelSource, embed, fit, predict
from model.fuse import EMBEDDING
from model.hierarchy import Loss, accuracy_by_level, hierarchical_loss
from model.loop import Diverged, Epoch, Schedule, device_count
from model.pixels import Pixels
from model.projection import append_projection
from model.reducer import unit
from model.retrieval import Vectors
from model.taps import DEFAULT, Taps, measure, spaces
from model.warm_start import check_pixels, warm_start
from pipelines.catalogue import Catalogue
from pipelines.classes import Classes
from pipelines.evaluation import evaluate
from pipelines.exam import Exam, draw_exam, together
from pipelines.progress import progress
from pipelines.settings import Settings, Train
from pipelines.step import Partition
from pipelines.suspects import Labelled, log_suspects, read_verdicts, write_suspects
from pipelines.training_photos import attribute_values, of_split, read_photos
from pipelines.training_run import BEFORE_METRIC, EMBEDDED, TrainingRun
from serving.embedder import Embedder

BATCH = 256  # photos embedded at once
SCORER_PHOTOS = 2000  # that the pixel components are fitted on
PARITY_PHOTOS = slice(64)
MIN_COSINE = 0.9999


@dataclass(frozen=True)
class Training:
    """One training, with its checkpoints and its MLflow run."""

    settings: Settings
    ds: date
    catalogue: Catalogue
    checkpoints: Path
    former: Path | None = None  # output of an earlier training, to start from its network

    def run(self, folder: Path) -> dict[str, object]:
        """Train and write the network, its graph and what it is worth; facts for the report."""
        options, taxonomy = self.settings.train, self.catalogue.taxonomy
        side = self.settings.pixel_spec.side
        keras.utils.set_random_seed(options.seed)
        values = attribute_values(self.catalogue, options.attributes)
        train, validation, test = (
            read_photos(self.catalogue, split, values) for split in ("train", "val", "test")
        )
        classes = Classes.of(self.settings.preprocess.pixel_spec, taxonomy, values, train)
        model = parallel(lambda: self._network(classes), options.devices)
        if self.former is not None:
            former = Classes.read(self.former)
            check_pixels(former.pixel_spec, self.settings.pixel_spec)
            warm_start(model, self.former / "model.keras", classes.after(former))
        exam = draw_exam(
            self.catalogue, self.ds, near_duplicate_bits=self.settings.ingest.near_duplicate_bits
        )
        tracker = TrainingRun.start(self.settings, self.ds, self.checkpoints)
        history, vectors = self._stages(model, train, validation, exam, tracker)
        embeddings = embed(model, train.pixels)
        model.save(folder / "model.keras")
        model = projected(model, embeddings, train, options.projection, len(taxonomy.leaves))
        taps = measure(model, options.taps, _batches(train.pixels))
        export_embedder(model, side, folder / "embedder.onnx", taps)
        taps.save(folder / "taps.json")
        classes.write(folder)
        suspects = self._write_suspects(embeddings, folder)
        cosine = parity(model, taps, folder / "embedder.onnx", train.pixels[PARITY_PHOTOS])
        odds = predict(model, test.pixels)
        accuracy = accuracy_by_level(taxonomy, test.leaf, odds)
        embedded = exam.embed(together({EMBEDDED: _space(model, taps, side)}))
        vectors = _by_layer(model, train, exam) | vectors | embedded
        evaluation = evaluate(exam, vectors, self.settings.gate.bootstrap_rounds)
        evaluation.write(folder / "evaluation.json")
        curves = {"epochs": [asdict(epoch) for epoch in history], "test": accuracy}
        (folder / "history.json").write_text(json.dumps(curves, indent=1))
        tracker.log_evaluation(evaluation, exam, vectors)
        log_suspects(self.settings, tracker.run_id, folder)
        tracker.finish(history, accuracy, taxonomy.confusion(test.leaf, odds.argmax(axis=1)))
        return {
            **{f"test_{level}": round(value, 4) for level, value in accuracy.items()},
            **suspects,
            "images_per_second": history[-1].images_per_second,
            "parameters": int(model.count_params()),
            "backbone": options.backbone,
            "parity_cosine": cosine,
            "mlflow_run": tracker.run_id,
        }

    def _network(self, classes: Classes) -> keras.Model:
        output = Partition(self.settings, "preprocess", self.ds).output
        statistics = json.loads((output / "statistics.json").read_bytes())
        options = self.settings.train
        network = backbone.Network(
            **{name: getattr(options, name) for name in backbone.Network.__annotations__}
        )
        return backbone.build(
            network,
            len(classes.taxonomy.leaves),
            mean=statistics["mean"],
            deviation=statistics["deviation"],
            # Our own takes any side, which progressive sizes need.
            side=None if options.backbone == backbone.OURS else self.settings.pixel_spec.side,
            attributes={name: len(values) for name, values in classes.attributes.items()},
        )

    def _stages(
        self,
        model: keras.Model,
        train: Photos,
        validation: Photos,
        exam: Exam,
        tracker: TrainingRun,
    ) -> tuple[list[Epoch], dict[str, Vectors]]:
        """Classifier and metric stage; the curves, and the exam's photos before the second."""
        options, taxonomy = self.settings.train, self.catalogue.taxonomy
        schedule = self._schedule()
        loss = self._loss()
        triplets = metric.batch_count(len(train), options.batch_size, device_count(model))
        batches = -(-len(train) // options.batch_size) * schedule.epochs
        batches += triplets * options.metric.epochs
        vectors: dict[str, Vectors] = {}
        with progress("train", batches) as advance, _named(self.catalogue):

            def on_epoch(epoch: Epoch) -> None:
                tracker.log_epoch(epoch)
                advance(0, f"epoch {epoch.epoch + 1}, loss {epoch.loss:.3f}")

            def on_batch(epoch: int, batch: int) -> None:
                advance()

            history = fit(
                model,
                train,
                validation,
                taxonomy=taxonomy,
                loss=loss,
                schedule=schedule,
                checkpoints=self.checkpoints / "classifier",
                on_epoch=on_epoch,
                on_batch=on_batch,
            )
            if options.metric.epochs:
                before = _space(model, DEFAULT, self.settings.pixel_spec.side)
                vectors = exam.embed(together({BEFORE_METRIC: before}))
                scorers = (
                    colour_histogram,
                    fit_pixel_components(train.pixels[:SCORER_PHOTOS]),
                )
                history += metric.fit_metric(
                    model,
                    train,
                    validation,
                    taxonomy=taxonomy,
                    loss=loss,
                    schedule=schedule,
                    metric=metric.Metric(**options.metric.model_dump()),
                    scorers=scorers,
                    checkpoints=self.checkpoints / "metric",
                    on_epoch=on_epoch,
                    on_batch=on_batch,
                )
        return history, vectors

    def _schedule(self) -> Schedule:
        options = self.settings.train
        schedule = schedule_of(options)
        return schedule if self.former is None else replace(schedule, epochs=options.warm_epochs)

    def _loss(self) -> Loss:
        options = self.settings.train
        return hierarchical_loss(
            self.catalogue.taxonomy,
            parent_weight=options.parent_weight,
            smoothing=options.label_smoothing,
            robustness=options.robustness,
        )

    def _write_suspects(self, embeddings: Vectors, folder: Path) -> dict[str, int]:
        items = of_split(self.catalogue, "train")
        keys = items["pixel_key"].to_pylist()
        pixels = self.catalogue.pixels.view(self.catalogue.shards, keys)
        verdicts = read_verdicts(self.settings.train.reviewed, items)
        labelled = Labelled(items, embeddings, pixels)
        return write_suspects(folder, labelled, self.catalogue.taxonomy, verdicts)


def schedule_of(options: Train) -> Schedule:
    """The part of the settings that the loop reads."""
    values = {name: getattr(options, name) for name in Schedule.__annotations__}
    return Schedule(**values | {"augmentation": Augmentation(**options.augmentation.model_dump())})


def projected(
    model: keras.Model, embeddings: Vectors, train: Photos, share: float, leaves: int
) -> keras.Model:
    """The network with the directions in which photos of one leaf differ evened out.

    `share` of the dimensions are kept; with 0 it stays as it is.
    """
    dimensions = round(share * embeddings.shape[1])
    if not dimensions:
        return model
    scatter = Scatter.of(unit(embeddings), train.leaf, leaves)
    return append_projection(model, fit_projection(scatter, dimensions))


def layers(model: keras.Model) -> list[str]:
    """The maps of the network from the first to the last, each a space of its own."""
    return [name for name, output in model.output.items() if len(output.shape) == 4]


def _by_layer(model: keras.Model, train: Photos, exam: Exam) -> dict[str, Vectors]:
    try:
        taps = measure(model, layers(model), _batches(train.pixels))
    except BadInput:  # all training photos are alike: nothing to standardise by, nor to compare
        return {}
    return exam.embed(spaces(model, taps))


def parity(model: keras.Model, taps: Taps, graph: Path, photos: Pixels) -> float:
    """Least cosine between what Keras and the exported graph embed. Raises LookalikeError."""
    ours = embedder(model, photos.shape[1], taps).predict_on_batch(photos)[EMBEDDING]
    exported, _ = Embedder(graph).embed(photos)
    cosine = float((ours * exported).sum(axis=1).min())
    if not cosine >= MIN_COSINE:
        raise LookalikeError(
            f"The exported embedder is not the trained one. Expected a cosine of at least "
            f"{MIN_COSINE}. Received: {cosine:.6f}."
        )
    return round(cosine, 7)


def _space(model: keras.Model, taps: Taps, side: int) -> Callable[[Pixels], Vectors]:
    network = embedder(model, side, taps)
    return lambda pixels: np.asarray(network.predict_on_batch(pixels)[EMBEDDING])


def _batches(pixels: PixelSource) -> Iterator[Pixels]:
    for start in range(0, len(pixels), BATCH):
        yield pixels[start : start + BATCH]


@contextmanager
def _named(catalogue: Catalogue) -> Iterator[None]:
    """A lost training names the items whose photos it saw last."""
    try:
        yield
    except Diverged as error:
        items = of_split(catalogue, "train")["item_id"].take(pa.array(error.rows)).to_pylist()
        raise LookalikeError(f"{error} Their items: {', '.join(dict.fromkeys(items))}.") from error
