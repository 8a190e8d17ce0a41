"""Columns in memory that grow: numbers, and words as numbers. One writes, many read."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Number = TypeVar("Number", bound=np.generic)
NOTHING = -1

Mask = npt.NDArray[np.bool_]


class Numbers(Generic[Number]):
    """An array whose last row may be followed by another."""

    def __init__(self, values: npt.NDArray[Number]) -> None:
        self._room = values
        self._n = len(values)

    def __len__(self) -> int:
        return self._n

    @property
    def values(self) -> npt.NDArray[Number]:
        """[n]"""
        return self._room[: self._n]

    def put(self, row: int, value: Any) -> None:
        """Set a row that is there, or the one after the last."""
        if row == len(self._room):
            room = np.empty(2 * row + 1024, self._room.dtype)
            room[:row] = self._room
            self._room = room
        self._room[row] = value
        self._n = max(self._n, row + 1)


class Words:
    """A word or nothing for each row, as the number of the word."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        coded = column.combine_chunks().dictionary_encode()
        self.words: list[str] = coded.dictionary.to_pylist()
        self._number = {word: number for number, word in enumerate(self.words)}
        codes = pc.fill_null(coded.indices, NOTHING).to_numpy(zero_copy_only=False)
        self.codes = Numbers(codes.astype(np.int32))

    def put(self, row: int, word: str | None) -> None:
        self.codes.put(row, NOTHING if word is None else self._learn(word))

    def _learn(self, word: str) -> int:
        number = self._number.setdefault(word, len(self.words))
        if number == len(self.words):
            self.words.append(word)
        return number

    def at(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """The numbers of these rows' words; equal words have equal numbers."""
        found: npt.NDArray[np.int32] = self.codes.values[rows]
        return found

    def equal(self, words: tuple[str, ...]) -> Mask:
        """bool [n]: whose word is one of these."""
        wanted = [self._number[word] for word in words if word in self._number]
        return np.isin(self.codes.values, wanted)

    def where(self, holds: Callable[[str], bool]) -> Mask:
        """bool [n]: whose word is such a one. Each word is looked at once."""
        codes = self.codes.values
        found = np.array([*map(holds, self.words), False])  # the last is that of NOTHING
        mask: Mask = found[codes]
        return mask
