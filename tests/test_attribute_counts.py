"""Counts of attributes are those of a count by hand, whatever came and went."""

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import attribute_counts
from serving.attribute_counts import AttributeCounts

MAP = pa.map_(pa.string(), pa.string())
ITEM = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["x", "y", "z"]), max_size=3)


def column(rows: list[dict[str, str]]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array([list(row.items()) or None for row in rows], MAP)])


def by_hand(rows: list[dict[str, str]]) -> list[dict[str, object]]:
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        for name, value in row.items():
            counts.setdefault(name, Counter())[value] += 1
    names = sorted(counts, key=lambda name: (-counts[name].total(), name))
    return [
        {
            "name": name,
            "values": [
                {"name": value, "count": count}
                for value, count in sorted(counts[name].items(), key=lambda one: (-one[1], one[0]))
            ],
        }
        for name in names
    ]


@given(st.lists(ITEM, max_size=9), st.lists(ITEM, max_size=5), st.data())
def test_items_come_and_go(
    first: list[dict[str, str]], later: list[dict[str, str]], data: st.DataObject
) -> None:
    counts = AttributeCounts(column(first))
    for row in later:
        counts.add(row)
    rows = first + later
    places = st.sets(st.integers(0, max(len(rows) - 1, 0)))
    gone = data.draw(places) if rows else set()
    for place in gone:
        counts.remove(rows[place])
    stay = [row for place, row in enumerate(rows) if place not in gone]
    assert counts.commonest() == by_hand(stay)


def test_a_part_of_a_table_counts_its_own_rows() -> None:
    rows = [{"a": str(n % 3)} for n in range(9)]
    whole = pa.chunked_array([*column(rows).chunks, *column([{}, {"b": "x"}]).chunks])
    assert AttributeCounts(whole.slice(7)).commonest() == by_hand([*rows[7:], {"b": "x"}])


def test_a_table_without_attributes_has_those_that_come() -> None:
    counts = AttributeCounts(pa.chunked_array([pa.nulls(3)]))
    assert counts.commonest() == []
    counts.add({"a": "x"})
    assert counts.commonest() == by_hand([{"a": "x"}])


def test_the_commonest_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribute_counts, "NAMES", 2)
    monkeypatch.setattr(attribute_counts, "VALUES", 1)
    rows = [{"a": "x", "b": "x"}, {"a": "y", "b": "y", "c": "x"}, {"a": "y"}]
    assert AttributeCounts(column(rows)).commonest() == [
        {"name": "a", "values": [{"name": "y", "count": 2}]},
        {"name": "b", "values": [{"name": "x", "count": 1}]},
    ]


@pytest.mark.parametrize("come_later", [False, True])
def test_what_names_each_item_is_nothing_to_filter_by(
    monkeypatch: pytest.MonkeyPatch, come_later: bool
) -> None:
    """Also once some of its items went: it may come back to so many at any time."""
    monkeypatch.setattr(attribute_counts, "MAX_VALUES", 3)
    rows = [{"gtin": str(n), "colour": "red"} for n in range(4)]
    counts = AttributeCounts(column([] if come_later else rows))
    for row in rows if come_later else ():
        counts.add(row)
    colour = {"name": "colour", "values": [{"name": "red", "count": 4}]}
    assert counts.commonest() == [colour]
    if not come_later:
        counts.remove({"gtin": "0"})
        assert counts.commonest() == [colour]
