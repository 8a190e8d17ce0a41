"""Vectors of a shop of any size, drawn from a mixture that was fitted to real embeddings.

    Mixture.of(50_000_000).block(3)      # the same 65,536 unit vectors on every machine

Leaf -> product -> view. A leaf is a centre and axes of its own. Products differ along half of the
axes, photos of a product along the other half, each law with its own decay from the first axis to
the last. How far a product lies from its leaf and a photo from its product differs much from one
to the next. `likeness` fits the figures and compares what is drawn with what is real;
`mixture.npz` holds the figures alone: two matrices of moments and a dozen numbers, no photo's
vector.

Blocks are independent, so nothing of the shop is ever held but one block and the leaves; all
photos of a product lie in one block. The same products can be drawn again in other photos: queries
that are in no index.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

FITTED = Path(__file__).with_name("mixture.npz")
BLOCK = 65_536  # vectors
LEAVES, ITEMS, GROWTH = 75, 4000, 0.4  # a shop of so many items has so many leaves

Array = npt.NDArray[np.float32]
Spread = tuple[float, float, float]  # squared length, deviation of its logarithm / 2, decay
LEAF_STREAM, PRODUCT_STREAM, VIEW_STREAM, QUERY_STREAM, OFFSET_STREAM = range(5)


@dataclass(frozen=True)
class Law:
    """What was fitted. Moments are about the origin; `scatter` and `norm` are squared lengths."""

    centres: npt.NDArray[np.float64]  # [d, d], second moment of the leaves' directions
    within: npt.NDArray[np.float64]  # [d, d], of what is left of a vector without its leaf's mean
    views: npt.NDArray[np.int64]  # [v], how many products have 1, 2, .. photos
    sizes: float  # deviation of the logarithm of a leaf's share
    norm: tuple[float, float]  # of a leaf's centre: mean, deviation
    product: Spread
    view: Spread

    def save(self, path: Path) -> None:
        np.savez(
            path,
            centres=self.centres.astype(np.float32),
            within=self.within.astype(np.float32),
            views=self.views,
            scalars=np.array([self.sizes, *self.norm, *self.product, *self.view]),
        )

    @classmethod
    def load(cls, path: Path = FITTED) -> "Law":
        with np.load(path, allow_pickle=False) as kept:
            s = kept["scalars"].tolist()
            return cls(
                kept["centres"].astype(np.float64),
                kept["within"].astype(np.float64),
                kept["views"],
                s[0],
                (s[1], s[2]),
                (s[3], s[4], s[5]),
                (s[6], s[7], s[8]),
            )

    def in_dimensions(self, dimensions: int) -> "Law":
        """The same law in a wider or narrower space: the spectrum is stretched over it."""
        if dimensions == len(self.centres):
            return self
        rng = np.random.default_rng(dimensions)
        turn = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]
        return replace(
            self,
            centres=_stretched(self.centres, turn),
            within=_stretched(self.within, turn),
        )


def _stretched(
    moment: npt.NDArray[np.float64], turn: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    strength = np.linalg.eigvalsh(moment)[::-1]
    wide = np.interp(
        np.linspace(0, len(strength) - 1, len(turn)), np.arange(len(strength)), strength
    )
    wide *= strength.sum() / wide.sum()
    return np.asarray((turn * wide) @ turn.T)


def leaves_of(items: int) -> int:
    """Larger shops have more leaves, and more products in each."""
    return max(2, round(LEAVES * (items / ITEMS) ** GROWTH))


@dataclass(frozen=True)
class Mixture:
    """A shop: its law, how many leaves it has, and which of all such shops it is."""

    law: Law
    leaves: int
    seed: int = 0
    size: int = BLOCK

    @classmethod
    def of(cls, items: int, *, dimensions: int = 96, seed: int = 0) -> "Mixture":
        return cls(Law.load().in_dimensions(dimensions), leaves_of(items), seed)

    @property
    def dimensions(self) -> int:
        return len(self.law.centres)

    def block(self, number: int) -> Array:
        """float32 [size, d], unit vectors. The photos of a product follow no order."""
        leaf, product = self._photos(number)
        rng = self._rng(VIEW_STREAM, number)
        return self._draw(number, leaf, product, rng)

    def queries(self, number: int, count: int, turn: int = 0) -> Array:
        """Other photos [count, d] of a block's products: new ones, if it is not indexed."""
        leaf, product = self._photos(number)
        rng = self._rng(QUERY_STREAM + turn * 8, number)
        chosen = np.sort(rng.choice(len(leaf), count, replace=False))
        return self._draw(number, leaf[chosen], product[chosen], rng)

    def _rng(self, stream: int, number: int) -> np.random.Generator:
        return np.random.Generator(np.random.SFC64([self.seed, stream, number]))

    @cached_property
    def _shares(self) -> npt.NDArray[np.float64]:
        share = np.exp(self.law.sizes * self._rng(LEAF_STREAM, 0).normal(size=self.leaves))
        return np.asarray(share / share.sum())

    @cached_property
    def _centres(self) -> Array:
        rng = self._rng(LEAF_STREAM, 1)
        towards = rng.normal(size=(self.leaves, self.dimensions)) @ _root(self.law.centres)
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        norm = rng.normal(*self.law.norm, size=(self.leaves, 1))
        return np.asarray(towards * norm.clip(0.3, 0.95), np.float32)

    @cached_property
    def _axes(self) -> Array:
        """float32 [leaves, d, d]: the first half for products, the other for their photos.

        Together they span everything evenly, so that the mean over few leaves is already the
        moment that was fitted.
        """
        rng, d = self._rng(LEAF_STREAM, 2), self.dimensions
        root = _root(self.law.within / np.trace(self.law.within) * d).astype(np.float32)
        half = d // 2
        weight = np.concatenate(
            [_decay(half, self.law.product[2]), _decay(d - half, self.law.view[2])]
        )
        axes = np.empty((self.leaves, d, d), np.float32)
        for start in range(0, self.leaves, 256):
            drawn = rng.standard_normal((len(axes[start : start + 256]), d, d), np.float32)
            axes[start : start + 256] = np.linalg.qr(drawn)[0] @ root
        axes *= weight.astype(np.float32)[:, None]
        return axes

    def _photos(self, number: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Leaf and product of each photo of a block, sorted by both."""
        rng = self._rng(PRODUCT_STREAM, number)
        share = self.law.views / self.law.views.sum()
        views = rng.choice(np.arange(1, len(share) + 1), size=self.size, p=share)
        views = views[: int(np.searchsorted(np.cumsum(views), self.size)) + 1]
        leaf = np.sort(rng.choice(self.leaves, size=len(views), p=self._shares))
        product = np.repeat(np.arange(len(views)), views)[: self.size]
        return leaf[product], product

    def _draw(
        self,
        number: int,
        leaf: npt.NDArray[np.int64],
        product: npt.NDArray[np.int64],
        rng: np.random.Generator,
    ) -> Array:
        half = self.dimensions // 2
        mix = np.empty((len(leaf), self.dimensions), np.float32)
        offsets = self._rng(OFFSET_STREAM, number)
        products = _scattered(offsets, int(product[-1]) + 1, half, self.law.product)
        np.take(products, product, axis=0, out=mix[:, :half])
        mix[:, half:] = _scattered(rng, len(leaf), self.dimensions - half, self.law.view)
        vectors = np.empty((len(leaf), self.dimensions), np.float32)
        edges = np.flatnonzero(np.diff(leaf, prepend=-1, append=self.leaves))
        for start, end in zip(edges[:-1], edges[1:], strict=True):
            which = leaf[start]
            np.matmul(mix[start:end], self._axes[which], out=vectors[start:end])
            vectors[start:end] += self._centres[which]
        vectors /= np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
        return vectors[rng.permutation(len(vectors))]


def _scattered(rng: np.random.Generator, count: int, rank: int, law: Spread) -> Array:
    scatter, deviation, _ = law
    length = np.sqrt(scatter) * np.exp(
        deviation * rng.standard_normal((count, 1), np.float32) - deviation**2
    )
    return np.asarray(rng.standard_normal((count, rank), np.float32) * length, np.float32)


def _decay(rank: int, decay: float) -> npt.NDArray[np.float64]:
    strength = np.arange(1, rank + 1) ** -decay
    return np.asarray(np.sqrt(strength / strength.sum()))


def _root(moment: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    strength, directions = np.linalg.eigh(moment)
    return np.asarray((directions * np.sqrt(strength.clip(0))) @ directions.T)
