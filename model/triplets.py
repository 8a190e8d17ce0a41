"""Mining of triplets: an anchor, a photo that should be near it, one that should be farther.

Candidates come from basic scorers, such as a colour histogram, and from the network itself
(Shankar et al. 2017, arXiv 1703.02344); among them a negative is taken that is farther than the
positive, but by less than the margin: semi-hard (Schroff et al. 2015, 1503.03832). NumPy only;
every draw comes from the generator that the caller passes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.pixels import Pixels

POOL = 4096  # photos that a block of anchors is compared with
BLOCK = 1024  # anchors at a time
CANDIDATES = 50  # nearest of the pool, by the scorers and by the network each
NEAREST = 200  # photos of the leaf that stand for the views a product lacks; VisNet's number

Rows = npt.NDArray[np.int64]
Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Scorer = Callable[[Pixels], Array]  # uint8 [n, side, side, 3] -> unit vectors [n, d]


@dataclass(frozen=True)
class Triplets:
    """Rows of photos, int64 [t] each."""

    anchor: Rows
    positive: Rows
    negative: Rows

    def __len__(self) -> int:
        return len(self.anchor)


@dataclass(frozen=True)
class Gallery:
    """What is known of the n photos that triplets are made of."""

    leaf: npt.NDArray[np.int32]  # [n]
    product: Rows  # [n], equal for the views of a product
    basic: Array  # unit vectors [n, d]: the cosine is the mean of the basic scorers'
    learned: Array  # unit vectors [n, D] of the network

    def pool(self, rng: np.random.Generator, rows: Rows) -> Rows:
        """At most POOL of the rows."""
        return rows if len(rows) <= POOL else np.sort(rng.choice(rows, POOL, replace=False))


def joined(parts: Sequence[Array], n: int) -> Array:
    """Unit vectors [n, d] of each scorer, side by side: their cosine is the mean of the parts'."""
    if not parts:
        return np.zeros((n, 0), np.float32)
    return np.concatenate(parts, axis=1) / np.float32(np.sqrt(len(parts)))


def mine(
    gallery: Gallery, anchors: Rows, *, margin: float, in_class: float, rng: np.random.Generator
) -> Triplets:
    """A triplet for each anchor [a] that has a positive and a negative, in their order.

    Of anchors with another view, a share `in_class` gets a negative of the same leaf, but of
    another product. Without a view nothing says which photo of the leaf should be nearer.
    """
    positive = views(gallery, anchors, rng)
    alone = positive < 0
    positive[alone] = lookalikes(gallery, anchors[alone], rng)
    own_leaf = ~alone & (rng.random(len(anchors)) < in_class)
    paired = positive >= 0
    anchors, positive, own_leaf = anchors[paired], positive[paired], own_leaf[paired]
    negative = np.full(len(anchors), -1, np.int64)
    negative[own_leaf] = _in_class(gallery, anchors[own_leaf], positive[own_leaf], margin, rng)
    rest = negative < 0
    negative[rest] = _out_of_class(gallery, anchors[rest], positive[rest], margin, rng)
    found = negative >= 0
    return Triplets(anchors[found], positive[found], negative[found])


def views(gallery: Gallery, anchors: Rows, rng: np.random.Generator) -> Rows:
    """Another photo of the same product, any with the same chance; -1 where there is none."""
    order = np.argsort(gallery.product, kind="stable")
    _, group, count = np.unique(gallery.product, return_inverse=True, return_counts=True)
    first = np.cumsum(count) - count
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    start, size = first[group[anchors]], count[group[anchors]]
    step = rng.integers(1, np.maximum(size, 2))
    other = order[start + (place[anchors] - start + step) % size]
    return np.where(size > 1, other, -1)


def lookalikes(gallery: Gallery, anchors: Rows, rng: np.random.Generator) -> Rows:
    """One of the NEAREST photos of the same leaf by the basic scorers; -1 where there is none."""
    found = np.full(len(anchors), -1, np.int64)
    for mine, rows in _by_leaf(gallery, anchors, rng):
        cosine = gallery.basic[anchors[mine]] @ gallery.basic[rows].T
        cosine[anchors[mine][:, None] == rows] = -np.inf
        near = _largest(cosine, NEAREST) & np.isfinite(cosine)
        found[mine] = _any(near, rows, rng)
    return found


