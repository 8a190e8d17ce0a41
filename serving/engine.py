"""Similar items by photo or by item, from one bundle. No web types here."""

import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from model.errors import BadInput, LookalikeError
from model.pixels import Box, Photo, Size
from serving.bundle import LOCALISER, Bundle
from serving.embedder import Embedder
from serving.engines import load_index
from serving.filtered import Mask
from serving.index import MISSING, Rows, Vectors
from serving.live_index import LiveIndex
from serving.localiser import Localiser

SHOWN = ("item_id", "product_id", "title", "brand", "category", "price", "currency", "in_stock")


class UnknownItem(LookalikeError):
    """No item with this id in the bundle."""


@dataclass(frozen=True)
class Searched:
    """What was searched of the upright photo, whose choice that was, and the photo's size."""

    by: Literal["given", "found", "whole"]
    box: Box
    photo: Size


@dataclass(frozen=True)
class Answer:
    """What a query gets: hits best first, the category of the photo, seconds of each stage."""

    hits: list[dict[str, Any]]
    category: list[dict[str, Any]]
    seconds: dict[str, float]
    searched: Searched | None = None  # None: the query was an item


class Engine:
    """A loaded bundle. Safe to call from several threads; nothing in it changes."""

    def __init__(self, bundle: Bundle, *, threads: int = 0) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self.embedder = Embedder(bundle.folder / "embedder.onnx", threads=threads)
        self.localiser = _load_localiser(bundle, threads)
        taxonomy = bundle.taxonomy
        self.leaves = taxonomy.leaves
        self._categories, self._category_of_leaf = taxonomy.answers
        self.vectors: Vectors = np.load(
            bundle.folder / "vectors.npy", mmap_mode="r", allow_pickle=False
        )
        base = load_index(bundle.folder / "index", manifest["index"])
        self.index = LiveIndex(base, self.vectors[: len(base)])
        self.index.change(self.vectors[len(base) :])
        self.items = _read_items(bundle)
        self._row_of = {item: row for row, item in enumerate(self.items["item_id"].to_pylist())}

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, image: bytes, k: int, box: Box | Literal["whole"] | None = None) -> Answer:
        """Items that look like the product in `box`, or where the localiser finds it, or `whole`.

        Raises BadImage for what is no photo, or has nothing in the box.
        """
        started = time.perf_counter()
        given = box if isinstance(box, Box) else None
        photo = Photo(image, self.bundle.pixel_spec, given)
        found = self.localiser.find(photo) if self.localiser and box is None else None
        pixels = photo.pixels(given or found)
        decoded = time.perf_counter()
        vectors, leaves = self.embedder.embed(pixels[None])
        embedded = time.perf_counter()
        rows, scores = self.nearest(vectors, k)
        ended = time.perf_counter()
        return Answer(
            hits=self._hits(rows[0], scores[0]),
            category=self._category(leaves[0]),
            seconds={
                "decode": decoded - started,
                "embed": embedded - decoded,
                "search": ended - embedded,
            },
            searched=_searched(photo, given, found),
        )

    def similar(self, item_id: str, k: int) -> Answer:
        """Items that look like this item, without itself. Raises UnknownItem."""
        row = self.row(item_id)
        started = time.perf_counter()
        rows, scores = self.nearest(self.vectors[row : row + 1], k + 1)
        keep = rows[0] != row
        hits = self._hits(rows[0][keep][:k], scores[0][keep][:k])
        return Answer(hits, [], {"search": time.perf_counter() - started})

    def nearest(
        self, queries: Vectors, k: int, allowed: Mask | None = None
    ) -> tuple[Rows, Vectors]:
        """Rows int32 [q, k] and scores [q, k] over the base and what is not in it.

        `allowed` bool [items]: only among these; there are k answers wherever so many are allowed.
        """
        if allowed is not None and allowed.shape != (len(self),):
            raise BadInput(
                f"This filter is not of this bundle. Expected bool [{len(self)}]. Received: "
                f"{allowed.dtype} {list(allowed.shape)}."
            )
        return self.index.search(queries, k, allowed)

    def row(self, item_id: str) -> int:
        try:
            return self._row_of[item_id]
        except KeyError:
            raise UnknownItem(f"No item {item_id!r} in bundle {self.bundle.digest}.") from None

    def image_of(self, item_id: str) -> str:
        return str(self.items["image"][self.row(item_id)].as_py())

    def _hits(self, rows: Rows, scores: Vectors) -> list[dict[str, Any]]:
        known = rows != MISSING
        items = self.items.take(pa.array(rows[known])).select(SHOWN).to_pylist()
        return [
            {**item, "score": round(float(score), 4)}
            for item, score in zip(items, scores[known], strict=True)
        ]

    def _category(self, odds: Vectors, best: int = 3) -> list[dict[str, Any]]:
        """The likeliest of today's categories; leaves that moved since training count for those."""
        names = self._categories
        # The last is of leaves that are no category any more.
        today = np.bincount(self._category_of_leaf, odds, len(names) + 1)[:-1]
        return [
            {"path": names[number], "confidence": round(float(today[number]), 4)}
            for number in np.argsort(-today)[:best]
        ]


def _load_localiser(bundle: Bundle, threads: int) -> Localiser | None:
    path = bundle.folder / LOCALISER
    return Localiser(path, bundle.pixel_spec, threads=threads) if path.is_file() else None


def _searched(photo: Photo, given: Box | None, found: Box | None) -> Searched:
    if given is not None:
        return Searched("given", given, photo.size)
    if found is not None:
        return Searched("found", found, photo.size)
    return Searched("whole", Box(0, 0, *photo.size), photo.size)


def _read_items(bundle: Bundle) -> pa.Table:
    with pa.memory_map(str(bundle.folder / "items.arrow")) as source:
        return pa.ipc.open_file(source).read_all()
