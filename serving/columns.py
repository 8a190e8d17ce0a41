"""Columns in memory that grow: numbers, and words as numbers. One writes, many read."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from serving.row_numbers import RowNumbers

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
    """A word or nothing for each row, as the number of the word.

    The words of the table stay in Arrow: as many as there are items, as Python strings they would
    take ten times as much. Those that come later are few.
    """

    def __init__(self, column: pa.ChunkedArray) -> None:
        coded = column.combine_chunks().dictionary_encode()
        self._first = coded.dictionary
        self._first_numbers = RowNumbers(pa.chunked_array([self._first]))
        self._later: list[str] = []
        self._later_numbers: dict[str, int] = {}
        codes = pc.fill_null(coded.indices, NOTHING).to_numpy(zero_copy_only=False)
        self.codes = Numbers(codes.astype(np.int32))

    def __len__(self) -> int:
        """How many words there are."""
        return len(self._first) + len(self._later)

    def __iter__(self) -> Iterator[str]:
        """The words, in the order of their numbers."""
        yield from self._first.to_pylist()
        yield from self._later

    def word(self, number: int) -> str:
        first = len(self._first)
        return self._first[number].as_py() if number < first else self._later[number - first]

    def number(self, word: str) -> int | None:
        found = self._later_numbers.get(word)
        return self._first_numbers.find(word) if found is None else found

    def put(self, row: int, word: str | None) -> None:
        self.codes.put(row, NOTHING if word is None else self._learn(word))

    def _learn(self, word: str) -> int:
        number = self.number(word)
        if number is None:
            number = len(self)
            self._later.append(word)
            self._later_numbers[word] = number
        return number

    def at(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """The numbers of these rows' words; equal words have equal numbers."""
        found: npt.NDArray[np.int32] = self.codes.values[rows]
        return found

    def equal(self, words: tuple[str, ...]) -> Mask:
        """bool [n]: whose word is one of these."""
        codes = self.codes.values
        numbers = [n for n in map(self.number, words) if n is not None]
        if len(numbers) == 1:
            same: Mask = codes == numbers[0]
            return same
        found = np.zeros(len(self) + 1, bool)  # the last is that of NOTHING
        found[numbers] = True
        mask: Mask = found[codes]
        return mask

    def where(self, holds: Callable[[str], bool]) -> Mask:
        """bool [n]: whose word is such a one. Each word is looked at once."""
        codes = self.codes.values
        found = np.array([*map(holds, self), False])  # the last is that of NOTHING
        mask: Mask = found[codes]
        return mask
