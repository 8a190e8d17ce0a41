"""Queries that no reducer was fitted on, and the items that they search, in full embeddings.

Queries are photos of split `val`: those of `test` belong to the gate. Drawn by photo digest: as
good as random, and the same every day.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from model.reducer import Array
from serving.exact import top
from serving.index import MISSING

MAX_QUERIES, MAX_ITEMS = 2000, 20_000
ENOUGH_QUERIES = 100  # of split `val`; where there are fewer, other photos stand in
MIN_QUERIES = 20  # with fewer, every figure is noise
HIT_AMONG = 20  # as Street2Shop counts (Kiapour et al. 2015)
BLOCK_BYTES = 64_000_000  # of scores at a time

Rows = npt.NDArray[np.int32]
Codes = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Side:
    """Queries or items: a row each of embeddings float32 [n, D], and codes int64 [n]."""

    embeddings: Array
    leaf: Codes
    product: Codes
    group: Codes
    wild: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Trial:
    """Queries, the items they search, and how many answers count."""

    asked: Side
    base: Side
    k: int

    def search(self, reduce: Callable[[Array], Array]) -> tuple[Rows, Scores]:
        """The best rows [q, K] after `reduce`, and their scores in the full space.

        A photo of the catalogue does not find its own product: that would be too easy.
        """
        asked, base = reduce(self.asked.embeddings), reduce(self.base.embeddings)
        count = min(max(self.k, HIT_AMONG), len(base))
        rows = np.empty((len(asked), count), np.int32)
        scores = np.empty((len(asked), count), np.float32)
        block = max(1, BLOCK_BYTES // (4 * len(base)))
        for start in range(0, len(asked), block):
            part = slice(start, start + block)
            reduced = np.where(self._barred(part), -np.inf, asked[part] @ base.T)
            best, near = top(reduced, count)
            lost = np.isneginf(near)
            full = np.einsum("qd,qkd->qk", self.asked.embeddings[part], self.base.embeddings[best])
            rows[part], scores[part] = np.where(lost, MISSING, best), np.where(lost, -np.inf, full)
        return rows, scores

    def precision(self, rows: Rows) -> float:
        """Share of the first k answers that are of the query's leaf."""
        first = rows[:, : self.k]
        same = self.base.leaf[first] == self.asked.leaf[:, None]
        return float((same & (first != MISSING)).mean())

    def hit(self, rows: Rows) -> float | None:
        """Share of wild photos whose product is among the answers; None without such photos."""
        known = self.known_wild
        if not known.any():
            return None
        same = self.base.product[rows[known]] == self.asked.product[known, None]
        return float((same & (rows[known] != MISSING)).any(axis=1).mean())

    @property
    def known_wild(self) -> npt.NDArray[np.bool_]:
        return self.asked.wild & np.isin(self.asked.product, self.base.product)

    def _barred(self, part: slice) -> npt.NDArray[np.bool_]:
        same = self.asked.group[part, None] == self.base.group[None]
        return np.asarray(same & ~self.asked.wild[part, None])


def draw_trial(
    items: pa.Table, embeddings: Callable[[list[str]], Array], k: int
) -> tuple[Trial | None, pa.Table]:
    """Queries and items of a catalogue, and the rows that a fit may see: no group of a query.

    Queries are of split `val`: those of `test` belong to the gate. Drawn by photo digest: as good
    as random, and the same every day. None where there are too few photos to ask with.
    """
    asked = _queries(items)
    unseen = pc.is_in(items["group"], value_set=asked["group"].combine_chunks())
    fitted = items.filter(pc.invert(unseen))
    found = _base(items, asked)
    if len(asked) < MIN_QUERIES or len(found) <= k or not len(fitted):
        return None, items
    both = pa.concat_tables([asked, found])
    product = np.unique(both["product_id"].to_pylist(), return_inverse=True)[1]
    queries, base = (
        Side(
            embeddings=embeddings(part["pixel_key"].to_pylist()),
            leaf=part["leaf"].to_numpy().astype(np.int64),
            product=codes.astype(np.int64),
            group=part["group"].to_numpy(),
            wild=pc.equal(part["kind"], "wild").to_numpy(zero_copy_only=False),
        )
        for part, codes in zip((asked, found), np.split(product, [len(asked)]), strict=True)
    )
    return Trial(queries, base, k), fitted


def _queries(items: pa.Table) -> pa.Table:
    """Of split `val`, half of them wild if there are so many; few of others where it is small."""
    ordered = items.sort_by([("pixel_key", "ascending"), ("item_id", "ascending")])
    val, wild = pc.equal(ordered["split"], "val"), pc.equal(ordered["kind"], "wild")
    seen_in_the_wild = ordered.filter(pc.and_(val, wild))[: MAX_QUERIES // 2]
    studio = ordered.filter(pc.and_(val, pc.invert(wild)))
    asked = pa.concat_tables([seen_in_the_wild, studio[: MAX_QUERIES - len(seen_in_the_wild)]])
    missing = min(ENOUGH_QUERIES, len(items) // 10) - len(asked)
    others = ordered.filter(pc.invert(val))[: max(missing, 0)]
    return pa.concat_tables([asked, others])


def _base(items: pa.Table, asked: pa.Table) -> pa.Table:
    """Items of the catalogue; the products of the queries first, so that these can be found."""
    found = items.filter(pc.equal(items["kind"], "catalogue"))
    wanted = pc.is_in(found["product_id"], value_set=asked["product_id"].combine_chunks())
    order = [("wanted", "descending"), ("pixel_key", "ascending"), ("item_id", "ascending")]
    found = found.append_column("wanted", pc.cast(wanted, pa.int8())).sort_by(order)
    return found.drop_columns(["wanted"])[:MAX_ITEMS]
