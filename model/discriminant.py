"""Linear discriminant analysis of embeddings: which directions tell leaves apart, which do not.

Directions in which photos of one leaf differ are noise to a search by cosine. Scaling them down
(Fisher 1936; Rao 1948; within-class covariance normalisation, Hatch et al. 2006) is metric
learning in closed form: it needs sums only, takes a second, and a fit without some photos is the
difference of two sums. About the origin, as cosines are, where it makes a projection.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from model.errors import BadInput
from model.reducer import check_dimensions

Array = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int32]

SHRINK = 0.1  # of the mean variance, added to each: a thousand photos say little of 200 directions


@dataclass(frozen=True)
class Scatter:
    """Sums over photos: counts [C] and sums [C, D] of each leaf, and outer products [D, D]."""

    counts: Matrix
    sums: Matrix
    outer: Matrix

    @classmethod
    def of(cls, embeddings: Array, leaf: Ids, leaves: int) -> "Scatter":
        """Of embeddings float32 [n, D] and leaf ids [n] below `leaves`."""
        rows = embeddings.astype(np.float64)
        if not np.isfinite(rows).all():
            raise BadInput("An embedding holds NaN or infinity. Expected finite numbers.")
        sums = np.zeros((leaves, rows.shape[1]))
        np.add.at(sums, leaf, rows)
        return cls(np.bincount(leaf, minlength=leaves).astype(np.float64), sums, rows.T @ rows)

    def __add__(self, other: "Scatter") -> "Scatter":
        return Scatter(self.counts + other.counts, self.sums + other.sums, self.outer + other.outer)

    def __sub__(self, other: "Scatter") -> "Scatter":
        return Scatter(self.counts - other.counts, self.sums - other.sums, self.outer - other.outer)

    @cached_property
    def means(self) -> Matrix:
        """float64 [C, D]; zeros for a leaf without photos."""
        return np.asarray(self.sums / np.maximum(self.counts, 1)[:, None])

    @cached_property
    def within(self) -> Matrix:
        """Covariance of photos about the mean of their leaf, shrunk towards a ball."""
        free = max(self.counts.sum() - (self.counts > 0).sum(), 1.0)
        covariance = (self.outer - self.means.T @ self.sums) / free
        spread = max(float(np.trace(covariance)) / len(covariance), 1e-9)
        return np.asarray(covariance + SHRINK * spread * np.eye(len(covariance)))


def fit_projection(scatter: Scatter, dimensions: int) -> Array:
    """Components float32 [D, d]: within-leaf directions evened out, then the strongest kept.

    Raises BadInput unless 1 <= dimensions <= D, or without photos.
    """
    check_dimensions(dimensions, len(scatter.outer))
    if not scatter.counts.sum():
        raise BadInput("Cannot fit the projection. Expected at least one photo. Received: none.")
    variance, directions = np.linalg.eigh(scatter.within)
    even = directions / np.sqrt(variance)
    strength, turn = np.linalg.eigh(even.T @ scatter.outer @ even)
    components = even @ turn[:, np.argsort(-strength, kind="stable")[:dimensions]]
    largest = components[np.abs(components).argmax(axis=0), np.arange(dimensions)]
    # Its scale has no meaning, as a norm follows: keep it near one, for int8.
    components *= np.where(largest < 0, -1, 1) / np.linalg.norm(components, axis=0).max()
    return np.asarray(components, np.float32)


@dataclass(frozen=True)
class LeafOdds:
    """A linear classifier: weights float64 [D, C], offsets [C]; -inf for a leaf without photos."""

    weights: Matrix
    offsets: Matrix

    @classmethod
    def fit(cls, scatter: Scatter) -> "LeafOdds":
        weights = np.asarray(np.linalg.solve(scatter.within, scatter.means.T), np.float64)
        prior = np.log(np.maximum(scatter.counts, 1) / max(scatter.counts.sum(), 1))
        offsets = prior - (scatter.means.T * weights).sum(axis=0) / 2
        return cls(weights, np.asarray(np.where(scatter.counts > 0, offsets, -np.inf)))

    def __call__(self, embeddings: Array) -> Array:
        """float32 [n, D] -> float32 [n, C]; rows sum to one."""
        scores = embeddings @ self.weights + self.offsets
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(scores / scores.sum(axis=1, keepdims=True), np.float32)
