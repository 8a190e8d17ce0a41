"""Similar items by photo, by item or by vector, from one bundle and what changed since.

No web types here. A photo's way: `look` (bytes to canonical pixels), `embed` (pixels to a vector),
`find` (vectors to items). Each step takes many at once; `search` and `similar` take the whole way
for one.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from model.errors import BadInput
from model.pixels import Box, Photo, Pixels, Size
from serving.autofill import brand, levels
from serving.bundle import LOCALISER, Bundle
from serving.embedder import Embedder, Probabilities
from serving.engines import load_index
from serving.filtered import Mask
from serving.filters import Filter
from serving.index import MISSING, Rows, Vectors
from serving.item import Item
from serving.items import Items
from serving.live_index import LiveIndex
from serving.localiser import Localiser
from serving.selection import Wanted, choose
from serving.shown import answer
from serving.stopwatch import Stopwatch

FETCHED_PER_RESULT = 5  # candidates, where not every near one is shown
WIDER = 4  # times as many where that is too few
MAX_FETCHED = 2000
NEAREST = Wanted()

Hit = dict[str, Any]
Found = list[tuple[int, float]]  # rows and scores, best first


@dataclass(frozen=True)
class Searched:
    """What was searched of the upright photo, whose choice that was, and the photo's size."""

    by: Literal["given", "found", "whole"]
    box: Box
    photo: Size

    @property
    def facts(self) -> dict[str, Any]:
        """What an answer tells of it."""
        return {"by": self.by, "box": list(self.box), "photo": list(self.photo)}


@dataclass(frozen=True)
class Look:
    """A photo as the embedder sees it: uint8 [side, side, 3], and where it is from."""

    pixels: Pixels
    searched: Searched


@dataclass(frozen=True)
class Ask:
    """A question to the index: a vector [d], what is wanted, and rows that are no answer."""

    vector: Vectors
    wanted: Wanted
    but: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Seen:
    """A photo's whole way: what was looked at, leaf odds [leaves], and what was found."""

    look: Look
    odds: Probabilities
    found: Found
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Answer:
    """What a query gets: hits best first, the category of the photo, seconds of each stage."""

    hits: list[Hit]
    category: list[Hit] = field(default_factory=list)
    seconds: Mapping[str, float] = field(default_factory=dict)
    searched: Searched | None = None  # None: the query was no photo


