"""Similar items by photo or by item, from one bundle. No web types here."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from model.errors import LookalikeError
from model.pixels import Box, to_pixels
from serving.bundle import Bundle
from serving.embedder import Embedder
from serving.engines import load_index
from serving.exact import ExactIndex
from serving.index import MISSING, Rows, Vectors, merge

SHOWN = ("item_id", "product_id", "title", "brand", "category", "price", "currency", "in_stock")


class UnknownItem(LookalikeError):
    """No item with this id in the bundle."""


@dataclass(frozen=True)
class Answer:
    """What a query gets: hits best first, the category of the photo, seconds of each stage."""

    hits: list[dict[str, Any]]
    category: list[dict[str, Any]]
    seconds: dict[str, float]


class Engine:
    """A loaded bundle. Safe to call from several threads; nothing in it changes."""

    def __init__(self, bundle: Bundle, *, threads: int = 0) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self.embedder = Embedder(bundle.folder / "embedder.onnx", threads=threads)
        taxonomy = bundle.taxonomy
        self.leaves = taxonomy.leaves
        self._categories, self._category_of_leaf = taxonomy.answers
        self.vectors: Vectors = np.load(
            bundle.folder / "vectors.npy", mmap_mode="r", allow_pickle=False
        )
        self.base = load_index(bundle.folder / "index", manifest["index"])
        self.rest = ExactIndex(self.vectors[len(self.base) :])
        self.items = _read_items(bundle)
        self._row_of = {item: row for row, item in enumerate(self.items["item_id"].to_pylist())}

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, image: bytes, k: int, box: Box | None = None) -> Answer:
        """Items that look like the photo. Raises BadImage for what is not one."""
        started = time.perf_counter()
        pixels = to_pixels(image, self.bundle.pixel_spec, box)
        decoded = time.perf_counter()
        vectors, leaves = self.embedder.embed(pixels[None])
        embedded = time.perf_counter()
        rows, scores = self.nearest(vectors, k)
        found = time.perf_counter()
        return Answer(
            hits=self._hits(rows[0], scores[0]),
            category=self._category(leaves[0]),
            seconds={
                "decode": decoded - started,
                "embed": embedded - decoded,
                "search": found - embedded,
            },
        )

    def similar(self, item_id: str, k: int) -> Answer:
        """Items that look like this item, without itself. Raises UnknownItem."""
        row = self.row(item_id)
        started = time.perf_counter()
        rows, scores = self.nearest(self.vectors[row : row + 1], k + 1)
        keep = rows[0] != row
        hits = self._hits(rows[0][keep][:k], scores[0][keep][:k])
        return Answer(hits, [], {"search": time.perf_counter() - started})

    def nearest(self, queries: Vectors, k: int) -> tuple[Rows, Vectors]:
        """Rows int32 [q, k] and scores [q, k] over the base and what is not in it."""
        rows, scores = self.rest.search(queries, k)
        return merge(self.base.search(queries, k), (rows + np.int32(len(self.base)), scores), k)

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


def _read_items(bundle: Bundle) -> pa.Table:
    with pa.memory_map(str(bundle.folder / "items.arrow")) as source:
        return pa.ipc.open_file(source).read_all()
