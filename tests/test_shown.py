"""Items told as JSON: what is put together from bytes says what the table says."""

import gc
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import shown
from serving.shown import COLUMN, SHOWN, Heads, answer, facts_of, head, with_heads, without_score

SCHEMA = pa.schema(
    [(name, pa.string()) for name in SHOWN[:5]]
    + [("price", pa.float64()), ("currency", pa.string()), ("in_stock", pa.bool_())]
    + [("image", pa.string())]
)
AWKWARD = ('"', "\\", '","score":1}', "%s%b", "line\nbreak\0", "\u2028", "Stühle 🪑", "\x7f", "")
texts = st.text(max_size=8) | st.sampled_from(AWKWARD)
items = st.fixed_dictionaries(
    {
        "item_id": texts,
        "product_id": texts,
        "title": st.none() | texts,
        "brand": st.none() | texts,
        "category": texts,
        "price": st.none() | st.floats(0, allow_infinity=False),
        "currency": st.none() | texts,
        "in_stock": st.booleans(),
        "image": texts,  # not told
    }
)
scores = st.floats(-1, 1, width=32)


def told(item: dict[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in SHOWN}


def plain(count: int) -> list[dict[str, Any]]:
    """Items that are all unlike each other, with awkward text."""
    return [
        {
            **dict.fromkeys(SCHEMA.names, AWKWARD[number % len(AWKWARD)]),
            "item_id": f"id-{number}",
            "brand": None,
            "price": number / 7,
            "in_stock": number % 2 == 0,
        }
        for number in range(count)
    ]


def table(rows: list[dict[str, Any]], chunk: int = 1000) -> pa.Table:
    parts = [rows[start : start + chunk] for start in range(0, len(rows), chunk)]
    return pa.concat_tables(pa.Table.from_pylist(part, SCHEMA) for part in parts or [[]])


def mapped(written: pa.Table, path: Path, chunk: int | None = None) -> pa.Table:
    """The table as an engine reads it from a bundle."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, written.schema) as writer:
        writer.write_table(written, chunk)
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def read(heads: Heads, count: int) -> list[dict[str, Any]]:
    return [facts_of(heads[row]) for row in range(count)]


@given(st.lists(st.tuples(items, scores), max_size=5))
def test_an_answer_is_json_of_the_facts_and_the_scores(
    found: list[tuple[dict[str, Any], float]],
) -> None:
    heads = [head(item) for item, _ in found]
    assert json.loads(answer(heads, [score for _, score in found])) == [
        told(item) | {"score": round(score, 4)} for item, score in found
    ]
    assert [json.loads(without_score(each)) for each in heads] == [told(item) for item, _ in found]
    assert [facts_of(each) for each in heads] == [told(item) for item, _ in found]


def test_an_answer_byte_for_byte() -> None:
    item = {**plain(2)[1], "title": 'A "title"', "category": "Home > Rügs", "price": 0.5}
    item |= {"product_id": "p", "currency": "EUR"}
    facts = (
        '{"item_id":"id-1","product_id":"p","title":"A \\"title\\"","brand":null,'
        '"category":"Home > Rügs","price":0.5,"currency":"EUR","in_stock":false'
    ).encode()
    assert without_score(head(item)) == facts + b"}"
    assert answer([head(item)] * 3, [1.0, 0.98765, -0.5]) == (
        b"[%b]"
        % b",".join(facts + b',"score":' + score for score in (b"1.0000}", b"0.9877}", b"-0.5000}"))
    )
    assert answer([], []) == b"[]"


@given(st.lists(items, max_size=8), st.integers(1, 8), st.booleans(), st.data())
def test_the_heads_of_any_part_of_a_table(
    rows: list[dict[str, Any]], chunk: int, has_column: bool, data: st.DataObject
) -> None:
    """Of one chunk and of several, with the column and without."""
    whole = table(rows, chunk)
    if has_column:
        whole = with_heads(whole)
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    assert read(Heads(whole), len(rows)) == [told(row) for row in rows]
    part = Heads(whole.slice(start, stop - start))
    assert read(part, stop - start) == [told(row) for row in rows[start:stop]]


def test_the_column_is_what_is_read() -> None:
    """The facts beside it are not gathered again."""
    rows = plain(3)
    changed = with_heads(table(rows)).drop_columns(["title"])
    assert read(Heads(changed), 3) == [told(row) for row in rows]


def test_the_column_stands_beside_what_was_there() -> None:
    before = table(plain(3))
    after = with_heads(before)
    assert after.schema.names == [*SCHEMA.names, COLUMN]
    assert after.drop_columns([COLUMN]) == before
    assert after[COLUMN].to_pylist() == [head(row) for row in plain(3)]


@pytest.mark.parametrize("count", [0, 1, 6, 7])
def test_a_table_is_told_part_by_part(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(shown, "PART", 3)
    told_of = with_heads(table(plain(count)))
    assert told_of[COLUMN].num_chunks == -(-count // 3)
    assert read(Heads(told_of), count) == [told(row) for row in plain(count)]


@pytest.mark.parametrize("chunk", [None, 70])
def test_what_is_mapped_outlives_its_table(tmp_path: Path, chunk: int | None) -> None:
    bundled = mapped(with_heads(table(plain(200))), tmp_path / "items.arrow", chunk)
    assert bundled[COLUMN].num_chunks == (1 if chunk is None else 3)
    heads = Heads(bundled)
    del bundled
    gc.collect()
    assert read(heads, 200) == [told(row) for row in plain(200)]


def test_what_is_mapped_is_not_copied(tmp_path: Path) -> None:
    bundled = mapped(with_heads(table(plain(1000))), tmp_path / "items.arrow")
    for whole in (bundled, bundled.slice(100, 800)):
        before = pa.total_allocated_bytes()
        heads = Heads(whole)
        assert pa.total_allocated_bytes() == before
        assert facts_of(heads[799])["item_id"] == whole["item_id"][799].as_py()


@pytest.mark.parametrize("has_column", [True, False])
def test_a_table_of_no_rows(tmp_path: Path, has_column: bool) -> None:
    empty = with_heads(table([])) if has_column else table([])
    for each in (empty, empty.schema.empty_table(), mapped(empty, tmp_path / "items.arrow")):
        heads = Heads(each)
        assert read(heads, len(each)) == []
        with pytest.raises(IndexError):
            heads[0]
