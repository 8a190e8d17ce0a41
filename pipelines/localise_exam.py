"""What the localiser is worth: how well its boxes fit, and what searching by them finds.

Asked are photos from the wild that nothing was trained on (`val` and `test`): of the true boxes,
how much do the found ones overlap, beside the whole photo and its middle; and when the same photo
is searched by the true box, the found box and whole, what becomes of the answers. Studio shots are
asked too: they are found whole, and the localiser must not spoil that.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from model.boxes import EDGES, Boxes, centre, iou, whole
from model.evaluators import Interval, intervals
from model.pixels import Pixels
from model.retrieval import Vectors
from pipelines.catalogue import Catalogue
from pipelines.embed import embedder_path, embedding_store
from pipelines.evaluation import Evaluation, Figure, answers
from pipelines.exam import CATEGORY, STREET_TO_SHOP, Exam, draw_exam
from pipelines.settings import Settings
from pipelines.whole_photos import open_photos
from serving.embedder import Embedder
from serving.localiser import Localiser

FACTS = "localisation.json"
TRUE, FOUND, WHOLE, MIDDLE = "true box", "found box", "whole photo", "middle"
MIDDLE_SHARE = 0.7  # of the sides; the middle that overlaps the sample's products best
GOOD = 0.5  # IoU from which a box counts as found (PASCAL VOC)
MAX_STUDIO = 500  # studio shots asked
SHOWN = 24  # photos of the picture
DIGITS = 4


@dataclass(frozen=True)
class Shown:
    """A photo of the picture: pixels [side, side, 3], and its boxes [4]."""

    pixels: Pixels
    found: Boxes
    true: Boxes


@dataclass(frozen=True)
class Studio:
    """Studio shots that nothing was trained on: how many were cropped, and found themselves."""

    photos: int = 0
    cropped: float = 0.0  # share
    self_first: float = 1.0  # share, by what the localiser left of them
    self_first_whole: float = 1.0


@dataclass(frozen=True)
class Verdict:
    """How well found boxes fit, and what is found by them."""

    photos: int  # with a true box
    overlap: Mapping[str, Mapping[str, Interval]]  # by kind of box: `iou`, `above_half`
    searches: Evaluation  # by kind of box, as if each were a space
    studio: Studio
    cropped: float  # share of the wild photos that were not searched whole
    shown: tuple[Shown, ...] = field(repr=False)

    @property
    def gain(self) -> float | None:
        """mAP of the product searched for, found box less whole photo; None if nobody asked."""
        found, plain = (self._product(space, "mAP") for space in (FOUND, WHOLE))
        return None if found is None or plain is None else found.value - plain.value

    def _product(self, space: str, measure: str) -> Interval | None:
        for level in ("product", "leaf"):  # a shop without products in the wild asks for leaves
            found = self.searches.find(space, Figure(STREET_TO_SHOP, level, measure))
            if found is not None:
                return found
        return None

    def rows(self) -> dict[str, dict[str, Interval]]:
        """By kind of box, by measure, as far as this shop can be asked."""
        table: dict[str, dict[str, Interval]] = {}
        for space in self.searches.spaces:
            cells = {name: self._product(space, name) for name in ("hit@1", "hit@20", "mAP")}
            for name in ("precision@10", "mAP"):
                figure = Figure(CATEGORY, "leaf", name, "wild")
                cells[f"leaf {name}"] = self.searches.find(space, figure)
            table[space] = {name: each for name, each in cells.items() if each is not None}
        return table

    def brief(self) -> dict[str, float]:
        """The figures of the step's report."""
        found = self.overlap.get(FOUND, {})
        facts = {"mean_iou": found["iou"].value} if found else {}
        for space, name in ((TRUE, "hit20_true"), (FOUND, "hit20_found"), (WHOLE, "hit20_whole")):
            if "hit@20" in self.rows().get(space, {}):
                facts[name] = self.rows()[space]["hit@20"].value
        return {name: round(value, DIGITS) for name, value in facts.items()}

    def to_json(self) -> dict[str, Any]:
        """An interval is [mean, low, high]."""
        return {
            "photos": self.photos,
            "cropped": round(self.cropped, DIGITS),
            "overlap": _plain(self.overlap),
            "searches": _plain(self.rows()),
            "studio": {name: round(value, DIGITS) for name, value in asdict(self.studio).items()},
        }


