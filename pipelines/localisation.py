"""One training of the localiser: what it learns from, network, export, and what it is worth."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from model.activation import activation_boxes
from model.composition import cut_out
from model.errors import LookalikeError
from model.export import export
from model.ground import smooth_ground
from model.localiser import Boxed, Lessons, build_localiser, find_boxes, fit_localiser, locate
from model.loop import Diverged, Epoch, Schedule
from model.pixels import Pixels
from pipelines.catalogue import Catalogue, read_catalogue
from pipelines.localise_exam import FACTS, Verdict, examine
from pipelines.localise_run import log_localisation
from pipelines.progress import progress
from pipelines.settings import Settings
from pipelines.step import Partition
from pipelines.training_photos import of_split
from pipelines.whole_photos import WholePhotos, read_whole_photos
from serving.bundle import LOCALISER
from serving.localiser import Localiser

BATCH_SIZE = 32
MAX_PHOTOS = 4000  # of each kind that are learned from, by photo digest: as good as drawn
PARITY_PHOTOS = 64
MAX_APART = 0.01  # of the square, between the edges that Keras and the exported graph find


@dataclass(frozen=True)
class Localisation:
    """One training, with its checkpoints and its MLflow run."""

    settings: Settings
    ds: date
    checkpoints: Path

    def run(self, folder: Path) -> tuple[int, dict[str, object]]:
        """Train, and write the graph if it is to serve; photos learned from, and facts."""
        options = self.settings.localise
        keras.utils.set_random_seed(self.settings.train.seed)
        lessons, names, source = self._lessons()
        if not len(lessons) and options.boxes == "auto":
            facts: dict[str, object] = {"served": False, "why": "nothing to learn boxes from"}
            (folder / FACTS).write_text(json.dumps(facts))
            return 0, facts
        side = self.settings.pixel_spec.side
        model = build_localiser(self._classifier, side, options.width)
        history = self._fit(model, lessons, names)
        graph = folder / LOCALISER
        export(locate(model), graph, ("box",))
        localiser = Localiser(graph, self.settings.pixel_spec)
        check_parity(model, localiser, lessons.grounds[:PARITY_PHOTOS])
        verdict = examine(self.settings, self.ds, self._catalogue, localiser)
        served, why = _served(options.boxes, verdict)
        if not served:
            graph.unlink()
        counts = {"boxed": len(lessons.boxed), "cut_out": len(lessons.cuts), "boxes": source}
        facts = {"served": served, "why": why, **counts}
        (folder / FACTS).write_text(json.dumps(facts | verdict.to_json(), indent=1))
        run_id = log_localisation(self.settings, self.ds, history, verdict, folder / FACTS)
        return len(lessons), {**facts, **verdict.brief(), "mlflow_run": run_id}

    @cached_property
    def _catalogue(self) -> Catalogue:
        return read_catalogue(self.settings, self.ds)

    @cached_property
    def _classifier(self) -> keras.Model:
        path = Partition(self.settings, "train", self.ds).output / "model.keras"
        return keras.models.load_model(path, compile=False)

    def _lessons(self) -> tuple[Lessons, list[str], str]:
        """What is learned from, the item of each of its rows, and whose boxes they are."""
        items = of_split(self._catalogue, "train").sort_by("pixel_key")
        with_box = pc.is_valid(items["box"])
        marked, plain = items.filter(with_box)[:MAX_PHOTOS], items.filter(pc.invert(with_box))
        photos = read_whole_photos(self.settings, marked)
        pixels = self._catalogue.pixels.view(
            self._catalogue.shards, plain["pixel_key"].to_pylist()[:MAX_PHOTOS]
        )[:]
        cuts = [cut_out(photo) for photo in pixels]
        cut_rows = [row for row, cut in enumerate(cuts) if cut is not None]
        options = self.settings.localise
        enough = len(photos) >= options.min_boxes
        source = options.boxes if options.boxes != "auto" else "feed" if enough else "activation"
        if source == "feed":
            boxed, rows = Boxed(photos.pixels, photos.boxes), _rows(marked, photos.rows)
        else:
            boxed, rows = self._weak(photos, marked, pixels, plain)
        kept: list[Image.Image] = [cut for cut in cuts if cut is not None]
        grounds = boxed.pixels if len(boxed) else pixels
        cut_from = _rows(plain, cut_rows)
        names = [*rows["item_id"].to_pylist(), *cut_from["item_id"].to_pylist()]
        return Lessons(boxed, kept, grounds), names, source

    def _weak(
        self, photos: WholePhotos, marked: pa.Table, pixels: Pixels, others: pa.Table
    ) -> tuple[Boxed, pa.Table]:
        """Photos from the wild, with boxes where the classifier sees their leaf."""
        wild = [row for row, photo in enumerate(pixels) if not smooth_ground(photo).any()]
        rows = pa.concat_tables([_rows(marked, photos.rows), _rows(others, wild)])
        shown = np.concatenate([photos.pixels, pixels[wild]])
        leaf = rows["leaf"].to_numpy().astype(np.int32)
        return Boxed(shown, activation_boxes(self._classifier, shown, leaf)), rows

    def _fit(self, model: keras.Model, lessons: Lessons, names: list[str]) -> list[Epoch]:
        options, train = self.settings.localise, self.settings.train
        held_out = of_split(self._catalogue, "val")
        photos = read_whole_photos(self.settings, held_out.filter(pc.is_valid(held_out["box"])))
        schedule = Schedule(
            epochs=options.epochs,
            batch_size=BATCH_SIZE,
            learning_rate=options.learning_rate,
            weight_decay=train.weight_decay,
            warmup_share=train.warmup_share,
            balance=0,
            seed=train.seed,
        )
        batches = max(1, len(lessons) // BATCH_SIZE) * options.epochs
        with progress("localise", batches) as advance, _named(names):
            return fit_localiser(
                model,
                lessons,
                Boxed(photos.pixels, photos.boxes),
                schedule=schedule,
                checkpoints=self.checkpoints,
                on_epoch=lambda epoch: advance(0, f"epoch {epoch.epoch + 1}, {epoch.loss:.3f}"),
                on_batch=lambda epoch, batch: advance(),
            )


def _rows(items: pa.Table, numbers: list[int]) -> pa.Table:
    """Also none of them, of which Arrow could not tell the type."""
    return items.take(pa.array(numbers, pa.int64()))


def check_parity(model: keras.Model, localiser: Localiser, photos: Pixels) -> None:
    """Raises LookalikeError when the exported graph finds other boxes than Keras."""
    apart = np.abs(find_boxes(model, photos) - localiser.edges(photos)).max(initial=0.0)
    if not apart <= MAX_APART:
        raise LookalikeError(
            f"The exported localiser is not the trained one. Expected edges at most {MAX_APART} of "
            f"the side apart. Received: {apart:.4f}."
        )


def _served(boxes: str, verdict: Verdict) -> tuple[bool, str]:
    """Whether the bundle gets it: as told, or with `auto` if searches are no worse for it."""
    if boxes != "auto":
        return True, f"`localise.boxes` is `{boxes}`"
    if verdict.gain is None:
        return False, "no photo from the wild to judge it by"
    if verdict.gain < 0:
        return False, f"whole photos are searched better: mAP {verdict.gain:+.3f} with its boxes"
    return True, f"mAP {verdict.gain:+.3f} over the whole photo"


@contextmanager
def _named(names: list[str]) -> Iterator[None]:
    """A lost training names the items whose photos it saw last."""
    try:
        yield
    except Diverged as error:
        items = dict.fromkeys(names[row] for row in error.rows)
        raise LookalikeError(f"{error} Their items: {', '.join(items)}.") from error
