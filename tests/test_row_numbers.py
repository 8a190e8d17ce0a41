"""From ids to rows: any strings, also those of one hash."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import row_numbers
from serving.row_numbers import RowNumbers

ids = st.lists(st.text(max_size=6), max_size=40)


def first_rows(names: list[str]) -> dict[str, int]:
    return {name: row for row, name in reversed([*enumerate(names)])}


def chunked(names: list[str], part: int = 7) -> pa.ChunkedArray:
    parts = [names[start : start + part] for start in range(0, len(names), part)]
    return pa.chunked_array([pa.array(each, pa.string()) for each in parts], pa.string())


@given(ids, ids)
def test_each_id_has_its_first_row_and_others_none(names: list[str], others: list[str]) -> None:
    found, expected = RowNumbers(chunked(names)), first_rows(names)
    assert [found.find(name) for name in [*names, *others]] == [
        expected.get(name) for name in [*names, *others]
    ]


@given(ids, ids, st.integers(1, 3))
def test_ids_of_one_hash_are_told_apart(names: list[str], others: list[str], n: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_numbers, "hash", lambda name: len(name) % n - 1, raising=False)
        found, expected = RowNumbers(chunked(names)), first_rows(names)
        for name in [*names, *others]:
            assert found.find(name) == expected.get(name)


@pytest.mark.parametrize("hashed", [-(2**63), -1, 0, 2**63 - 1])
def test_the_least_and_greatest_hash(monkeypatch: pytest.MonkeyPatch, hashed: int) -> None:
    monkeypatch.setattr(row_numbers, "hash", lambda _: hashed, raising=False)
    found = RowNumbers(chunked(["a", "b", "c"]))
    assert [found.find(name) for name in ("a", "b", "c", "d")] == [0, 1, 2, None]


def test_many_in_parts_and_twelve_bytes_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_numbers, "PART", 1000)
    names = [f"item-{number}" for number in range(5500)]
    found = RowNumbers(chunked(names, 999))
    assert [found.find(name) for name in names] == list(range(5500))
    assert [found.find(name) for name in ("item-5500", "", "\ud800")] == [None] * 3
    held = [each for each in vars(found).values() if isinstance(each, memoryview)]
    assert sum(each.nbytes for each in held) == 12 * 5500


def test_ids_of_one_chunk_are_not_copied() -> None:
    names = chunked([f"item-{number}" for number in range(5500)], 5500)
    before = pa.total_allocated_bytes()
    found = RowNumbers(names)
    assert pa.total_allocated_bytes() == before
    assert found.find("item-5499") == 5499
