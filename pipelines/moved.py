"""Items whose category was renamed, merged, split or retired.

A renamed or merged category takes its items along. Of one that was split nobody but the shop
knows which item is of which part: until the feed says so its items are found as before, under the
former name, and have no split, so that no model learns from them or is judged by them. The items
of a retired category leave the catalogue.
"""

import pyarrow as pa
import pyarrow.compute as pc

from model.taxonomy import Taxonomy

RETIRED = "retired_category"
UNKNOWN = "none"  # the split of an item that is neither trained on nor evaluated with


def is_retired(items: pa.Table, taxonomy: Taxonomy) -> pa.ChunkedArray:
    """bool [items]: the category is gone and nothing took its place."""
    return _is_of(items, [former for former, nows in taxonomy.moved.items() if not nows])


def is_split_up(items: pa.Table, taxonomy: Taxonomy) -> pa.ChunkedArray:
    """bool [items]: the category is one of several now, and only the shop knows which."""
    return _is_of(items, [former for former, nows in taxonomy.moved.items() if len(nows) > 1])


def renamed(items: pa.Table, taxonomy: Taxonomy) -> pa.Table:
    """The items under the categories of today, as far as they are known."""
    paths = items["category"].to_pylist()
    present = [taxonomy.present(path) or path for path in paths]
    return _with(items, "category", pa.array(present, pa.string()))


def set_apart(items: pa.Table, taxonomy: Taxonomy) -> pa.Table:
    """The items without a split where the category was split."""
    unknown = is_split_up(items, taxonomy)
    return _with(items, "split", pc.if_else(unknown, UNKNOWN, items["split"]))


def brought_back(items: pa.Table, taxonomy: Taxonomy) -> pa.Table:
    """Undo `set_apart`: which split they belong to is open again."""
    unknown = is_split_up(items, taxonomy)
    return _with(items, "split", pc.if_else(unknown, pa.scalar(None, pa.string()), items["split"]))


def refusals(items: pa.Table) -> list[dict[str, str]]:
    """Quarantine rows of items of retired categories: the shop's own wish, so no fault counts."""
    return [
        {
            "item_id": item["item_id"],
            "image": item["image"],
            "reason": RETIRED,
            "detail": f"category: {item['category']!r} was retired (ingest.moved)",
        }
        for item in items.select(["item_id", "image", "category"]).to_pylist()
    ]


def _is_of(items: pa.Table, categories: list[str]) -> pa.ChunkedArray:
    return pc.is_in(items["category"], value_set=pa.array(categories, pa.string()))


def _with(items: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    return items.set_column(items.schema.get_field_index(name), items.schema.field(name), column)
