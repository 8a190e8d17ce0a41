"""Feed tables: one row for each photo, with the columns the platform reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from pipelines.sample.plan import Product, Shot
from pipelines.sample.scene import Box

DAY_1 = datetime(2026, 11, 19, 2, tzinfo=UTC)
DAY_2 = datetime(2026, 11, 20, 2, tzinfo=UTC)
CURRENCY = "EUR"
SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("product_id", pa.string()),
        ("image", pa.string()),
        ("category", pa.string()),
        ("title", pa.string()),
        ("brand", pa.string()),
        ("attributes", pa.map_(pa.string(), pa.string())),
        ("price", pa.float64()),
        ("currency", pa.string()),
        ("in_stock", pa.bool_()),
        ("updated_at", pa.timestamp("us", tz="UTC")),
        ("deleted", pa.bool_()),
        ("box", pa.list_(pa.int32())),
        ("kind", pa.string()),
        ("split", pa.string()),
    ]
)

Row = dict[str, Any]


def row_for(product: Product, shot: Shot, box: Box | None) -> Row:
    """A faultless row; `updated_at` follows when the day is known."""
    return {
        "item_id": shot.item_id,
        "product_id": product.product_id,
        "image": shot.image,
        "category": product.leaf.path,
        "title": product.title,
        "brand": product.brand,
        "attributes": list(product.attributes.items()),
        "price": product.price,
        "currency": CURRENCY,
        "in_stock": product.in_stock,
        "deleted": False,
        "box": list(box) if box else None,
        "kind": "wild" if shot.view == "wild" else "catalogue",
        "split": None,
    }


def rows_for(products: Iterable[Product], boxes: Mapping[str, Box]) -> list[Row]:
    """The rows of the products, in order."""
    return [row_for(p, shot, boxes.get(shot.item_id)) for p in products for shot in p.shots]


def spoil(rows: list[Row], faults: Mapping[str, str]) -> None:
    """Break the rows whose fault is in the table itself, not in the photo."""
    earlier = None  # an id that a duplicate can repeat
    for row in rows:
        reason = faults.get(row["item_id"])
        if reason is None:
            earlier = row["item_id"]
        elif reason == "missing_item_id":
            row["item_id"] = None
        elif reason == "duplicate_item_id":
            row["item_id"] = earlier
        elif reason == "missing_category":
            row["category"] = None
        elif reason == "cyclic_category":
            top, middle, _ = row["category"].split(" > ")
            row["category"] = f"{top} > {middle} > {top}"
        elif reason == "bad_price":
            row["price"] = -row["price"]


def table(rows: list[Row], day: datetime) -> pa.Table:
    """The feed of a day; the rows' times lie a second apart."""
    for i, row in enumerate(rows):
        row["updated_at"] = day + timedelta(seconds=i)
    return pa.Table.from_pylist(rows, schema=SCHEMA)
