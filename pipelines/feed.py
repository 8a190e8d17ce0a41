"""The feed contract: what a shop says about its items, one row an item, one partition a day.

A row that breaks the contract is refused with one reason of REASONS and the rest go on: a shop
with a million rows always has a few bad ones. A feed without a required column is another feed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd
import pyarrow as pa

from model.errors import BadInput
from model.taxonomy import is_cyclic
from pipelines.cells import PARSERS, Unparsable
from pipelines.tables import MALFORMED, Frame

if TYPE_CHECKING:
    import pandera.pandas as pandera

FEED = pa.schema(
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
REFUSED = pa.schema(
    [
        ("row", pa.int64()),  # the first row after the header is 1
        ("item_id", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
REQUIRED = ("item_id", "product_id", "image", "category")
DEFAULTS: Mapping[str, Any] = {"in_stock": True, "deleted": False, "kind": "catalogue"}
KINDS = ("catalogue", "wild")
SPLITS = ("train", "val", "test")
Cells: TypeAlias = pd.Series
Refusal: TypeAlias = tuple[int, str | None, str, str]  # as REFUSED
ABSENT = ""  # stands in a deleted row where another must hold something; no parser gives it
KNOWN = "a path of the taxonomy file"
MAX_ID = 256  # characters; ids stand in URLs and in every index


@dataclass(frozen=True)
class Rule:
    """What the cells of a column hold in a good row."""

    column: str
    expected: str
    holds: Callable[[Cells], Cells]  # a bool for each cell


@dataclass(frozen=True)
class Checked:
    """The good rows, and for each bad row its reason."""

    rows: pa.Table  # FEED
    refused: pa.Table  # REFUSED


def _each(holds: Callable[[Any], bool]) -> Callable[[Cells], Cells]:
    return lambda cells: cells.map(holds).astype(bool)


PRESENT = pd.Series.notna
PARSED = _each(lambda cell: not isinstance(cell, Unparsable))
# In this order: a row with several faults is refused for the first.
RULES: Mapping[str, Rule] = {
    "malformed_row": Rule(MALFORMED, "one value a column", pd.Series.isna),
    "missing_item_id": Rule("item_id", "an id", PRESENT),
    "bad_item_id": Rule(
        "item_id",
        f"at most {MAX_ID} printable characters",
        _each(lambda name: len(str(name)) <= MAX_ID and str(name).isprintable()),
    ),
    "duplicate_item_id": Rule(
        "item_id",
        "an id that no earlier row has",
        lambda names: names.isna() | ~names.duplicated(),
    ),
    "missing_image": Rule("image", "a path or URI", PRESENT),
    "missing_category": Rule("category", "a path as `Top > Middle > Leaf`", PRESENT),
    "cyclic_category": Rule(
        "category",
        "each name once in a path",
        _each(lambda path: path is None or not is_cyclic(path)),
    ),
    "bad_price": Rule(
        "price",
        "a number, 0 or more",
        _each(lambda price: price is None or isinstance(price, float) and price >= 0),
    ),
    "bad_box": Rule("box", "[x, y, width, height] in pixels", PARSED),
    "bad_kind": Rule("kind", f"one of {', '.join(KINDS)}", _each(KINDS.__contains__)),
    "bad_split": Rule(
        "split",
        f"one of {', '.join(SPLITS)}, or nothing",
        _each(lambda name: name is None or name in SPLITS),
    ),
    "bad_attributes": Rule("attributes", "a map of text to text", PARSED),
    "bad_in_stock": Rule("in_stock", "true or false", PARSED),
    "bad_deleted": Rule("deleted", "true or false", PARSED),
    "bad_updated_at": Rule("updated_at", "an ISO 8601 time", PARSED),
}
REASONS: Mapping[str, str] = {
    **{reason: f"{rule.column}: expected {rule.expected}" for reason, rule in RULES.items()},
    "unknown_category": f"category: expected {KNOWN}",
    "bad_suffix": "expected a photo: .jpg, .jpeg, .png, .webp or .gif",
}


def check(rows: Frame, *, known: frozenset[str] | None = None) -> Checked:
    """Split raw rows into good and refused. `known`: the only category paths there are.

    Raises BadInput when a required column is missing.
    """
    parsed = _parse(_complete(rows))
    reasons = _reasons(parsed, known)
    good = parsed.drop(index=list(reasons))
    columns = [
        pa.array([None if cell == ABSENT else cell for cell in good[field.name]], field.type)
        for field in FEED
    ]
    return Checked(pa.table(columns, schema=FEED), _refused(parsed, reasons))


def refusals(rows: Iterable[Refusal]) -> pa.Table:
    """A REFUSED table in the order of the feed's rows."""
    ordered = sorted(rows, key=lambda row: row[0])
    columns = [pa.array([row[n] for row in ordered], field.type) for n, field in enumerate(REFUSED)]
    return pa.table(columns, schema=REFUSED)


