"""Is every item in the index, once, with the vector of its own photo?

Recall says whether an index finds what its vectors mean. These say whether the rows are the shop's:
right vectors under the wrong ids would be found perfectly.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.reducer import Reducer
from serving.index import MISSING, Index, Vectors

SELF_MATCH_ITEMS = 20_000
BLOCK = 65_536  # rows at a time
SELF_SCORE_SLACK = 1e-3  # an item's own score is 1 up to quantisation
TOLERANCE = 0.02  # length of the difference of two unit vectors; the same photo is far below


def missing_items(catalogue: pa.Table, items: pa.Table) -> dict[str, int]:
    """Items of the day's catalogue that are in neither part of the index, by category."""
    wanted = catalogue.filter(pc.equal(catalogue["kind"], "catalogue"))
    lost = wanted.filter(pc.invert(pc.is_in(wanted["item_id"], value_set=_ids(items))))
    return dict(sorted(Counter(lost["category"].to_pylist()).items()))


def unknown_items(catalogue: pa.Table, items: pa.Table) -> int:
    """Rows of the index that are no item of the day's catalogue, such as a deleted one."""
    wanted = catalogue.filter(pc.equal(catalogue["kind"], "catalogue"))
    known = pc.is_in(items["item_id"], value_set=_ids(wanted))
    return len(items) - int(pc.sum(known).as_py() or 0)


def repeated_items(items: pa.Table) -> int:
    return len(items) - len(pc.unique(items["item_id"]))


def own_photos(catalogue: pa.Table, items: pa.Table) -> list[str]:
    """The photo key that the catalogue has for each row's item; the row's own if it has none."""
    columns = (catalogue[name].to_pylist() for name in ("item_id", "pixel_key"))
    key_of = dict(zip(*columns, strict=True))
    pairs = zip(items["item_id"].to_pylist(), items["pixel_key"].to_pylist(), strict=True)
    return [key_of.get(item, key) for item, key in pairs]


def wrong_vectors(vectors: Vectors, full: Vectors, reducer: Reducer) -> int:
    """Rows of `vectors` [n, d] that are not what the reducer makes of `full` [n, D]."""
    return sum(
        differing(vectors[start : start + BLOCK], reducer(full[start : start + BLOCK]))
        for start in range(0, len(vectors), BLOCK)
    )


def differing(first: Vectors, second: Vectors) -> int:
    """Rows that are other vectors; also where one of them is not a number."""
    return int((~(np.linalg.norm(first - second, axis=1) <= TOLERANCE)).sum())


def self_match(
    index: Index, base: Vectors, leaves: list[str], k: int
) -> tuple[float, float, Mapping[str, tuple[int, int]]]:
    """Share of items among their own k nearest, and of those that are their nearest.

    An equal item counts. By leaf, where any was lost: how many, of how many that were asked.
    """
    step = max(1, len(base) // SELF_MATCH_ITEMS)
    own = np.ascontiguousarray(base[::step])
    asked = own.any(axis=1)  # a vector of zeros has no direction: nobody finds it
    rows, _ = index.search(own[asked], k)
    same = np.zeros((len(own), max(rows.shape[1], 1)), bool)
    scores = np.einsum("qd,qkd->qk", own[asked], base[rows])
    same[asked] = (scores > 1 - SELF_SCORE_SLACK) & (rows != MISSING)
    found = same.any(axis=1)
    of_leaf, lost = Counter(leaves[::step]), Counter(np.array(leaves)[::step][~found].tolist())
    return (
        round(float(found.mean()), 5),
        round(float(same[:, 0].mean()), 5),
        {leaf: (lost[leaf], of_leaf[leaf]) for leaf in sorted(lost)},
    )


def _ids(items: pa.Table) -> pa.Array:
    return items["item_id"].combine_chunks()
