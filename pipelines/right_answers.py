"""What shoppers would call right: answers of the query's own category, or its very product.

Recall compares a space with itself, and one that learned nothing passes it. These compare the
answers with the catalogue.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from model.evaluators import Mask, Values, hit_rates
from pipelines.queries import Queries
from serving.index import MISSING, Rows


@dataclass(frozen=True)
class RightAnswers:
    """Items of the base index [n], and the queries [q] that they answer."""

    base: pa.Table
    queries: Queries

    def of_leaf(self, found: Rows) -> Values:
        """Share of each query's answers [q, k] in its own leaf; NaN where the base has none."""
        leaf, wanted = self._columns("category")
        if not found.shape[1]:
            return np.full(len(found), np.nan)
        right = (leaf[found] == wanted[:, None]) & (found != MISSING)
        return np.where(np.isin(wanted, leaf), right.mean(axis=1), np.nan)

    def chance(self, known: Mask) -> float:
        """What drawing items would give the queries `known` [q], whose leaves the base has."""
        leaf, wanted = self._columns("category")
        share = dict(zip(*np.unique(leaf, return_counts=True), strict=True))
        return float(np.mean([share[name] / len(leaf) for name in wanted[known]]))

    def wild_hits(self, found: Rows) -> Iterator[tuple[str, float]]:
        """Is the right product, or at least its leaf, among the first answers to a wild photo?"""
        wild = self.queries.slices.get("wild")
        if wild is None:
            return
        for name, column in (("product", "product_id"), ("leaf", "category")):
            indexed, wanted = self._columns(column)
            known = wild & np.isin(wanted, indexed)
            if known.any():
                yield f"{name}_queries", float(known.sum())
                names = np.where(found[known] == MISSING, "", indexed[found[known]])
                for measure, value in hit_rates(names, wanted[known]):
                    yield f"{name}_{measure}", round(value, 4)

    def _columns(self, name: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Of the base and of the queries."""
        base, asked = self.base[name].to_pylist(), self.queries.items[name].to_pylist()
        return np.array(base, np.str_), np.array(asked, np.str_)
