"""Photos and feeds of a few rows, for the tests of what reads them."""

import io
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from pipelines.importers import import_feed
from pipelines.settings import Ingest, Settings
from pipelines.step import Partition, Report

DAY_1 = date(2026, 11, 20)
DAY_2 = date(2026, 11, 21)
DAY_3 = date(2026, 11, 22)

Row = dict[str, Any]


def scene(seed: int, side: int = 160) -> Image.Image:
    """Soft blobs of colour: other seeds look nothing alike."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((side, side), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", quality: int = 90) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, quality=quality)
    return file.getvalue()


def photo(seed: int) -> bytes:
    return encoded(scene(seed))


def shop(root: Path, **ingest: Any) -> Settings:
    """Settings that let half of the rows be bad, and not one more: tests have few rows."""
    given = {"max_bad_share": 0.5, "tolerated_bad": 0, **ingest}
    return Settings(root=root, ingest=Ingest(**given))


def row(name: str, seed: int | None = None, **given: Any) -> Row:
    """A good row; the photo of `seed` is written by `give`."""
    return {
        "item_id": name,
        "image": f"photos/{name}.jpg",
        "category": "Home > Lamps",
        "seed": seed,
        **given,
    }


def give(settings: Settings, ds: date, rows: list[Row]) -> Report:
    """Import `rows` as the feed of `ds`, with a photo for each row that has a seed."""
    (settings.root / "photos").mkdir(parents=True, exist_ok=True)
    for given in rows:
        if given.get("seed") is not None:
            (settings.root / given["image"]).write_bytes(photo(given["seed"]))
    lines = [json.dumps({k: v for k, v in r.items() if k != "seed"}) for r in rows]
    table = settings.root / f"{ds}.jsonl"
    table.write_text("\n".join(lines))
    return import_feed(settings, ds, table)


def output(settings: Settings, step: str, ds: date, name: str) -> list[Row]:
    """The rows of a Parquet file that a step wrote."""
    return list(pq.read_table(Partition(settings, step, ds).output / name).to_pylist())
