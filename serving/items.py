"""The items of a bundle and what changed since: by id, by row, and those that a filter allows."""

import random
from collections import Counter
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from model.errors import LookalikeError
from serving.attribute_counts import AttributeCounts
from serving.columns import Mask, Numbers, Words
from serving.filters import EVERY, Filter, within
from serving.item import Item
from serving.row_numbers import RowNumbers
from serving.shown import SHOWN, Facts, Heads, facts_of, head, without_score

CACHED_FILTERS = 16
DRAWN_PER_SHOWN = 5


class UnknownItem(LookalikeError):
    """No item with this id."""


class Items:
    """A table of items, changed and continued row by row. One writes, many read."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table  # of the bundle, whatever changed since
        self._images = table["image"]
        self._rows = RowNumbers(table["item_id"])
        self._live: dict[str, int | None] = {}  # rows of ids that changed; None: gone
        self._changed: dict[int, Item] = {}
        self._photos: dict[int, str] = {}
        self._heads = Heads(table)
        self._changed_heads: dict[int, bytes] = {}
        self.categories = Words(table["category"])
        self.brands = Words(table["brand"])
        self.products = Words(table["product_id"])
        self.currencies = Words(table["currency"])
        self.prices = Numbers(_numbers(table["price"]))
        self.in_stock = Numbers(table["in_stock"].to_numpy().astype(bool))
        self._stand = Numbers(np.ones(table.num_rows, bool))  # rows that stand for an id
        self._attribute_names = _attribute_names(table)
        self._attribute_counts = AttributeCounts(_attribute_maps(table))
        self._attributes: dict[str, Words] = {}
        self._masks: dict[Filter, tuple[int, Mask]] = {}
        self._facets: dict[int, tuple[int, Facts]] = {}
        self._changes = 0
        self._lock = Lock()

    def __len__(self) -> int:
        """Rows that were ever given."""
        return len(self.in_stock)

    def find(self, item_id: str) -> int | None:
        """The row that stands for this id now."""
        if item_id in self._live:
            return self._live[item_id]
        return self._rows.find(item_id)

    def row(self, item_id: str) -> int:
        """Raises UnknownItem."""
        row = self.find(item_id)
        if row is None:
            raise UnknownItem(
                f"No item {item_id!r} in the catalogue. Expected the `item_id` of one in it."
            )
        return row

    def id_of(self, row: int) -> str:
        changed = self._changed.get(row)
        return changed.item_id if changed else str(self.table["item_id"][row].as_py())

    def put(self, row: int, item: Item, image: str | None = None) -> None:
        """What is known of the item in this row from now on; it may be the one after the last.

        `image`: where its photo is, unless it is where it was.
        """
        with self._lock:
            if row < len(self) and self._stand.values[row]:
                self._attribute_counts.remove(self._attributes_at(row))
                self._attribute_counts.add(item.attributes)
            self.categories.put(row, item.category)
            self.brands.put(row, item.brand)
            self.products.put(row, item.product)
            self.currencies.put(row, item.currency)
            self.prices.put(row, item.amount)
            for name, words in self._attributes.items():
                words.put(row, item.attributes.get(name))
            self._attribute_names |= item.attributes.keys()
            if row == len(self):
                self._stand.put(row, False)
            self._changed[row] = item
            if image is not None:
                self._photos[row] = image
            self._changed_heads[row] = head(item.model_dump() | {"product_id": item.product})
            self.in_stock.put(row, item.in_stock)  # the last: it says how many rows there are
            self._changes += 1

    def point(self, item_id: str, row: int | None) -> None:
        """The row that stands for an id from now on; None: no row does."""
        with self._lock:
            former = self.find(item_id)
            self._live[item_id] = row
            if former is not None:
                self._attribute_counts.remove(self._attributes_at(former))
                self._stand.put(former, False)
            if row is not None:
                self._attribute_counts.add(self._attributes_at(row))
                self._stand.put(row, True)
            self._changes += 1

    def item(self, row: int) -> Item:
        """All that is known of it."""
        if row in self._changed:
            return self._changed[row]
        facts = self.table.select(SHOWN).slice(row, 1).to_pylist()[0]
        return Item.model_construct(**facts, attributes=self._attributes_at(row))

    def image(self, row: int) -> str:
        """Where the item's photo is: a path relative to the root, or a URI."""
        return self._photos.get(row) or str(self._images[row].as_py())

    def image_of(self, item_id: str) -> str | None:
        row = self.find(item_id)
        return None if row is None else self.image(row)

    def shown(self, row: int) -> Facts:
        """What an answer tells of it."""
        return facts_of(self.head(row))

    def head(self, row: int) -> bytes:
        """The same as JSON that waits for its score."""
        return self._changed_heads.get(row) or self._heads[row]

    def encoded(self, row: int) -> bytes:
        """The same as JSON."""
        return without_score(self.head(row))

    def sample(self, count: int, seed: str) -> list[Facts]:
        """Items of as many categories as a draw has; the same draw for the same seed."""
        ids = self.table["item_id"]
        draw = random.Random(seed).sample(range(len(ids)), min(len(ids), DRAWN_PER_SHOWN * count))
        rows = [row for row in (self.find(ids[place].as_py()) for place in draw) if row is not None]
        seen: Counter[str] = Counter()
        ranked: list[tuple[int, int, Facts]] = []  # how many of its category came before it
        for place, item in enumerate(map(self.shown, rows)):
            ranked.append((seen[item["category"]], place, item))
            seen[item["category"]] += 1
        return [item for _, _, item in sorted(ranked)[:count]]

    def allowed(self, wanted: Filter) -> Mask | None:
        """bool [rows] of what the filter allows; None where that is all. Not to be changed."""
        if wanted == EVERY:
            return None
        with self._lock:
            held = self._masks.pop(wanted, None)
            if held is None or held[0] != self._changes:
                held = self._changes, self._mask(wanted)
            self._masks[wanted] = held  # the last of them: it was asked for just now
            if len(self._masks) > CACHED_FILTERS:
                self._masks.pop(next(iter(self._masks)))
        return held[1]

    def _mask(self, wanted: Filter) -> Mask:
        masks = []
        if wanted.in_stock is not None:
            masks.append(self.in_stock.values == wanted.in_stock)
        if wanted.categories:
            masks.append(self.categories.where(within(wanted.categories)))
        if wanted.brands:
            masks.append(self.brands.equal(wanted.brands))
        if wanted.min_price is not None:
            masks.append(self.prices.values >= wanted.min_price)
        if wanted.max_price is not None:
            masks.append(self.prices.values <= wanted.max_price)
        for name, value in wanted.attributes:
            masks.append(self._has_attribute(name, value))
        if wanted.not_product is not None:
            masks.append(~self.products.equal((wanted.not_product,)))
        found: Mask = np.logical_and.reduce(masks)
        return found

    def facets(self, most: int) -> Facts:
        """How many items each category has, each of the commonest brands, currencies and
        attributes, and their prices. Not to be changed.
        """
        _ = self._attribute_counts.first  # takes long once, so not while a change waits
        with self._lock:
            held = self._facets.get(most)
            if held is None or held[0] != self._changes:
                held = self._facets[most] = self._changes, self._count(most)
        return held[1]

    def _count(self, most: int) -> Facts:
        there = np.flatnonzero(self._stand.values)
        prices = self.prices.values[there]
        prices = prices[~np.isnan(prices)]
        return {
            "categories": _counts(self.categories, there),
            "brands": _counts(self.brands, there, most),
            "currencies": _counts(self.currencies, there, most),
            "attributes": self._attribute_counts.commonest(),
            "price": {
                "least": float(prices.min()) if len(prices) else None,
                "most": float(prices.max()) if len(prices) else None,
            },
        }

    def _attributes_at(self, row: int) -> dict[str, str]:
        if row in self._changed:
            return self._changed[row].attributes
        return dict(_attribute_maps(self.table)[row].as_py() or ())

    def _has_attribute(self, name: str, value: str) -> Mask:
        """A name that no item has gets no column: whoever asks could ask for any number."""
        if name not in self._attribute_names:
            return np.zeros(len(self), bool)
        return self._words_of(name).equal((value,))

    def _words_of(self, name: str) -> Words:
        """An attribute as a column, made when it is asked for the first time."""
        if name not in self._attributes:
            words = Words(_attribute(self.table, name))
            for row in sorted(self._changed):
                words.put(row, self._changed[row].attributes.get(name))
            self._attributes[name] = words
        return self._attributes[name]


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """NaN where there is none."""
    numbers: npt.NDArray[np.float64] = column.to_numpy().astype(np.float64)
    return numbers


def _attribute_maps(table: pa.Table) -> pa.ChunkedArray:
    """map<string, string>; older bundles have no attributes."""
    if "attributes" in table.schema.names:
        return table["attributes"]
    return pa.chunked_array([pa.nulls(table.num_rows)])


def _attribute_names(table: pa.Table) -> set[str]:
    if "attributes" not in table.schema.names:
        return set()
    return {
        name for chunk in table["attributes"].chunks for name in chunk.keys.unique().to_pylist()
    }


def _attribute(table: pa.Table, name: str) -> pa.ChunkedArray:
    """The value of one attribute in each row; null where there is none."""
    if "attributes" not in table.schema.names:
        return pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    return pc.map_lookup(table["attributes"], pa.scalar(name), "last")


def _counts(
    words: Words, rows: npt.NDArray[np.int64], most: int | None = None
) -> list[dict[str, Any]]:
    """The words of these rows, the commonest first; rows without one are not counted."""
    codes = words.at(rows)
    counts = np.bincount(codes[codes >= 0], minlength=len(words))
    order = np.argsort(-counts, kind="stable")[:most]
    return [
        {"name": words.word(int(number)), "count": int(counts[number])}
        for number in order
        if counts[number]
    ]