class Engine:
    """A loaded bundle. Safe to call from several threads while one of them changes items."""

    def __init__(self, bundle: Bundle, *, threads: int = 0) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self.embedder = Embedder(bundle.folder / "embedder.onnx", threads=threads)
        self.localiser = _load_localiser(bundle, threads)
        taxonomy = bundle.taxonomy
        self.leaves = taxonomy.leaves
        self._categories, self._category_of_leaf = taxonomy.answers
        # A plain view: every slice of a memmap is a memmap, which takes ten times as long to make.
        self.vectors: Vectors = np.asarray(
            np.load(bundle.folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
        )
        base = load_index(bundle.folder / "index", manifest["index"])
        self.index = LiveIndex(base, self.vectors[: len(base)])
        self.index.change(self.vectors[len(base) :])
        self.items = Items(_read_items(bundle))
        self._changing = Lock()

    def __len__(self) -> int:
        """Items that can be found."""
        return len(self.index)

    @property
    def space_id(self) -> str:
        return str(self.bundle.manifest["space_id"])

    def look(self, image: bytes, box: Box | Literal["whole"] | None = None) -> Look:
        """The product in `box`, or where the localiser finds it, or the `whole` photo.

        Raises BadImage for what is no photo, or has nothing in the box.
        """
        given = box if isinstance(box, Box) else None
        photo = Photo(image, self.bundle.pixel_spec, given)
        found = self.localiser.find(photo) if self.localiser and box is None else None
        return Look(photo.pixels(given or found), _searched(photo, given, found))

    def embed(self, looks: Sequence[Look]) -> tuple[Vectors, Probabilities]:
        """Vectors [n, d] and leaf odds [n, leaves]."""
        return self.embedder.embed(np.stack([look.pixels for look in looks]))

    def search(
        self,
        image: bytes,
        wanted: Wanted | int = NEAREST,
        box: Box | Literal["whole"] | None = None,
    ) -> Answer:
        """Items that look like the product in the photo. Raises BadImage as `look` does."""
        wanted = Wanted(wanted) if isinstance(wanted, int) else wanted
        seen = self.see(image, wanted, box)
        return Answer(
            self.hits(seen.found), self.category(seen.odds), seen.seconds, seen.look.searched
        )

    def see(self, image: bytes, wanted: Wanted, box: Box | Literal["whole"] | None = None) -> Seen:
        """What was looked at and found for a photo: rows and scores, which `hits` turns into items.

        Raises BadImage as `look` does.
        """
        watch = Stopwatch()
        look = self.look(image, box)
        watch.lap("decode")
        vectors, odds = self.embed([look])
        watch.lap("embed")
        (found,) = self.find([Ask(vectors[0], wanted)])
        watch.lap("search")
        return Seen(look, odds[0], found, watch.laps)

    def similar(self, item_id: str, wanted: Wanted | int = NEAREST) -> Answer:
        """Items that look like this item, without itself. Raises UnknownItem."""
        wanted = Wanted(wanted) if isinstance(wanted, int) else wanted
        started = time.perf_counter()
        (found,) = self.find([self.ask(item_id, wanted)])
        return Answer(self.hits(found), seconds={"search": time.perf_counter() - started})

    def ask(self, item_id: str, wanted: Wanted) -> Ask:
        """The question for what looks like an item. Raises UnknownItem."""
        row = self.items.row(item_id)
        return Ask(self.index.vector(row), wanted, frozenset((row,)))

    def find(self, asks: Sequence[Ask]) -> list[Found]:
        """Rows and scores for each question, best first; those of one filter searched together."""
        found: list[Found] = [[] for _ in asks]
        for step in range(max((1 + len(ask.wanted.fallbacks) for ask in asks), default=0)):
            by_filter: dict[Filter, list[int]] = {}
            for number, ask in enumerate(asks):
                filters = ask.wanted.filters[step : step + 1]
                if filters and len(found[number]) < ask.wanted.k:
                    by_filter.setdefault(filters[0], []).append(number)
            for wanted, numbers in by_filter.items():
                allowed = self.items.allowed(wanted)
                former = [found[number] for number in numbers]
                answers = self._filled([asks[number] for number in numbers], former, allowed)
                for number, filled in zip(numbers, answers, strict=True):
                    found[number] = filled
        return found

    def hits(self, found: Found) -> list[Hit]:
        return [{**self.items.shown(row), "score": round(score, 4)} for row, score in found]

    def encoded(self, found: Found) -> bytes:
        """The hits as JSON."""
        rows, scores = [row for row, _ in found], [score for _, score in found]
        return answer(list(map(self.items.head, rows)), scores)

    def nearest(
        self, queries: Vectors, k: int, allowed: Mask | None = None
    ) -> tuple[Rows, Vectors]:
        """Rows int32 [q, at most k] and scores, over the base and all that came since.

        `allowed` bool [rows]: only among these.
        """
        if allowed is not None and allowed.shape != (self.index.rows,):
            raise BadInput(
                f"This filter is not of this bundle. Expected bool [{self.index.rows}]. Received: "
                f"{allowed.dtype} {list(allowed.shape)}."
            )
        return self.index.search(queries, k, allowed)

    def category(self, odds: Vectors, best: int = 3) -> list[Hit]:
        """The likeliest of today's categories; leaves that moved since training count for those."""
        today = self._odds_today(odds)
        return [
            {"path": self._categories[number], "confidence": round(float(today[number]), 4)}
            for number in np.argsort(-today)[:best]
        ]

    def classify(self, odds: Vectors, hits: Sequence[Hit]) -> Hit:
        """For a listing: the category level by level, and the brand that the hits have."""
        return {"category": levels(self._categories, self._odds_today(odds)), "brand": brand(hits)}

    def put(self, item: Item, vector: Vectors | None = None, image: str | None = None) -> None:
        """Have an item found from now on, by the vector [d] of a new photo or by that it has.

        `image`: where that photo is. Raises BadInput for a new item without a vector, and for a
        vector that is none of this bundle's space.
        """
        if vector is not None:
            self.index.check(vector[None])
        with self._changing:
            row = self.items.find(item.item_id)
            if vector is None:
                if row is None:
                    raise BadInput(
                        f"The item {item.item_id!r} is new. Expected a photo of it. Received none."
                    )
                self.items.put(row, item)
                return
            new = self.index.rows
            self.items.put(new, item, image)  # first: whoever finds the row can tell what it is
            self.index.change(vector[None], drop=[] if row is None else [row])
            self.items.point(item.item_id, new)

    def remove(self, item_id: str) -> None:
        """Have an item found no more. One that is not there is gone already."""
        with self._changing:
            row = self.items.find(item_id)
            if row is not None:
                self.items.point(item_id, None)
                self.index.change(np.empty((0, self.index.vectors.shape[1]), np.float32), [row])

    def _filled(
        self, asks: Sequence[Ask], former: Sequence[Found], allowed: Mask | None
    ) -> list[Found]:
        """What was found for each question, and behind it the nearest, as the question wants them.

        A question looks at as many candidates as it would alone, whatever it is searched with.
        """
        fetched, most = [*map(_fetched, asks)], min(self.index.rows, MAX_FETCHED)
        answers = [*former]
        short = list(range(len(asks)))
        while short:
            queries: Vectors = np.stack([asks[number].vector for number in short])
            counts = [fetched[number] for number in short]
            rows, scores = self.index.search(queries, max(counts), allowed)
            left = []
            for number, count, row, score in zip(
                short, counts, rows.tolist(), scores.tolist(), strict=True
            ):
                ask = asks[number]
                answers[number] = self._chosen(ask, former[number], row[:count], score[:count])
                # Nothing after a score below the bound is above it.
                ended = len(score) < count or score[count - 1] < ask.wanted.min_score
                if len(answers[number]) < ask.wanted.k and not ended and count < most:
                    left.append(number)
                    fetched[number] = min(WIDER * count, most)
            short = left
        return answers

    def _chosen(self, ask: Ask, former: Found, rows: list[int], scores: list[float]) -> Found:
        wanted = ask.wanted
        known = ask.but | {row for row, _ in former}
        new = [
            (row, score)
            for row, score in zip(rows, scores, strict=True)
            if row not in known and row != MISSING and score >= wanted.min_score
        ]
        found = [*former, *new]
        if wanted.is_plain or not new:
            return found[: wanted.k]
        near = np.array([row for row, _ in found])
        places = choose(
            np.array([score for _, score in found], np.float32),
            self.items.products.at(near),
            self.index.vectors_of(near),
            wanted,
            taken=len(former),
        )
        return [found[place] for place in places]

    def _odds_today(self, odds: Vectors) -> Vectors:
        # The last is of leaves that are no category any more.
        today = np.bincount(self._category_of_leaf, odds, len(self._categories) + 1)[:-1]
        return today.astype(np.float32)


def _fetched(ask: Ask) -> int:
    k = ask.wanted.k + len(ask.but)
    return k if ask.wanted.is_plain else FETCHED_PER_RESULT * k


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