def examine(settings: Settings, ds: date, catalogue: Catalogue, localiser: Localiser) -> Verdict:
    """Ask with every wild photo that nothing was trained on, up to the bounds of an exam."""
    exam = draw_exam(
        catalogue,
        ds,
        near_duplicate_bits=settings.ingest.near_duplicate_bits,
        splits=("val", "test"),
    )
    embedder = Embedder(embedder_path(settings, ds, "float32"))
    wild = np.flatnonzero(pc.equal(exam.items["kind"], "wild").to_numpy(zero_copy_only=False))
    seen = _look(settings, exam.items.take(pa.array(wild)), localiser)
    vectors = _vectors(settings, ds, exam)
    spaces = {FOUND: vectors.copy(), WHOLE: vectors.copy()}
    rows = wild[seen.rows]
    if len(rows):
        spaces[FOUND][rows] = embedder.embed(seen.crops)[0]
        spaces[WHOLE][rows] = embedder.embed(seen.whole)[0]
    known = np.asarray(~np.isnan(seen.true).any(axis=1), bool)
    if known.any():
        spaces = {TRUE: vectors, **spaces}
    rounds = settings.gate.bootstrap_rounds
    scores = [score for name, each in spaces.items() for score in answers(exam, name, each, rounds)]
    galleries = {name: len(question.base) for name, question in exam.questions.items()}
    edges = localiser.edges(seen.whole)
    clusters = exam.clusters[rows][known]
    return Verdict(
        photos=int(known.sum()),
        overlap=_overlap(seen, edges, known, clusters, rounds),
        searches=Evaluation(galleries, tuple(scores)),
        studio=_ask_studio(settings, catalogue, localiser, embedder),
        cropped=float(np.mean(seen.cropped)) if len(rows) else 0.0,
        shown=tuple(
            Shown(seen.whole[n], edges[n], seen.true[n]) for n in np.flatnonzero(known)[:SHOWN]
        ),
    )


@dataclass(frozen=True)
class _Seen:
    """Photos as they are searched."""

    rows: npt.NDArray[np.int64]  # of the items asked for
    whole: Pixels
    crops: Pixels
    cropped: npt.NDArray[np.bool_]
    true: Boxes  # NaN where the feed has none
    sizes: list[tuple[int, int]]


def _look(settings: Settings, items: pa.Table, localiser: Localiser) -> _Seen:
    """Open each photo, and find the product in it, as a server would."""
    side = settings.pixel_spec.side
    rows, sizes, cropped = [], [], []
    none = np.empty((0, side, side, 3), np.uint8)
    full, crops, true = [none], [none], [np.empty((0, EDGES), np.float32)]
    for row, photo, box in open_photos(settings, items):
        found = localiser.find(photo)
        rows.append(row)
        sizes.append(photo.size)
        cropped.append(found is not None)
        full.append(photo.pixels()[None])
        crops.append(photo.pixels(found)[None])
        true.append(box[None])
    return _Seen(
        np.array(rows, np.int64),
        np.concatenate(full),
        np.concatenate(crops),
        np.array(cropped, bool),
        np.concatenate(true),
        sizes,
    )


def _vectors(settings: Settings, ds: date, exam: Exam) -> Vectors:
    """Of the exam's photos, by the box of the feed where there is one."""
    store, shards = embedding_store(settings, ds)
    found: Vectors = store.view(shards, exam.items["pixel_key"].to_pylist())[:]
    return found


def _overlap(
    seen: _Seen, found: Boxes, known: npt.NDArray[np.bool_], clusters: Any, rounds: int
) -> dict[str, dict[str, Interval]]:
    if not known.any():
        return {}
    sizes = [size for size, each in zip(seen.sizes, known, strict=True) if each]
    guesses = {
        FOUND: found[known],
        WHOLE: np.stack([whole(size) for size in sizes]),
        MIDDLE: np.stack([centre(size, MIDDLE_SHARE) for size in sizes]),
    }
    table = {}
    for name, boxes in guesses.items():
        shares = iou(boxes, seen.true[known])
        values = np.stack([shares, shares > GOOD], axis=1)
        table[name] = dict(
            zip(("iou", "above_half"), intervals(values, clusters, rounds), strict=True)
        )
    return table


def _ask_studio(
    settings: Settings, catalogue: Catalogue, localiser: Localiser, embedder: Embedder
) -> Studio:
    """Each shot looks for itself among those that are asked."""
    items = catalogue.items.sort_by("pixel_key")
    held_out = pc.and_(pc.not_equal(items["split"], "train"), pc.equal(items["kind"], "catalogue"))
    without = pc.and_(held_out, pc.is_null(items["box"]))
    seen = _look(settings, items.filter(without)[:MAX_STUDIO], localiser)
    if not len(seen.rows):
        return Studio()
    base, asked = embedder.embed(seen.whole)[0], embedder.embed(seen.crops)[0]
    return Studio(
        photos=len(seen.rows),
        cropped=float(seen.cropped.mean()),
        self_first=_self_first(asked, base),
        self_first_whole=_self_first(base, base),
    )


def _self_first(asked: Vectors, base: Vectors) -> float:
    """Share of queries to which nothing is more like than their own photo."""
    scores = asked @ base.T
    return float((np.diag(scores) >= scores.max(axis=1) - 1e-6).mean())


def _plain(table: Mapping[str, Mapping[str, Interval]]) -> dict[str, dict[str, list[float]]]:
    return {
        name: {measure: each.rounded(DIGITS) for measure, each in row.items()}
        for name, row in table.items()
    }
