"""Which items are trained on and which are kept back, decided for whole groups.

A near-duplicate of a training photo in the test set makes every figure look better than it is.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# From the least to the most held out. `none`: searchable, but neither trained on nor evaluated.
NAMES = ("none", "train", "val", "test")
UNDECIDED = -1

Numbers = npt.NDArray[np.int64]


def assign(
    groups: Numbers, products: Sequence[str], own: Sequence[str | None], shares: tuple[float, float]
) -> list[str]:
    """The split of each item, so that no group is both trained on and evaluated with.

    `own`: the split that the feed gives or the item had, which it keeps. Where these clash in a
    group, the most held-out one stays and the others become `none`. Undecided items join their
    group; a group of undecided items goes by a hash of its smallest product to val and test with
    `shares`, else to train.
    """
    if not len(groups):
        return []
    codes = np.array([UNDECIDED if name is None else NAMES.index(name) for name in own])
    _, group = np.unique(groups, return_inverse=True)
    held = np.zeros(group.max() + 1, np.int64)
    np.maximum.at(held, group, codes)
    drawn = np.array([_draw(name, shares) for name in _smallest(group, products)])
    held = np.where(held > 0, held, drawn)
    kept = np.where(codes == held[group], codes, 0)
    return [NAMES[code] for code in np.where(codes == UNDECIDED, held[group], kept)]


def _smallest(group: Numbers, products: Sequence[str]) -> list[str]:
    """The smallest product of each group."""
    order = sorted(range(len(products)), key=lambda row: products[row])
    _, first = np.unique(group[order], return_index=True)
    return [products[order[row]] for row in first]


def _draw(product: str, shares: tuple[float, float]) -> int:
    number = int.from_bytes(hashlib.sha256(product.encode()).digest()[:8]) / 2**64
    val, test = shares
    if number < val:
        return NAMES.index("val")
    return NAMES.index("test" if number < val + test else "train")
