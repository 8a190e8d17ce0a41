"""Nearest neighbours among the rows that a filter allows, through an index that knows no filter.

Two ways. Over-fetch: ask the index for so many rows that k of them are likely allowed, and ask for
the rest of the queries exactly. Exact: a product with the allowed rows alone, the better one where
few are allowed. Either way a query gets k answers wherever k rows are allowed.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from model.errors import BadInput
from serving.exact import ExactIndex
from serving.index import MISSING, Index, Rows, Vectors, check_search

Mask = npt.NDArray[np.bool_]  # [n]

SLACK, SPREAD = 1.2, 3.0  # over-fetch by a fifth and three standard deviations of what is allowed
# What a row fetched from the index costs, in rows of a matrix product: on two cores the two ways
# took as long at 35 to 140 (one query, ScaNN, 300,000 x 64) and at 150 to 220 (50,000 x 64).
COST_OF_A_ROW = 64


@dataclass(frozen=True)
class Filtered:
    """An index over `vectors` [n, d], searched where `allowed` bool [n] is true.

    Raises BadInput where the three are not of the same rows.
    """

    index: Index
    vectors: Vectors
    allowed: Mask

    def __post_init__(self) -> None:
        n = len(self.index)
        if self.allowed.shape != (n,) or self.allowed.dtype != np.bool_ or len(self.vectors) != n:
            raise BadInput(
                f"This filter is not of this index. Expected bool [{n}] and as many vectors. "
                f"Received: {self.allowed.dtype} {list(self.allowed.shape)} and "
                f"{len(self.vectors)} vectors."
            )

    def __len__(self) -> int:
        """How many rows are allowed."""
        return len(self._rows)

    def search(self, queries: Vectors, k: int) -> tuple[Rows, Vectors]:
        """Rows int32 [q, min(k, allowed)] of the index and their scores, best first."""
        queries, k = check_search(queries, k, (len(self), self.vectors.shape[1]))
        if not len(queries) or not k:
            return np.empty((len(queries), k), np.int32), np.empty((len(queries), k), np.float32)
        if self.is_exact(k):
            return self._exactly(queries, k)
        rows, scores, short = self._fetched(queries, k)
        if short.any():
            rows[short], scores[short] = self._exactly(queries[short], k)
        return rows, scores

    def is_exact(self, k: int) -> bool:
        """Whether the product with the allowed rows costs less than to fetch too many."""
        return len(self) <= COST_OF_A_ROW * self.fetched(k)

    def fetched(self, k: int) -> int:
        """How many rows to ask the index for, so that k of them are likely allowed."""
        share = len(self) / len(self.index)
        wanted = SLACK * k + SPREAD * np.sqrt(k * (1 - share))
        return min(len(self.index), int(np.ceil(wanted / share)))

    def _fetched(self, queries: Vectors, k: int) -> tuple[Rows, Vectors, Mask]:
        """The best k allowed of what the index gives; `short` [q] where it gave fewer."""
        rows, scores = self.index.search(queries, self.fetched(k))
        kept = (rows != MISSING) & self.allowed[rows]
        short = kept.sum(axis=1) < k
        best = np.argsort(~kept, axis=1, kind="stable")[:, :k]  # allowed first, in their order
        return (
            np.take_along_axis(rows, best, axis=1),
            np.take_along_axis(scores, best, axis=1),
            short,
        )

    def _exactly(self, queries: Vectors, k: int) -> tuple[Rows, Vectors]:
        rows, scores = self._few.search(queries, k)
        return self._rows[rows], scores

    @cached_property
    def _rows(self) -> npt.NDArray[np.int32]:
        return np.flatnonzero(self.allowed).astype(np.int32)

    @cached_property
    def _few(self) -> ExactIndex:
        return ExactIndex(np.ascontiguousarray(self.vectors[self._rows]))
