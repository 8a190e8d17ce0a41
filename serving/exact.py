"""The exact engine: the reference that the others are measured against, and the one for tiny n.

A matrix product in blocks of queries, on all cores. The best k of a row are among the k groups of
columns whose greatest score is greatest, so that only those are ever sorted.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.index import Effort, Rows, Vectors, check_search, pick

BLOCK_BYTES = 64_000_000  # of scores at a time
GROUP = 64  # columns that are looked at as one
GROUPED_FROM = 16_384  # columns; fewer are as soon sorted out one by one


class ExactIndex:
    """Dot products with every vector."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors  # [n, d]

    @property
    def description(self) -> dict[str, object]:
        n, dimensions = self.vectors.shape
        return {
            "engine": "exact",
            "form": "matrix product",
            "n": n,
            "dimensions": dimensions,
            "effort": {},
        }

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: Vectors, k: int) -> tuple[Rows, Vectors]:
        queries, k = check_search(queries, k, self.vectors.shape)
        rows = np.empty((len(queries), k), np.int32)
        scores = np.empty((len(queries), k), np.float32)
        if k:
            block = max(1, BLOCK_BYTES // (4 * len(self)))
            for start in range(0, len(queries), block):
                chunk = slice(start, start + block)
                rows[chunk], scores[chunk] = top(queries[chunk] @ self.vectors.T, k)
        return rows, scores

    def with_effort(self, effort: Effort) -> "ExactIndex":
        """Itself: there is one effort, all of it."""
        return self

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "vectors.npy", self.vectors)

    @classmethod
    def load(cls, folder: Path) -> "ExactIndex":
        return cls(np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False))


def top(scores: Vectors, k: int) -> tuple[Rows, Vectors]:
    """Best k columns of each row [q, n], and their scores; of equals any, the lower first."""
    groups = None
    if scores.shape[1] > max(GROUP * k, GROUPED_FROM):
        groups = _best_groups(scores, k)
        scores = pick(scores, groups)
    best = np.argpartition(scores, max(scores.shape[1] - k, 0), axis=1)[:, -k:]
    best.sort(axis=1)
    scores = pick(scores, best)
    order = np.argsort(-scores, axis=1, kind="stable")
    columns: npt.NDArray[Any] = pick(best, order)
    if groups is not None:
        columns = pick(groups, columns)
    return columns.astype(np.int32), pick(scores, order)


def _best_groups(scores: Vectors, k: int) -> Rows:
    """The columns of the k best groups, and those that fill no group, in order: int [q, m]."""
    groups = scores.shape[1] // GROUP
    whole = scores[:, : groups * GROUP].reshape(len(scores), groups, GROUP)
    greatest = whole.max(axis=2)
    best = np.argpartition(greatest, groups - k, axis=1)[:, -k:]
    best.sort(axis=1)
    inside = (GROUP * best[:, :, None] + np.arange(GROUP)).reshape(len(scores), -1)
    rest = np.arange(groups * GROUP, scores.shape[1], dtype=np.int32)
    left = np.broadcast_to(rest, (len(scores), len(rest)))
    return np.concatenate([inside.astype(np.int32), left], axis=1)
