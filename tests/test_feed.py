"""The feed contract: what a good row becomes, and the one reason of each bad row."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BadInput
from pipelines.cells import PARSERS, Unparsable, attributes, box, flag, moment, number, text
from pipelines.feed import FEED, REASONS, check
from pipelines.tables import MALFORMED, read_table, to_frame

GOOD = {"item_id": "a", "image": "a.jpg", "category": "Home > Lamps"}
FULL = {
    "item_id": "a",
    "product_id": "p",
    "image": "a.jpg",
    "category": "Home > Lamps",
    "title": "Lamp",
    "brand": "Lux",
    "attributes": [("colour", "red")],
    "price": 9.5,
    "currency": "EUR",
    "in_stock": False,
    "updated_at": datetime(2026, 11, 20, 1, 2, 3, 456789, UTC),
    "deleted": False,
    "box": [1, 2, 3, 4],
    "kind": "wild",
    "split": "test",
}
CELLS = st.one_of(
    st.none(),
    st.text(),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.lists(st.one_of(st.integers(), st.text(), st.none()), max_size=5),
    st.dictionaries(st.text(), st.text(), max_size=3),
)


def frame(*rows: Mapping[str, object]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), index=range(1, len(rows) + 1), dtype=object)


def reasons(*rows: Mapping[str, object], known: frozenset[str] | None = None) -> list[object]:
    refused = check(frame(*rows), known=known).refused
    return list(zip(refused["row"].to_pylist(), refused["reason"].to_pylist(), strict=True))


def test_a_row_with_the_required_columns_gets_the_defaults() -> None:
    checked = check(frame(GOOD))
    assert checked.rows.to_pylist() == [
        {
            **dict.fromkeys(FEED.names),
            **GOOD,
            "product_id": "a",
            "in_stock": True,
            "deleted": False,
            "kind": "catalogue",
        }
    ]
    assert checked.refused.to_pylist() == []


def test_a_full_row_stays_as_it_is() -> None:
    table = pa.Table.from_pylist([FULL], schema=FEED)
    assert check(to_frame(table)).rows.equals(table)


def test_an_empty_feed_has_the_schema() -> None:
    checked = check(pd.DataFrame(columns=["item_id", "image", "category"], dtype=object))
    assert (checked.rows.schema, len(checked.rows)) == (FEED, 0)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"item_id": None}, "missing_item_id"),
        ({"item_id": " "}, "missing_item_id"),
        ({"item_id": "x" * 257}, "bad_item_id"),
        ({"item_id": "a\nb"}, "bad_item_id"),
        ({"image": ""}, "missing_image"),
        ({"category": " > "}, "missing_category"),
        ({"category": "Home > Lamps > home"}, "cyclic_category"),
        ({"category": "Home > Sofas"}, "unknown_category"),
        ({"price": "nine"}, "bad_price"),
        ({"price": -1}, "bad_price"),
        ({"price": float("inf")}, "bad_price"),
        ({"price": True}, "bad_price"),
        ({"box": [1, 2, 3]}, "bad_box"),
        ({"box": [1, 2, 0, 4]}, "bad_box"),
        ({"box": [1, 2, 3, 2**31]}, "bad_box"),
        ({"box": "[1, 2"}, "bad_box"),
        ({"box": [1, 2, 3, None]}, "bad_box"),
        ({"kind": "studio"}, "bad_kind"),
        ({"split": "none"}, "bad_split"),
        ({"attributes": "red"}, "bad_attributes"),
        ({"attributes": [1, 2]}, "bad_attributes"),
        ({"in_stock": "maybe"}, "bad_in_stock"),
        ({"deleted": "maybe"}, "bad_deleted"),
        ({"updated_at": "yesterday"}, "bad_updated_at"),
        ({"updated_at": 1700000000}, "bad_updated_at"),
    ],
)
def test_a_bad_row_is_refused_and_the_next_goes_on(bad: dict[str, object], reason: str) -> None:
    known = frozenset({"Home", "Home > Lamps"})
    checked = check(frame({**GOOD, **bad}, {**GOOD, "item_id": "b"}), known=known)
    assert checked.rows["item_id"].to_pylist() == ["b"]
    assert checked.refused.select(["row", "reason"]).to_pylist() == [{"row": 1, "reason": reason}]


def test_every_reason_has_a_text_and_a_test() -> None:
    assert set(REASONS) == {
        "malformed_row",
        "missing_item_id",
        "bad_item_id",
        "duplicate_item_id",
        "missing_image",
        "missing_category",
        "cyclic_category",
        "bad_price",
        "bad_box",
        "bad_kind",
        "bad_split",
        "bad_attributes",
        "bad_in_stock",
        "bad_deleted",
        "bad_updated_at",
        "unknown_category",
        "bad_suffix",
    }


def test_the_detail_says_what_was_expected_and_received() -> None:
    refused = check(frame({**GOOD, "price": "nine"}, {**GOOD, "image": None})).refused
    assert refused.to_pylist() == [
        {
            "row": 1,
            "item_id": "a",
            "reason": "bad_price",
            "detail": "price: expected a number, 0 or more; received 'nine'",
        },
        {
            "row": 2,
            "item_id": "a",
            "reason": "duplicate_item_id",
            "detail": "item_id: expected an id that no earlier row has; received 'a'",
        },
    ]


def test_the_first_of_two_rows_with_an_id_stays() -> None:
    checked = check(frame({**GOOD, "title": "one"}, {**GOOD, "title": "two"}))
    assert checked.rows["title"].to_pylist() == ["one"]


def test_rows_without_an_id_are_no_duplicates_of_each_other() -> None:
    nameless = {**GOOD, "item_id": None}
    assert reasons(nameless, nameless, GOOD) == [(1, "missing_item_id"), (2, "missing_item_id")]


def test_a_row_with_several_faults_has_one_reason() -> None:
    assert reasons({"item_id": "a", "image": None, "category": "A > A", "price": "x"}, GOOD) == [
        (1, "missing_image"),
        (2, "duplicate_item_id"),
    ]


def test_a_deleted_row_needs_only_its_id() -> None:
    checked = check(
        frame({"item_id": "a", "image": None, "category": "?", "price": "x", "deleted": True}),
        known=frozenset({"Home"}),
    )
    assert checked.refused.to_pylist() == []
    assert checked.rows.select(["item_id", "deleted", "image", "category"]).to_pylist() == [
        {"item_id": "a", "deleted": True, "image": None, "category": None}
    ]


def test_a_deleted_row_keeps_its_time_and_needs_no_good_one() -> None:
    """What is changed live after it counts."""
    gone = {"image": None, "category": None, "deleted": True, "updated_at": "2026-11-21T09:00:00Z"}
    checked = check(frame({"item_id": "a", **gone}, {"item_id": "b", **gone, "updated_at": "soon"}))
    assert checked.refused.to_pylist() == []
    assert checked.rows["updated_at"].to_pylist() == [datetime(2026, 11, 21, 9, tzinfo=UTC), None]


def test_a_missing_required_column_is_named() -> None:
    with pytest.raises(BadInput, match="required columns image, category.*item_id, price.*Add"):
        check(frame({"item_id": "a", "price": 1}))


def test_csv_cells_are_coerced(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_text(
        "\ufeffitem_id, image,category,price,box,attributes,in_stock,updated_at,brand\n"
        '007,a.jpg,Home>Lamps,9.50,"[1,2,3,4]","{""size"": 3, ""gap"": null}",no,'
        "2026-11-20T02:00:00+01:00,\n"
        "\n"
        "8,b.jpg,Home > Lamps\n"
        "9,c.jpg,Home > Lamps,nine,,,,,\n"
    )
    checked = check(read_table(path))
    assert checked.rows.to_pylist() == [
        {
            **dict.fromkeys(FEED.names),
            "item_id": "007",
            "product_id": "007",
            "image": "a.jpg",
            "category": "Home > Lamps",
            "attributes": [("size", "3")],
            "price": 9.5,
            "in_stock": False,
            "updated_at": datetime(2026, 11, 20, 1, tzinfo=UTC),
            "deleted": False,
            "box": [1, 2, 3, 4],
            "kind": "catalogue",
        }
    ]
    assert checked.refused.select(["row", "item_id", "reason"]).to_pylist() == [
        {"row": 2, "item_id": None, "reason": "malformed_row"},
        {"row": 3, "item_id": "9", "reason": "bad_price"},
    ]


def test_json_lines_may_name_other_columns_each(tmp_path: Path) -> None:
    path = tmp_path / "feed.jsonl"
    rows = [GOOD, {**GOOD, "item_id": 2, "price": 3}, {**GOOD, "item_id": 3, "price": "x"}]
    lines = [*map(json.dumps, rows), "", "{broken", "[1]", '{"item_id": "\\ud800"}']
    path.write_text("\n".join(lines))
    checked = check(read_table(path))
    assert checked.rows.select(["item_id", "price"]).to_pylist() == [
        {"item_id": "a", "price": None},
        {"item_id": "2", "price": 3.0},
    ]
    assert checked.refused.select(["row", "item_id", "reason"]).to_pylist() == [
        {"row": 3, "item_id": "3", "reason": "bad_price"},
        {"row": 4, "item_id": None, "reason": "malformed_row"},
        {"row": 5, "item_id": None, "reason": "malformed_row"},
        {"row": 6, "item_id": "?", "reason": "missing_image"},
    ]


def test_parquet_types_are_kept_and_null_columns_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "ds=2026-11-20" / "feed.parquet"
    path.parent.mkdir()
    table = pa.table(
        {
            "item_id": pa.array([1, None, 3]),
            "image": ["a.jpg", "b.jpg", "c.jpg"],
            "category": ["A", "B", "C"],
            "price": pa.array([Decimal("1.50"), None, Decimal("-2.00")]),
            "updated_at": pa.array([date(2026, 11, 20)] * 3),
            "brand": pa.nulls(3),
        }
    )
    pq.write_table(table, path)
    checked = check(read_table(path))
    names = ["item_id", "price", "updated_at", "brand"]
    assert checked.rows.select(names).to_pylist() == [
        {
            "item_id": "1",
            "price": 1.5,
            "updated_at": datetime(2026, 11, 20, tzinfo=UTC),
            "brand": None,
        }
    ]
    assert checked.refused["reason"].to_pylist() == ["missing_item_id", "bad_price"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("feed.xlsx", b"", "Unknown kind of table.*csv.*Export"),
        ("feed.csv", b"a,a\n1,2\n", "names a column twice.*Received: a, a"),
        ("feed.csv", b"item_id\n\xff\xfe\n", "Expected .csv in UTF-8"),
        ("feed.csv", b'item_id\n"open\n', "Cannot read"),
        ("feed.parquet", b"PAR0", "Cannot read"),
        ("feed.jsonl", b"\xff\n", "Cannot read"),
    ],
)
def test_a_file_that_is_no_table_is_bad_input(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadInput, match=message):
        read_table(tmp_path / name)


def test_a_missing_table_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no table at"):
        read_table(tmp_path / "feed.csv")


def test_an_empty_csv_names_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "feed.csv").write_text("")
    with pytest.raises(BadInput, match="item_id, product_id, image, category.*Received: no column"):
        check(read_table(tmp_path / "feed.csv"))


def test_a_broken_line_is_kept_for_the_report(tmp_path: Path) -> None:
    (tmp_path / "feed.csv").write_text("item_id,image\na\n")
    assert read_table(tmp_path / "feed.csv")[MALFORMED].tolist() == ["a"]


@given(CELLS)
def test_no_cell_breaks_a_parser(cell: object) -> None:
    for name, parser in PARSERS.items():
        value = parser(cell)
        if value is not None and not isinstance(value, Unparsable):
            pa.array([value], FEED.field(name).type)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_its_text(value: float) -> None:
    assert number(repr(value)) == value


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_survives_its_text(value: datetime) -> None:
    assert moment(value.isoformat()) == value


@given(st.lists(st.integers(1, 2**31 - 1), min_size=4, max_size=4))
def test_a_box_survives_its_text(value: list[int]) -> None:
    assert box(json.dumps(value)) == value


def test_cells_that_mean_the_same() -> None:
    assert [flag(cell) for cell in (True, "TRUE", "yes", 1, "0", False)] == [True] * 4 + [False] * 2
    assert attributes({"b": [1], "a": "x"}) == [("a", "x"), ("b", "[1]")]
    assert (text(" a "), text(7), text(float("nan"))) == ("a", "7", None)
    assert moment("2026-11-20") == moment("2026-11-20T00:00:00Z") == moment(date(2026, 11, 20))
