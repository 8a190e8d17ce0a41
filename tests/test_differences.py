"""Rows that two tables share, and what is other in them."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.differences import Pair, leaf_precision, recall_of, rival

ROWS = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.tuples(
        st.one_of(st.none(), st.sampled_from([1.0, 2.0, float("nan")])),
        st.one_of(st.none(), st.sampled_from(["x", "y"])),
    ),
)


def table(rows: dict[str, tuple[float | None, str | None]]) -> pa.Table:
    columns = {
        "item_id": pa.array([*rows], pa.string()),
        "price": pa.array([price for price, _ in rows.values()], pa.float64()),
        "brand": pa.array([brand for _, brand in rows.values()], pa.string()),
    }
    return pa.table(columns)


def is_other(one: float | None, two: float | None) -> bool:
    """NaN is nothing, as null is."""
    first, second = (None if x is None or x != x else x for x in (one, two))
    return first != second


@given(ROWS, ROWS)
def test_shared_rows_and_other_values_are_counted_as_python_counts_them(
    now: dict[str, tuple[float | None, str | None]],
    was: dict[str, tuple[float | None, str | None]],
) -> None:
    pair = Pair.of(table(now), table(was))
    shared = [name for name in now if name in was]
    assert pair.now["item_id"].to_pylist() == pair.was["item_id"].to_pylist() == shared
    prices = sum(is_other(now[name][0], was[name][0]) for name in shared)
    brands = sum(now[name][1] != was[name][1] for name in shared)
    assert (pair.differing("price"), pair.differing("brand")) == (prices, brands)


def test_a_verdict_without_queries_tells_nothing() -> None:
    verdict = {"slices": [], "rivals": [], "leaf_precision": 1.0}
    assert (recall_of(verdict), leaf_precision(verdict), rival(verdict)) == (None, None, None)


@pytest.mark.parametrize(("name", "recall"), [("all", 0.9), ("wild", 0.8), ("new", None)])
def test_the_recall_of_a_slice(name: str, recall: float | None) -> None:
    slices = [{"slice": "all", "recall": 0.9}, {"slice": "wild", "recall": 0.8}]
    assert recall_of({"slices": slices}, name) == recall
