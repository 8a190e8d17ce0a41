"""The exact engine: the reference that the others are measured against, and the one for tiny n."""

from pathlib import Path

import numpy as np

from serving.index import Rows, Vectors, check_k, check_queries

BLOCK_BYTES = 64_000_000  # of scores at a time


class ExactIndex:
    """Dot products with every vector, in blocks of queries."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors  # [n, d]

    @property
    def description(self) -> dict[str, object]:
        return {"engine": "exact", "form": "matrix product"}

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: Vectors, k: int) -> tuple[Rows, Vectors]:
        check_k(k)
        queries = check_queries(queries, self.vectors.shape[1])
        k = min(k, len(self))
        rows = np.empty((len(queries), k), np.int32)
        scores = np.empty((len(queries), k), np.float32)
        if k:
            block = max(1, BLOCK_BYTES // (4 * len(self)))
            for start in range(0, len(queries), block):
                chunk = slice(start, start + block)
                rows[chunk], scores[chunk] = _top(queries[chunk] @ self.vectors.T, k)
        return rows, scores

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "vectors.npy", self.vectors)

    @classmethod
    def load(cls, folder: Path) -> "ExactIndex":
        return cls(np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False))


def _top(scores: Vectors, k: int) -> tuple[Rows, Vectors]:
    """Best k columns of each row; equal scores keep the lower row number first."""
    if k < scores.shape[1]:
        rows = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        rows.sort(axis=1)
    else:
        rows = np.broadcast_to(np.arange(k), scores.shape)
    found = np.take_along_axis(scores, rows, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    return (
        np.take_along_axis(rows, order, axis=1).astype(np.int32),
        np.take_along_axis(found, order, axis=1),
    )
