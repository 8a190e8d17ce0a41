"""Items after any changes, against a list of rows."""

import json
import threading
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.filters import EVERY, Filter
from serving.item import Item
from serving.items import CACHED_FILTERS, Items, UnknownItem
from serving.shown import SHOWN, with_heads

PATHS = ("Home", "Home > Rugs", "Home > Rugs > Wool", "Home Rugs", "Toys")
BRANDS = ("Norrby", "Aldi", "Ü")
words = st.sampled_from(["red", "blue", ""])

facts = st.fixed_dictionaries(
    {
        "product_id": st.sampled_from(["p0", "p1", "p2"]),
        "title": st.none() | st.just("A title"),
        "brand": st.none() | st.sampled_from(BRANDS),
        "category": st.sampled_from(PATHS),
        "price": st.none() | st.sampled_from([0.0, 5.0, 9.5, 100.0]),
        "currency": st.none() | st.sampled_from(["EUR", "SEK"]),
        "in_stock": st.booleans(),
        "attributes": st.dictionaries(st.sampled_from(["colour", "size"]), words, max_size=2),
    }
)
filters = st.builds(
    Filter,
    categories=st.lists(st.sampled_from((*PATHS, "Never")), max_size=2).map(tuple),
    brands=st.lists(st.sampled_from((*BRANDS, "Never")), max_size=2).map(tuple),
    min_price=st.none() | st.sampled_from([0.0, 5.0, 10.0]),
    max_price=st.none() | st.sampled_from([0.0, 9.5, 1000.0]),
    in_stock=st.none() | st.booleans(),
    attributes=st.lists(
        st.tuples(st.sampled_from(["colour", "size", "never"]), words), max_size=2
    ).map(tuple),
    not_product=st.none() | st.sampled_from(["p0", "p3", "id-9", "never"]),
)
changes = st.lists(
    st.tuples(st.sampled_from(["put", "change", "remove"]), st.integers(0, 9), facts), max_size=8
)


