"""Arrays kept by the content they were made from, in immutable Arrow shards.

    <folder>/<shard>.arrow    key: binary(32), value: binary(shape and dtype of the store)

A shard is written beside its place and renamed, and its name is a digest of its keys: a run that
is killed leaves whole shards only, and the next run finds them. Shards are memory-mapped.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from model.errors import BadInput


@dataclass(frozen=True)
class ContentStore:
    """Arrays of one shape and dtype, found by hex keys of 32 bytes."""

    folder: Path
    shape: tuple[int, ...]
    dtype: str

    @property
    def value_bytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    def path(self, shard: str) -> Path:
        return self.folder / f"{shard}.arrow"

    def write(self, shard: str, keys: Sequence[str], values: npt.NDArray[Any]) -> None:
        """Write `values` [keys, *shape] as one shard; atomic. Raises BadInput for another shape."""
        if values.shape != (len(keys), *self.shape):
            raise BadInput(
                f"These arrays are not of this store. Expected {(len(keys), *self.shape)}. "
                f"Received: {values.shape}."
            )
        data = np.ascontiguousarray(values, self.dtype).tobytes()
        table = pa.table(
            {
                "key": pa.array([bytes.fromhex(key) for key in keys], pa.binary(32)),
                "value": pa.FixedSizeBinaryArray.from_buffers(
                    pa.binary(self.value_bytes), len(keys), [None, pa.py_buffer(data)]
                ),
            }
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        staged = self.folder / f".{shard}.{os.getpid()}"
        try:
            with pa.OSFile(str(staged), "wb") as sink, pa.ipc.new_file(sink, table.schema) as file:
                file.write_table(table)
            with staged.open("rb") as written:
                os.fsync(written.fileno())
            staged.replace(self.path(shard))
        finally:
            staged.unlink(missing_ok=True)

    def read(self, shard: str) -> tuple[list[str], npt.NDArray[Any]]:
        """Keys and values [keys, *shape] of a shard; the values are a view of the file."""
        with pa.memory_map(str(self.path(shard))) as source:
            table = pa.ipc.open_file(source).read_all().combine_chunks()
        keys = [key.hex() for key in table["key"].to_pylist()]
        if not keys:
            return [], np.empty((0, *self.shape), self.dtype)
        column = table["value"].chunk(0)
        if column.type.byte_width != self.value_bytes:
            raise BadInput(
                f"Shard {shard} holds arrays of another shape. Expected {self.value_bytes} bytes "
                f"each. Found: {column.type.byte_width}."
            )
        values = np.frombuffer(column.buffers()[1], self.dtype).reshape(-1, *self.shape)
        return keys, values[column.offset : column.offset + len(keys)]

    def keys(self, shard: str) -> list[str]:
        """Of a shard, without its values."""
        with pa.memory_map(str(self.path(shard))) as source:
            return [key.hex() for key in pa.ipc.open_file(source).read_all()["key"].to_pylist()]

    def view(self, shards: Iterable[str], keys: Sequence[str]) -> "View":
        """The values of `keys` in their order, left on the disk. Raises BadInput for a lost key."""
        place: dict[str, tuple[int, int]] = {}
        wanted, arrays = set(keys), []
        for number, shard in enumerate(shards):
            names, values = self.read(shard)
            arrays.append(values)
            place.update((name, (number, row)) for row, name in enumerate(names) if name in wanted)
        lost = wanted - place.keys()
        if lost:
            raise BadInput(
                f"{len(lost)} of {len(wanted)} keys are in no shard of {self.folder.name}, such "
                f"as {min(lost)[:16]}. Run the step that writes them again."
            )
        places = np.array([place[key] for key in keys], np.int64).reshape(-1, 2)
        return View(arrays, places, (len(keys), *self.shape), np.dtype(self.dtype))


@dataclass(frozen=True)
class View:
    """An array over memory-mapped shards; indexing it copies the rows asked for."""

    arrays: list[npt.NDArray[Any]]
    places: npt.NDArray[np.int64]  # [n, 2]: shard, row
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: npt.NDArray[Any] | slice) -> npt.NDArray[Any]:
        places = self.places[rows]
        found = np.empty((len(places), *self.shape[1:]), self.dtype)
        for shard in np.unique(places[:, 0]):
            mine = places[:, 0] == shard
            found[mine] = self.arrays[shard][places[mine, 1]]
        return found


def shard_name(keys: Sequence[str]) -> str:
    return hashlib.sha256("".join(keys).encode()).hexdigest()[:24]