def _in_class(
    gallery: Gallery, anchors: Rows, positive: Rows, margin: float, rng: np.random.Generator
) -> Rows:
    found = np.full(len(anchors), -1, np.int64)
    for mine, rows in _by_leaf(gallery, anchors, rng):
        allowed = gallery.product[anchors[mine]][:, None] != gallery.product[rows]
        allowed &= positive[mine][:, None] != rows
        found[mine] = _semi_hard(gallery, anchors[mine], positive[mine], rows, allowed, margin, rng)
    return found


def _out_of_class(
    gallery: Gallery, anchors: Rows, positive: Rows, margin: float, rng: np.random.Generator
) -> Rows:
    found = np.full(len(anchors), -1, np.int64)
    rows = gallery.pool(rng, np.arange(len(gallery.leaf)))
    for start in range(0, len(anchors), BLOCK):
        block = slice(start, start + BLOCK)
        allowed = gallery.leaf[anchors[block]][:, None] != gallery.leaf[rows]
        found[block] = _semi_hard(
            gallery, anchors[block], positive[block], rows, allowed, margin, rng
        )
    return found


def _semi_hard(
    gallery: Gallery,
    anchors: Rows,
    positive: Rows,
    rows: Rows,
    allowed: Mask,
    margin: float,
    rng: np.random.Generator,
) -> Rows:
    """Of the allowed rows [r] that a scorer or the network finds near, a semi-hard one.

    Else the nearest that is farther than the positive, else the farthest; -1 if none is allowed.
    """
    ours = gallery.learned[anchors]
    cosine = ours @ gallery.learned[rows].T
    basic = np.where(allowed, gallery.basic[anchors] @ gallery.basic[rows].T, -np.inf)
    near = _largest(np.where(allowed, cosine, -np.inf), CANDIDATES) | _largest(basic, CANDIDATES)
    near &= allowed
    limit = (ours * gallery.learned[positive]).sum(axis=1, keepdims=True)
    farther = near & (cosine < limit)
    semi_hard = farther & (cosine > limit - margin)
    nearest = rows[np.where(farther, cosine, -np.inf).argmax(axis=1)]
    farthest = rows[np.where(near, cosine, np.inf).argmin(axis=1)]
    fallback = np.where(farther.any(axis=1), nearest, farthest)
    drawn = _any(semi_hard, rows, rng)
    return np.where(drawn >= 0, drawn, np.where(near.any(axis=1), fallback, -1))


def _by_leaf(
    gallery: Gallery, anchors: Rows, rng: np.random.Generator
) -> Iterator[tuple[Rows, Rows]]:
    """For each leaf of the anchors: places in `anchors`, at most BLOCK, and the leaf's photos."""
    order = np.argsort(gallery.leaf, kind="stable")
    leaves = gallery.leaf[order]
    for leaf in np.unique(gallery.leaf[anchors]):
        rows = order[np.searchsorted(leaves, leaf) : np.searchsorted(leaves, leaf, "right")]
        mine = np.flatnonzero(gallery.leaf[anchors] == leaf)
        for start in range(0, len(mine), BLOCK):
            yield mine[start : start + BLOCK], gallery.pool(rng, rows)


def _largest(values: Array, count: int) -> Mask:
    """bool [a, r]: the `count` largest of each row, and what equals the last of them."""
    if values.shape[1] <= count:
        return np.ones(values.shape, bool)
    last = np.partition(values, -count, axis=1)[:, -count][:, None]
    return np.asarray(values >= last)


def _any(mask: Mask, rows: Rows, rng: np.random.Generator) -> Rows:
    """int64 [a]: one of the rows [r] that each line of the mask [a, r] marks, or -1."""
    chance = np.where(mask, rng.random(mask.shape, dtype=np.float32), -1)
    return np.where(mask.any(axis=1), rows[chance.argmax(axis=1)], -1)
