"""A catalogue of a few photos in memory, for the tests of what examines spaces."""

import hashlib
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from model.taxonomy import Taxonomy
from pipelines.catalogue import Catalogue
from pipelines.content_store import ContentStore, shard_name
from pipelines.duplicates import HASH_BYTES, LOOK_BYTES

DAY = date(2026, 11, 20)
SIDE = 16
LEAVES = ("Home > Lamps", "Home > Rugs", "Toys > Bears", "Toys > Cars")
SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("product_id", pa.string()),
        ("category", pa.string()),
        ("leaf", pa.int32()),
        ("title", pa.string()),
        ("brand", pa.string()),
        ("attributes", pa.map_(pa.string(), pa.string())),
        ("kind", pa.string()),
        ("split", pa.string()),
        ("pixel_key", pa.string()),
        ("group", pa.int64()),
        ("first_seen", pa.string()),
        ("phash", pa.binary()),
        ("signature", pa.binary()),
    ]
)

Row = dict[str, Any]


def row(name: str, leaf: int, **given: Any) -> Row:
    """An item of its own product, whose photo looks like nothing else."""
    look = np.random.default_rng(_number(name)).integers(0, 256, LOOK_BYTES, np.uint8).tobytes()
    return {
        "item_id": name,
        "product_id": given.get("product_id", name),
        "category": LEAVES[leaf],
        "leaf": leaf,
        "kind": "catalogue",
        "split": "train",
        "pixel_key": hashlib.sha256(name.encode()).hexdigest(),
        "group": _number(given.get("product_id", name)),
        "first_seen": "2026-11-01",
        "phash": look[:HASH_BYTES],
        "signature": look[HASH_BYTES:],
        **given,
    }


def wild(name: str, leaf: int, **given: Any) -> Row:
    return row(name, leaf, **{"kind": "wild", "split": "test", **given})


def catalogue(folder: Path, rows: list[Row]) -> Catalogue:
    """A taxonomy of LEAVES, and a store with the `photo` of each row."""
    store = ContentStore(folder / "pixels", (SIDE, SIDE, 3), "uint8")
    photos = {each["pixel_key"]: photo(each) for each in rows}
    keys = sorted(photos)
    store.write(shard_name(keys), keys, np.stack([photos[key] for key in keys]))
    items = pa.Table.from_pylist(rows, schema=SCHEMA)
    return Catalogue(items, Taxonomy(LEAVES), [shard_name(keys)], store)


def photo(each: Row) -> np.ndarray:
    """uint8 [side, side, 3]: the first pixel tells the leaf, the rest is noise."""
    noise = np.random.default_rng(_number(each["pixel_key"]))
    pixels = noise.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    pixels[0, 0] = each["leaf"]
    return pixels


def shop_rows() -> list[Row]:
    """Four leaves of 12 training items and 2 test items of 2 views, and a wild photo of these."""
    rows = []
    for leaf in range(len(LEAVES)):
        colours = ("red", "blue", "green")
        for number in range(12):
            colour = colours[number % 3]
            rows.append(row(f"{leaf}-{number}", leaf, attributes=[("colour", colour)]))
        for number in range(2):
            product = f"{leaf}-new{number}"
            given = {"product_id": product, "attributes": [("colour", colours[number])]}
            rows += [row(f"{product}-{view}", leaf, split="test", **given) for view in range(2)]
            rows.append(wild(f"{product}-wild", leaf, **given))
    return rows


def leaf_space(pixels: np.ndarray) -> np.ndarray:
    """Knows the leaf and its department, nothing else: float32 [n, 6]."""
    leaf = pixels[:, 0, 0, 0]
    parts = [np.eye(2)[leaf // 2], np.eye(len(LEAVES))[leaf]]
    return (np.concatenate(parts, axis=1) / np.sqrt(2)).astype(np.float32)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])
