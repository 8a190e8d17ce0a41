"""What answers and errors have in common, and photos and bundles to ask with."""

import io
import time
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from PIL import Image
from tiny_bundle import CREATED

from serving.edge import SECURITY_HEADERS
from serving.ledger import champion

ITEM = {
    "item_id": "item-008",
    "product_id": "product-004",
    "title": "Pendants no. 8",
    "brand": None,
    "category": "Home > Lamps > Pendants",
    "price": 17.5,
    "currency": "EUR",
    "in_stock": True,
}
FACTS = {name: value for name, value in ITEM.items() if name != "item_id"}


def champion_digest(root: Path) -> str:
    entry = champion(root)
    assert entry is not None
    return entry.bundle


def unaged(body: dict[str, Any]) -> dict[str, Any]:
    """The body, once the age of its index is found to be what the clock says."""
    expected = time.time() - CREATED.timestamp()
    assert body["bundle"].pop("index_age_seconds") == pytest.approx(expected, abs=5)
    return body


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def assert_error(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    body = answer.json()
    assert body == {"error": {"code": code, "message": body["error"]["message"]}}
    assert len(body["error"]["message"]) > 20
    assert answer.headers["Content-Type"] == "application/json"
    assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS


def with_column(name: str, change: Any) -> Any:
    """An edit that replaces one column of a bundle's items."""

    def edit(folder: Path) -> None:
        path = folder / "items.arrow"
        table = pa.ipc.open_file(path.read_bytes()).read_all()
        column = table.schema.get_field_index(name)
        values = change(table[name].to_pylist())
        if not isinstance(values, pa.Array):
            values = pa.array(values, table.schema.field(name).type)
        changed = table.set_column(column, name, values)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(changed)

    return edit