def table(rows: list[dict[str, Any]], *, chunks: int = 1, attributes: bool = True) -> pa.Table:
    """As a bundle has it: `rows` named by their number."""
    text = pa.string()
    schema = pa.schema(
        [(name, text) for name in SHOWN[:5]]
        + [("price", pa.float64()), ("currency", text), ("in_stock", pa.bool_())]
        + [("image", text), ("attributes", pa.map_(text, text))]
    )
    named = [
        {
            **row,
            "item_id": f"id-{number}",
            "image": f"{number}.jpg",
            "attributes": list(row["attributes"].items()) or None,
        }
        for number, row in enumerate(rows)
    ]
    size = max(1, -(-len(rows) // chunks))
    parts = [
        pa.Table.from_pylist(named[start : start + size], schema)
        for start in range(0, max(len(rows), 1), size)
    ]
    found = pa.concat_tables(parts)
    return found if attributes else found.drop_columns(["attributes"])


@dataclass(frozen=True)
class Row:
    """What a row is by definition."""

    item_id: str
    facts: dict[str, Any]
    image: str

    def passes(self, wanted: Filter) -> bool:
        facts = self.facts
        price = facts["price"]
        path = facts["category"] + " > "
        return (
            (wanted.in_stock is None or facts["in_stock"] == wanted.in_stock)
            and (
                not wanted.categories
                or any(path.startswith(category + " > ") for category in wanted.categories)
            )
            and (not wanted.brands or facts["brand"] in wanted.brands)
            and (wanted.min_price is None or (price is not None and price >= wanted.min_price))
            and (wanted.max_price is None or (price is not None and price <= wanted.max_price))
            and all(facts["attributes"].get(name) == value for name, value in wanted.attributes)
            and (wanted.not_product is None or facts["product_id"] != wanted.not_product)
        )

    @property
    def shown(self) -> dict[str, Any]:
        facts = {name: value for name, value in self.facts.items() if name != "attributes"}
        return {"item_id": self.item_id, **facts}


class Model:
    """The same items as a list of rows and a dict of ids."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = [Row(f"id-{n}", facts, f"{n}.jpg") for n, facts in enumerate(rows)]
        self.live = {row.item_id: number for number, row in enumerate(self.rows)}

    def change(self, items: Items, kind: str, number: int, facts: dict[str, Any]) -> None:
        """The same change to both, as the engine makes it."""
        item_id = f"id-{number}"
        row = self.live.get(item_id)
        if kind == "remove":
            self.live.pop(item_id, None)
            items.point(item_id, None)
        elif kind == "change" and row is not None:
            self.rows[row] = replace(self.rows[row], facts=facts)
            items.put(row, Item(item_id=item_id, **facts))
        else:
            image = f"new-{len(self.rows)}.jpg"
            self.live[item_id] = len(self.rows)
            self.rows.append(Row(item_id, facts, image))
            items.put(len(items), Item(item_id=item_id, **facts), image)
            items.point(item_id, len(items) - 1)

    def facets(self) -> dict[str, Any]:
        there = [self.rows[row].facts for row in self.live.values()]
        prices = [facts["price"] for facts in there if facts["price"] is not None]

        def counts(name: str) -> dict[str, int]:
            values = [facts[name] for facts in there if facts[name] is not None]
            return {value: values.count(value) for value in values}

        return {
            "categories": counts("category"),
            "brands": counts("brand"),
            "currencies": counts("currency"),
            "attributes": {
                name: dict(Counter(each["attributes"][name] for each in having))
                for name in ("colour", "size")
                if (having := [each for each in there if name in each["attributes"]])
            },
            "price": {"least": min(prices, default=None), "most": max(prices, default=None)},
        }


def unordered(facets: dict[str, Any]) -> dict[str, Any]:
    """Once they are found to be the commonest first."""
    found = {"price": facets["price"]}
    for name in ("categories", "brands", "currencies"):
        found[name] = counts_of(facets[name])
    found["attributes"] = {each["name"]: counts_of(each["values"]) for each in facets["attributes"]}
    return found


def counts_of(values: list[dict[str, Any]]) -> dict[str, int]:
    counts = [each["count"] for each in values]
    assert counts == sorted(counts, reverse=True)
    return {each["name"]: each["count"] for each in values}


@settings(max_examples=150)
@given(
    st.lists(facts, max_size=6),
    changes,
    st.lists(filters, min_size=1, max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_after_any_changes_it_is_what_a_list_of_rows_is(
    rows: list[dict[str, Any]],
    changes: list[tuple[str, int, Any]],
    asked: list[Filter],
    twice: bool,
    has_heads: bool,
) -> None:
    bundled = table(rows, chunks=2)
    items, model = Items(with_heads(bundled) if has_heads else bundled), Model(rows)
    for change in [None, *changes]:
        if change is not None:
            model.change(items, *change)
        n = len(model.rows)
        assert len(items) == n
        for wanted in asked * (1 + twice):
            mask = items.allowed(wanted)
            if wanted == EVERY:
                assert mask is None
            else:
                assert mask is not None
                assert (mask.tolist(), mask.dtype) == ([r.passes(wanted) for r in model.rows], bool)
        assert [items.shown(row) for row in range(n)] == [row.shown for row in model.rows]
        assert [json.loads(items.encoded(row)) for row in range(n)] == [
            row.shown for row in model.rows
        ]
        assert [items.item(row).model_dump() for row in range(n)] == [
            row.shown | {"attributes": row.facts["attributes"]} for row in model.rows
        ]
        assert [items.image(row) for row in range(n)] == [row.image for row in model.rows]
        assert [items.find(f"id-{number}") for number in range(11)] == [
            model.live.get(f"id-{number}") for number in range(11)
        ]
        assert unordered(items.facets(100)) == model.facets()


FACTS = {
    "product_id": "p0",
    "title": "A title",
    "brand": "Norrby",
    "category": "Home > Rugs",
    "price": 5.0,
    "currency": "EUR",
    "in_stock": True,
    "attributes": {"colour": "red"},
}
RED = Filter(attributes=(("colour", "red"),))


def test_an_unknown_id_is_named() -> None:
    items = Items(table([FACTS]))
    items.point("id-0", None)
    for name in ("id-0", "id-1", ""):
        with pytest.raises(UnknownItem) as caught:
            items.row(name)
        assert str(caught.value) == (
            f"No item {name!r} in the catalogue. Expected the `item_id` of one in it."
        )


def test_an_item_without_a_product_is_shown_as_its_own() -> None:
    items = Items(table([]))
    items.put(0, Item(item_id="new", category="Home"), "n.jpg")
    assert items.shown(0)["product_id"] == "new"
    mask = items.allowed(Filter(not_product="new"))
    assert mask is not None
    assert mask.tolist() == [False]


def test_bundles_from_before_attributes() -> None:
    items = Items(table([FACTS, FACTS], attributes=False))
    assert items.item(1).attributes == {}
    mask = items.allowed(RED)
    assert mask is not None
    assert mask.tolist() == [False, False]
    items.put(1, Item(item_id="id-1", **FACTS))
    changed = items.allowed(RED)
    assert changed is not None
    assert changed.tolist() == [False, True]
    assert items.item(1).attributes == {"colour": "red"}


def test_names_that_no_item_has_take_no_memory() -> None:
    items = Items(table([FACTS]))
    for number in range(100):
        items.allowed(Filter(attributes=((f"name {number}", "red"),)))
    assert (len(items._attributes), len(items._masks)) == (0, CACHED_FILTERS)


def test_a_filter_that_is_asked_again_and_again_is_kept() -> None:
    items = Items(table([FACTS]))
    held = items.allowed(RED)
    for number in range(2 * CACHED_FILTERS):
        items.allowed(Filter(not_product=str(number)))
        assert items.allowed(RED) is held


def test_facets_name_the_commonest_brands() -> None:
    brands = ["a", "b", "b", "c", "c", "c", None]
    items = Items(table([{**FACTS, "brand": brand} for brand in brands]))
    assert items.facets(2)["brands"] == [{"name": "c", "count": 3}, {"name": "b", "count": 2}]
    assert items.facets(1)["brands"] == [{"name": "c", "count": 3}]
    assert items.facets(2) is items.facets(2)  # counted once


def test_readers_see_each_item_before_or_after_a_change_and_never_between() -> None:
    """All of an item changes at once; a filter of both halves finds it never."""
    one = {**FACTS, "brand": "Norrby", "price": 5.0}
    other = {**FACTS, "brand": "Aldi", "price": 100.0}
    items, ended, faults = Items(table([one] * 50)), threading.Event(), []
    neither = (Filter(brands=("Norrby",), min_price=50), Filter(brands=("Aldi",), max_price=50))

    def read() -> None:
        while not ended.is_set():
            for wanted in neither:
                mask = items.allowed(wanted)
                if mask is None or mask.any():
                    faults.append(wanted)
            for shown in map(items.shown, range(50)):
                if (shown["brand"] == "Aldi") != (shown["price"] == 100.0):
                    faults.append(shown)
            facets = items.facets(5)
            if sum(each["count"] for each in facets["categories"]) not in (49, 50):
                faults.append(facets)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(600):
        item_id = f"id-{number % 50}"
        changed = Item(item_id=item_id, **(other, one)[number // 50 % 2])
        if number % 3:
            items.put(items.row(item_id), changed)
        else:
            row = len(items)
            items.put(row, changed, "new.jpg")
            items.point(item_id, row)
    ended.set()
    for reader in readers:
        reader.join()
    assert faults == []
    assert np.flatnonzero(items._stand.values).tolist() == sorted(
        items.row(f"id-{number}") for number in range(50)
    )
