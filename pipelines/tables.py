"""Tables as shops send them: CSV, JSON Lines or Parquet, read cell by cell.

No types are guessed here: a guess made from the first thousand rows fails on the next one.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from model.errors import BadInput

SUFFIXES = (".csv", ".jsonl", ".ndjson", ".parquet")
MALFORMED = "__malformed__"  # column that holds a line which is no row

Frame: TypeAlias = pd.DataFrame
Row = Mapping[str, Any]


def read_table(path: Path) -> Frame:
    """The cells as they are, as Python objects; the first row after a header has index 1."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise BadInput(
            f"Unknown kind of table. Expected a name ending in {', '.join(SUFFIXES)}. "
            f"Received: {path}. Export the feed as one of these."
        )
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    try:
        return readers.get(suffix, _read_jsonl)(path)
    except FileNotFoundError as error:
        raise BadInput(f"There is no table at {path}. Check the path.") from error
    except (csv.Error, pa.ArrowException, UnicodeDecodeError) as error:
        raise BadInput(
            f"Cannot read {path}: {error}. Expected {suffix} in UTF-8. Export it again."
        ) from error


def to_frame(table: pa.Table) -> Frame:
    """Cells as Python objects; pandas' own types turn an int with gaps into a float."""
    columns = {name: table[name].to_pylist() for name in table.column_names}
    return pd.DataFrame(columns, index=range(1, len(table) + 1), dtype=object)


def _read_csv(path: Path) -> Frame:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        header = [name.strip() for name in next(reader, [])]
        if len(set(header)) < len(header):
            raise BadInput(
                f"{path} names a column twice. Expected each name once. "
                f"Received: {', '.join(header)}. Remove one of them."
            )
        return _frame(header, _csv_rows(header, reader))


def _csv_rows(header: list[str], lines: Iterable[list[str]]) -> Iterator[Row]:
    for cells in lines:
        if len(cells) == len(header):
            yield dict(zip(header, cells, strict=True))
        elif cells:  # an empty line is no row
            yield {MALFORMED: ",".join(cells)}


def _read_parquet(path: Path) -> Frame:
    return to_frame(pq.read_table(path))


def _read_jsonl(path: Path) -> Frame:
    with path.open(encoding="utf-8-sig") as file:
        return _frame([], _json_rows(file))


def _json_rows(lines: Iterable[str]) -> Iterator[Row]:
    for line in lines:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        yield row if isinstance(row, dict) else {MALFORMED: line.strip()}


def _frame(header: list[str], rows: Iterator[Row]) -> Frame:
    held = list(rows)
    names = dict.fromkeys([*header, *(name for row in held for name in row)])
    cells = {name: [row.get(name) for row in held] for name in names}
    return pd.DataFrame(cells, index=range(1, len(held) + 1), dtype=object)
