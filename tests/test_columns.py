"""Columns that grow: whatever is put is there, and words are compared by their numbers."""

import threading

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.columns import NOTHING, Numbers, Words

words = st.none() | st.text("ab", max_size=2)
columns = st.lists(words, max_size=12)
# Where to put what: a share of the rows that there are then, up to the one after the last.
puts = st.lists(st.tuples(st.floats(0, 1), words), max_size=12)


def chunked(column: list[str | None], parts: int = 1) -> pa.ChunkedArray:
    """As a file of several batches is read."""
    return pa.chunked_array(
        [pa.array(column[part::parts], pa.string()) for part in range(parts)], pa.string()
    )


@given(st.lists(st.floats(allow_nan=False), max_size=5), puts)
def test_numbers_are_what_was_put(first: list[float], changes: list[tuple[float, object]]) -> None:
    column, expected = Numbers(np.array(first, np.float64)), list(first)
    for number, (share, _) in enumerate(changes):
        row = round(share * len(expected))
        expected[row : row + 1] = [float(number)]
        column.put(row, number)
        assert (len(column), column.values.tolist()) == (len(expected), expected)
    assert column.values.dtype == np.float64


def test_a_column_grows_in_steps_and_keeps_what_is_in_it() -> None:
    column = Numbers(np.arange(3, dtype=np.int32))
    for row in range(3, 5000):
        column.put(row, row)
    np.testing.assert_array_equal(column.values, np.arange(5000, dtype=np.int32))


def test_a_row_that_is_not_the_next_is_refused() -> None:
    column = Numbers(np.arange(3, dtype=np.int32))
    with pytest.raises(IndexError):
        column.put(5, 1)
    assert column.values.tolist() == [0, 1, 2]


@given(columns, puts)
def test_words_are_what_was_put(
    first: list[str | None], changes: list[tuple[float, str | None]]
) -> None:
    column, expected = Words(chunked(first, 2)), [*first[::2], *first[1::2]]
    for share, word in changes:
        row = round(share * len(expected))
        expected[row : row + 1] = [word]
        column.put(row, word)
    n = len(expected)
    codes = column.at(np.arange(n))
    assert [None if code == NOTHING else column.word(int(code)) for code in codes] == expected
    known = list(column)
    assert (len(known), len(set(known))) == (len(column), len(column))
    assert {word for word in expected if word is not None} <= set(known)
    for asked in ((), ("a",), ("a", "b"), ("", "never", "ab"), ("never",)):
        assert column.equal(asked).tolist() == [word in asked for word in expected]
    found = column.where(lambda word: word.startswith("a"))
    assert found.tolist() == [word is not None and word.startswith("a") for word in expected]
    assert (found.dtype, column.equal(("a",)).dtype) == (bool, bool)


def test_equal_words_have_equal_numbers_wherever_they_came_from() -> None:
    column = Words(chunked(["x", None, "y"]))
    for row, word in ((3, "y"), (4, "z"), (5, "z"), (6, "x")):
        column.put(row, word)
    assert column.at(np.arange(7)).tolist() == [0, NOTHING, 1, 1, 2, 2, 0]
    assert list(column) == ["x", "y", "z"]
    assert [column.number(word) for word in ("x", "y", "z", "w")] == [0, 1, 2, None]


def test_each_word_is_looked_at_once() -> None:
    column, seen = Words(chunked(["x", "y", "x", "x"])), []
    column.where(lambda word: bool(seen.append(word)))
    assert seen == ["x", "y"]


def test_readers_get_whole_masks_while_it_grows() -> None:
    column, ended, faults = Words(chunked(["w0"])), threading.Event(), []

    def read() -> None:
        while not ended.is_set():
            for mask in (column.equal(("w0", "w3")), column.where(lambda word: word == "w0")):
                if not mask[0] or mask.sum() > 2:
                    faults.append(mask)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for row in range(1, 3000):
        column.put(row, f"w{row}")
    ended.set()
    for reader in readers:
        reader.join()
    assert faults == []
    assert column.at(np.arange(3000)).tolist() == list(range(3000))
