"""One cell of a feed, whatever file it came from, to the Python value that its column holds.

CSV gives text, JSON gives what JSON has, Parquet gives everything. A parser returns None for an
empty cell and `Unparsable` for one that it cannot read, so that one bad cell costs one row.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from model.taxonomy import normalise

TRUE = frozenset({"true", "yes", "1"})
FALSE = frozenset({"false", "no", "0"})
MAX_INT32 = 2**31 - 1

Cell = Any
Parser = Callable[[Cell], Any]


@dataclass(frozen=True)
class Unparsable:
    """A cell that does not mean what its column should hold."""

    cell: str


def text(cell: Cell) -> str | None:
    """Trimmed text; a lone surrogate, which JSON allows and Arrow does not, becomes `?`."""
    if _is_empty(cell):
        return None
    return str(cell).strip().encode("utf-8", "replace").decode() or None


def category(cell: Cell) -> str | None:
    path = text(cell)
    return normalise(path) or None if path else None


def number(cell: Cell) -> float | Unparsable | None:
    if _is_empty(cell):
        return None
    if isinstance(cell, bool) or not isinstance(cell, int | float | Decimal | str):
        return Unparsable(str(cell))
    try:
        value = float(cell)
    except (ValueError, OverflowError):
        return Unparsable(str(cell))
    return value if math.isfinite(value) else Unparsable(str(cell))


def flag(cell: Cell) -> bool | Unparsable | None:
    if _is_empty(cell) or isinstance(cell, bool):
        return None if _is_empty(cell) else bool(cell)
    word = str(cell).strip().casefold()
    if word in TRUE or word in FALSE:
        return word in TRUE
    return Unparsable(str(cell))


def moment(cell: Cell) -> datetime | Unparsable | None:
    """A time in UTC; ISO 8601 text, and a time without a zone is taken as UTC."""
    if _is_empty(cell):
        return None
    try:
        value = cell if isinstance(cell, date) else datetime.fromisoformat(str(cell).strip())
        if not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        zoned = value if value.tzinfo else value.replace(tzinfo=UTC)
        return zoned.astimezone(UTC)
    except (ValueError, OverflowError):
        return Unparsable(str(cell))


def box(cell: Cell) -> list[int] | Unparsable | None:
    """`[x, y, width, height]` in whole pixels."""
    value = _from_json(cell)
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 4:
        return Unparsable(str(cell))
    numbers = [number(part) for part in value]
    whole = [round(part) for part in numbers if isinstance(part, float)]
    if len(whole) < 4 or min(whole[2:]) < 1 or max(map(abs, whole)) > MAX_INT32:
        return Unparsable(str(cell))
    return whole


def attributes(cell: Cell) -> list[tuple[str, str]] | Unparsable | None:
    """Pairs sorted by name; an attribute without a value is left out."""
    value = _from_json(cell)
    if value is None:
        return None
    try:
        pairs = dict(value).items()
    except (TypeError, ValueError):
        return Unparsable(str(cell))
    named = {text(name): text(_flat(held)) for name, held in pairs}
    return sorted((name, held) for name, held in named.items() if name and held)


PARSERS: Mapping[str, Parser] = {
    "item_id": text,
    "product_id": text,
    "image": text,
    "category": category,
    "title": text,
    "brand": text,
    "attributes": attributes,
    "price": number,
    "currency": text,
    "in_stock": flag,
    "updated_at": moment,
    "deleted": flag,
    "box": box,
    "kind": text,
    "split": text,
}


def _is_empty(cell: Cell) -> bool:
    if isinstance(cell, str):
        return not cell.strip()
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _from_json(cell: Cell) -> Any:
    """The value of JSON text, which is how CSV holds a list or a map."""
    if _is_empty(cell):
        return None
    if not isinstance(cell, str):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return Unparsable(cell)


def _flat(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value
