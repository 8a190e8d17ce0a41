"""How a photo came to its answer, from the bundle in Production: each stage, shown.

    lookalike explain photo.jpg --box 40,30,200,260 --out explain.html

The engine is asked as the server asks it; beside its answer stands an exact search over all items,
so that a neighbour which the index missed is seen. Cost: seconds, most of them to open the bundle.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from model.errors import BadImage, BadInput
from model.evaluators import TIE
from model.pixel_spec import PixelSpec
from model.pixels import Box, to_pixels
from pipelines.page import Pixels
from serving.bundle import verify
from serving.engine import Engine, Hit, Look
from serving.index import MISSING, Vectors
from serving.ledger import LEDGER, champion
from serving.photo_file import read_photo

PHOTO_SIDE, TILE_SIDE = 720, 192  # pixels of the pictures
BOX = re.compile(r"(\d{1,6}),(\d{1,6}),(\d{1,6}),(\d{1,6})", re.ASCII)


@dataclass(frozen=True)
class Neighbour:
    """An item that is near, or was given: what an exact search says of it, and what the index."""

    item: dict[str, Any]
    photo: Pixels | None  # None: it is not there any more
    score: float  # cosine in the space of the index
    rank: int  # by exact search, from 1; those as near as each other share one
    given_score: float | None  # None: the index did not give it
    given_rank: int | None
    missed: bool
    instead: bool  # given, with another missed for it
    is_new: bool  # not in the base, so searched exactly


@dataclass(frozen=True)
class Explained:
    """All stages of one query."""

    name: str
    bundle: str
    version: str
    manifest: dict[str, Any]
    items: int
    photo: Pixels  # upright
    look: Look
    vector: Vectors  # [d]
    levels: list[Hit]
    guesses: list[Hit]
    brand: Hit | None
    neighbours: tuple[Neighbour, ...]  # by exact rank
    k: int
    seconds: dict[str, float]

    @property
    def found(self) -> int:
        """How many of the k nearest the index gave, or others as near."""
        return min(self.k, self.items) - sum(each.missed for each in self.neighbours)


def explain(root: Path, image: str, box: str | None = None, k: int = 12) -> Explained:
    """`box`: `x,y,width,height` in pixels of the upright photo.

    Raises BadInput where there is no photo, no such box or no bundle, and Damaged.
    """
    given = _read_box(box)
    data = _read_photo(image)
    entry = champion(root)
    if entry is None:
        raise BadInput(
            f"Nothing serves from {root}. Expected a promotion in its `{LEDGER}`. Found none. "
            f"Promote a bundle with `lookalike promote`, or name another --root."
        )
    engine = Engine(verify(root / "bundles" / entry.bundle, entry.bundle))
    engine.search(data, k, given)  # what is compiled at first use is no part of the times
    times = [time.perf_counter()]
    look = engine.look(data, given)
    times.append(time.perf_counter())
    vectors, odds = engine.embed([look])
    times.append(time.perf_counter())
    rows, scores = engine.nearest(vectors, k)
    times.append(time.perf_counter())
    exact = _exact_scores(engine, vectors[0])
    times.append(time.perf_counter())
    there = rows[0] != MISSING
    answer = dict(zip(rows[0][there].tolist(), scores[0][there].tolist(), strict=True))
    neighbours = _neighbours(engine, root, exact, answer, k)
    hits = [{**each.item, "score": each.given_score} for each in neighbours if each.given_rank]
    listing = engine.classify(odds[0], hits)
    names = ("decode", "embed", "search", "exact search")
    return Explained(
        name=Path(image).name,
        bundle=entry.bundle,
        version=entry.version,
        manifest=engine.bundle.manifest,
        items=len(engine),
        photo=_upright(data, look.searched.photo),
        look=look,
        vector=vectors[0],
        levels=listing["category"],
        guesses=engine.category(odds[0]),
        brand=listing["brand"],
        neighbours=tuple(neighbours),
        k=k,
        seconds={name: times[n + 1] - times[n] for n, name in enumerate(names)},
    )


def _read_box(text: str | None) -> Box | None:
    if text is None:
        return None
    match = BOX.fullmatch(text)
    if match is None or 0 in (int(match[3]), int(match[4])):
        raise BadInput(
            f"Invalid --box. Expected `x,y,width,height` in pixels of the upright photo, width and "
            f"height at least 1. Received: {text!r}."
        )
    return Box(*map(int, match.groups()))


def _read_photo(image: str) -> bytes:
    try:
        return read_photo(image, Path())
    except (FileNotFoundError, IsADirectoryError) as error:
        raise BadInput(
            f"There is no photo at {image}. Expected a JPEG, PNG, WebP or GIF. "
            f"Received: {error.strerror or error}."
        ) from None


def _upright(data: bytes, size: tuple[int, int]) -> Pixels:
    """The whole photo without the padding of a square."""
    square = to_pixels(data, PixelSpec(PHOTO_SIDE))
    width, height = (max(1, round(length * PHOTO_SIDE / max(size))) for length in size)
    x, y = (PHOTO_SIDE - width) // 2, (PHOTO_SIDE - height) // 2
    return square[y : y + height, x : x + width]


def _exact_scores(engine: Engine, vector: Vectors) -> Vectors:
    """Cosines [rows] to every item."""
    scores: Vectors = np.asarray(engine.vectors @ vector)
    return scores


def _neighbours(
    engine: Engine, root: Path, exact: Vectors, answer: dict[int, float], k: int
) -> list[Neighbour]:
    """The k nearest and what was given, by their exact rank."""
    nearest = np.argsort(-exact, kind="stable")[:k].tolist()
    ranks = {row: 1 + int((exact > exact[row] + TIE).sum()) for row in {*nearest, *answer}}
    given_ranks = {row: place for place, row in enumerate(answer, start=1)}
    instead = {row for row in answer if ranks[row] > k}
    lost = len(nearest) - (len(answer) - len(instead))
    missed = [row for row in reversed(nearest) if row not in answer][: max(lost, 0)]
    order = sorted(ranks, key=lambda row: (-exact[row], given_ranks.get(row, k + 1)))
    photos = map(partial(_item_photo, engine, root), order)
    return [
        Neighbour(
            item=item,
            photo=photo,
            score=float(exact[row]),
            rank=ranks[row],
            given_score=answer.get(row),
            given_rank=given_ranks.get(row),
            missed=row in missed,
            instead=row in instead,
            is_new=row >= len(engine.index.base),
        )
        for row, item, photo in zip(order, map(engine.items.shown, order), photos, strict=True)
    ]


def _item_photo(engine: Engine, root: Path, row: int) -> npt.NDArray[np.uint8] | None:
    try:
        return to_pixels(read_photo(engine.items.image(row), root), PixelSpec(TILE_SIDE))
    except (OSError, BadImage):
        return None


def report(explained: Explained, page: Path) -> RenderableType:
    """For a terminal: what each stage made of the photo, then the neighbours."""
    return Group(_stages(explained, page), "", _table(explained.neighbours), _verdict(explained))


def _stages(explained: Explained, page: Path) -> Table:
    searched, seconds = explained.look.searched, explained.seconds
    x, y, width, height = searched.box
    vector, index = explained.vector, explained.manifest["index"]
    rows = [
        ("photo", f"{explained.name}, {searched.photo[0]} × {searched.photo[1]} pixels", ""),
        ("box", f"{width} × {height} at {x}, {y}: {searched.by}", ""),
        ("pixels", explained.manifest["pixel_spec"], _ms(seconds["decode"])),
        (
            "vector",
            f"{len(vector)} numbers of space {explained.manifest['space_id']}, "
            f"length {np.linalg.norm(vector):.4f}",
            _ms(seconds["embed"]),
        ),
        (
            "category",
            "  ".join(f"{_leaf(e['path'])} {e['confidence']:.0%}" for e in explained.levels),
            "",
        ),
        (
            "index",
            f"{index['engine']} {index['form']}, {explained.items:,} items",
            _ms(seconds["search"]),
        ),
        ("exact", "a product with every item, to compare", _ms(seconds["exact search"])),
        ("page", str(page), ""),
    ]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    for name, text, spent in rows:
        table.add_row(name, escape(text), spent)
    return table


def _table(neighbours: Sequence[Neighbour]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("exact", "index"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("item", overflow="fold")
    table.add_column("category", overflow="fold")
    for name in ("cosine", "score"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for each in neighbours:
        table.add_row(
            str(each.rank),
            "–" if each.given_rank is None else str(each.given_rank),
            escape(each.item["title"] or each.item["item_id"]),
            escape(_leaf(each.item["category"])),
            f"{each.score:.4f}",
            "–" if each.given_score is None else f"{each.given_score:.4f}",
            remark(each),
            style="red" if each.missed else "yellow" if each.instead else None,
        )
    return table


def _verdict(explained: Explained) -> str:
    return f"\nThe index gave {sentence(explained)}"


def sentence(explained: Explained) -> str:
    """How many of the nearest were found."""
    k = min(explained.k, explained.items)
    return f"{explained.found} of the {k} nearest items, of {explained.items:,}."


def remark(each: Neighbour) -> str:
    words = ("missed", each.missed), ("instead", each.instead), ("new", each.is_new)
    return ", ".join(word for word, holds in words if holds)


def _leaf(path: str) -> str:
    return path.rpartition(" > ")[2]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"
