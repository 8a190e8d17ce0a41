"""From an item's id to its row, in twelve bytes an item: a Python dict needs ten times as many."""

from bisect import bisect_left

import numpy as np
import pyarrow as pa

PART = 4096  # ids that are Python strings at a time; while they are made nobody else can work


class RowNumbers:
    """Where each id of a column is. The ids stay in Arrow; here are their hashes, sorted."""

    def __init__(self, ids: pa.ChunkedArray) -> None:
        # To combine copies, be it one chunk alone.
        self._ids = ids.chunk(0) if ids.num_chunks == 1 else ids.combine_chunks()
        hashes = np.empty(len(ids), np.int64)
        for start in range(0, len(ids), PART):
            names = ids[start : start + PART].to_pylist()
            hashes[start : start + PART] = np.fromiter(map(hash, names), np.int64, len(names))
        order = np.argsort(hashes, kind="stable").astype(np.int32)
        # Views, as one number of a NumPy array is slow to come by.
        self._rows, self._hashes = order.data, hashes[order].data

    def find(self, item_id: str) -> int | None:
        """The row of this id."""
        wanted = hash(item_id)
        # NumPy's own search lets go of the interpreter, and under load waits to get it back.
        place = bisect_left(self._hashes, wanted)
        while place < len(self._hashes) and self._hashes[place] == wanted:
            row = self._rows[place]
            if self._ids[row].as_py() == item_id:
                return row
            place += 1
        return None
