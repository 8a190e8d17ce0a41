"""What an answer tells of an item, as JSON that waits for its score.

An answer holds a dozen items. To gather their columns and to write them as JSON takes longer than
to find them, so the index step does it once for all: an answer is bytes put together.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

SHOWN = ("item_id", "product_id", "title", "brand", "category", "price", "currency", "in_stock")
SCORE = b',"score":'
COLUMN = "shown"
PART = 100_000  # items that are Python objects at a time

Facts = dict[str, Any]


def head(facts: Mapping[str, Any]) -> bytes:
    """`{...,"score":` of the facts named in SHOWN; a score and `}` complete it."""
    return orjson.dumps({name: facts[name] for name in SHOWN})[:-1] + SCORE


def without_score(head: bytes) -> bytes:
    return head[: -len(SCORE)] + b"}"


def facts_of(head: bytes) -> Facts:
    facts: Facts = orjson.loads(without_score(head))
    return facts


def with_heads(table: pa.Table) -> pa.Table:
    """A table with the columns SHOWN, and beside them the head of every row."""
    return table.append_column(COLUMN, heads_of(table))


def heads_of(table: pa.Table) -> pa.ChunkedArray:
    """The head of every row."""
    parts = []
    for start in range(0, len(table), PART):
        rows = table.select(SHOWN).slice(start, PART).to_pylist()
        parts.append(pa.array(map(head, rows), pa.large_binary()))
    return pa.chunked_array(parts, pa.large_binary())


class Heads:
    """The heads of a table. Those of one chunk, as a bundle has them, are read where they lie:
    memory-mapped, and never copied as a whole.
    """

    def __init__(self, table: pa.Table) -> None:
        column = table[COLUMN] if COLUMN in table.schema.names else heads_of(table)
        # To combine copies, be it one chunk alone.
        array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        _, offsets, data = array.buffers()
        # Views, as one number of a NumPy array is slow to come by.
        self._offsets = np.frombuffer(offsets, np.int64)[array.offset :].data
        self._data = memoryview(data if data is not None else b"")

    def __getitem__(self, row: int) -> bytes:
        return bytes(self._data[self._offsets[row] : self._offsets[row + 1]])


def answer(heads: list[bytes], scores: list[float]) -> bytes:
    """A JSON list of items with their scores."""
    return b"[" + b",".join(map(b"%b%.4f}".__mod__, zip(heads, scores, strict=True))) + b"]"
