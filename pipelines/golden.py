"""Queries over HTTP whose answer is known: the engine gave it in this process.

    golden = golden_items(engine, 200, k=10)
    golden[0].ask(client).json()["hits"] == golden[0].hits

Items of the bundle, and photos of the catalogue that nothing was trained on, the wild ones first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.errors import BadImage
from pipelines.catalogue import read_catalogue
from pipelines.index import read_arrow
from pipelines.settings import Settings
from serving.engine import Engine
from serving.photo_file import read_photo

SPARE = 2  # rows read for each photo that is asked with: some cannot be read any more

Ask = Callable[[httpx.Client], httpx.Response]
T = TypeVar("T")


@dataclass(frozen=True)
class Golden:
    """A query over HTTP, and the hits that it must get."""

    name: str
    ask: Ask
    hits: list[dict[str, Any]]


def golden_items(engine: Engine, count: int, k: int) -> list[Golden]:
    """Similar items of items from all over the bundle."""

    def query(item_id: str) -> Golden:
        path = similar_path(item_id, k)
        hits = engine.similar(item_id, k).hits
        return Golden(f"item {item_id}", lambda client: client.get(path), hits)

    ids = engine.items.table["item_id"]
    return [query(ids[row].as_py()) for row in spread(range(len(ids)), count)]


def similar_path(item_id: str, k: int) -> str:
    return f"/v1/items/{quote(item_id, safe='')}/similar?k={k}"


def spread(found: Sequence[T], count: int) -> list[T]:
    """So many of them at most, from all over."""
    rows = np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).astype(int))
    return [found[int(row)] for row in rows]


def item_ids(bundle: Path) -> list[str]:
    """Of a bundle's folder, in its order."""
    ids: list[str] = read_arrow(bundle / "items.arrow")["item_id"].to_pylist()
    return ids


def golden_photos(settings: Settings, ds: date, engine: Engine, count: int) -> list[Golden]:
    """Photos of the catalogue that nothing was trained on, those from the wild first.

    One that cannot be read any more is no query: the bundle does not hold it.
    """
    found: list[Golden] = []
    for row in unseen(read_catalogue(settings, ds).items, SPARE * count):
        if len(found) == count:
            break
        try:
            photo = read_photo(row["image"], settings.root)
            hits = engine.search(photo, settings.gate.k).hits
        except (BadImage, OSError):
            continue
        path = f"/v1/search?k={settings.gate.k}"
        ask = partial(_post, path=path, photo=photo)
        found.append(Golden(f"photo of {row['item_id']}", ask, hits))
    return found


def unseen(items: pa.Table, count: int) -> list[dict[str, Any]]:
    """Rows that nothing was trained on, by photo digest: as good as random, the same every day."""
    unseen = items.filter(pc.not_equal(items["split"], "train")).sort_by("image_digest")
    wild = pc.equal(unseen["kind"], "wild")
    parts = [unseen.filter(wild), unseen.filter(pc.invert(wild))]
    found: list[dict[str, Any]] = pa.concat_tables(parts)[:count].to_pylist()
    return found


def _post(client: httpx.Client, *, path: str, photo: bytes) -> httpx.Response:
    return client.post(path, content=photo)