def _complete(rows: Frame) -> Frame:
    columns = {str(name): rows[name] for name in rows.columns}
    if "item_id" in columns:
        columns.setdefault("product_id", columns["item_id"])
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise BadInput(
            f"The feed lacks the required column{'s' * (len(missing) > 1)} {', '.join(missing)}. "
            f"Expected at least item_id, image, category. "
            f"Received: {', '.join(columns) or 'no column'}. Add or rename the column."
        )
    empty = pd.Series([None] * len(rows), index=rows.index, dtype=object)
    return pd.DataFrame(
        {name: columns.get(name, empty) for name in (*FEED.names, MALFORMED)}, dtype=object
    )


def _parse(rows: Frame) -> Frame:
    def cells(name: str) -> list[Any]:
        default = DEFAULTS.get(name)
        values = map(PARSERS[name], rows[name].tolist())
        return [default if value is None else value for value in values]

    columns = {name: cells(name) for name in FEED.names}
    # A deleted row needs no more than its id; its time, if it has one, says what is newer.
    for name in set(FEED.names) - {"item_id", "deleted"}:
        rest = DEFAULTS.get(name, ABSENT if name in REQUIRED else None)
        columns[name] = [
            rest if gone is True and not isinstance(cell, datetime) else cell
            for gone, cell in zip(columns["deleted"], columns[name], strict=True)
        ]
    columns["product_id"] = [
        product or item
        for product, item in zip(columns["product_id"], columns["item_id"], strict=True)
    ]
    columns[MALFORMED] = rows[MALFORMED].tolist()
    return pd.DataFrame(
        {name: pd.Series(column, rows.index, dtype=object) for name, column in columns.items()}
    )


def _schema(known: frozenset[str] | None) -> "pandera.DataFrameSchema":
    import pandera.pandas as pandera  # only where a feed is read: who looks has none

    rules = dict(RULES)
    if known is not None:
        rules["unknown_category"] = Rule(
            "category", KNOWN, _each(lambda path: path is None or path in known or path == ABSENT)
        )
    columns = {name: pandera.Column(nullable=True, checks=[]) for name in (*FEED.names, MALFORMED)}
    for reason, rule in rules.items():
        check = pandera.Check(rule.holds, name=reason, ignore_na=False)
        columns[rule.column].checks.append(check)
    return pandera.DataFrameSchema(columns)


def _reasons(parsed: Frame, known: frozenset[str] | None) -> dict[int, str]:
    """The first reason of each bad row."""
    import pandera.pandas as pandera

    try:
        _schema(known).validate(parsed, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        order = {reason: place for place, reason in enumerate(REASONS)}
        cases = errors.failure_cases
        found: dict[int, str] = {}
        for row, reason in set(zip(cases["index"].tolist(), cases["check"].tolist(), strict=True)):
            if row not in found or order[reason] < order[found[row]]:
                found[int(row)] = reason
        return found
    return {}


def _refused(parsed: Frame, reasons: Mapping[int, str]) -> pa.Table:
    rows = []
    for row, reason in reasons.items():
        column = RULES[reason].column if reason in RULES else "category"
        cell = parsed.at[row, column]
        received = cell.cell if isinstance(cell, Unparsable) else cell
        shown = "nothing" if received is None else repr(str(received)[:200])
        detail = f"{REASONS[reason]}; received {shown}"
        rows.append((row, parsed.at[row, "item_id"], reason, detail))
    return refusals(rows)
