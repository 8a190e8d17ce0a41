"""Which of the nearest items an answer shows: few of one product, none twice, and not all alike."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.errors import BadInput
from serving.filters import EVERY, Filter
from serving.index import Vectors

SAME = 0.985  # cosine from which two photos show the same thing to a shopper


@dataclass(frozen=True)
class Wanted:
    """What a query asks for.

    `fallbacks` fill up, one after another, where the filter leaves fewer than k.
    """

    k: int = 12
    filter: Filter = EVERY
    fallbacks: tuple[Filter, ...] = ()
    per_product: int = 0  # at most so many items of a product; 0: any number
    collapse: bool = False  # of items that look the same, the nearest only
    diversity: float = 0.0  # 0: by score alone, to 1: as unlike each other as can be
    min_score: float = -1.0  # cosine

    def __post_init__(self) -> None:
        if self.k < 1:
            raise BadInput(f"Invalid `k`. Expected at least 1. Received: {self.k}.")

    @property
    def filters(self) -> tuple[Filter, ...]:
        """All of them, in the order they are tried."""
        return (self.filter, *self.fallbacks)

    @property
    def is_plain(self) -> bool:
        """Are the k nearest the answer?"""
        return not (self.per_product or self.collapse or self.diversity)


def choose(
    scores: npt.NDArray[np.float32],
    products: npt.NDArray[np.int32],
    vectors: Vectors,
    wanted: Wanted,
    taken: int = 0,
) -> list[int]:
    """Places, at most k, among candidates in the order of their scores [c], the chosen first.

    The first `taken` are chosen already, whatever they are. `products` [c] are equal where the
    product is; `vectors` [c, d] of unit length. With `diversity` each next one is that of the best
    score less its likeness to the nearest chosen (maximal marginal relevance, Carbonell & Goldstein
    1998).
    """
    chosen: list[int] = []
    left = np.ones(len(scores), bool)
    likeness = np.full(len(scores), -1.0, np.float32)  # to the nearest that is chosen
    count: dict[int, int] = {}
    while len(chosen) < taken or (left.any() and len(chosen) < wanted.k):
        gain = scores
        if wanted.diversity and chosen:
            gain = (1 - wanted.diversity) * scores - wanted.diversity * likeness
        best = int(np.argmax(np.where(left, gain, -np.inf)))
        if len(chosen) < taken:
            best = len(chosen)
        left[best] = False
        chosen.append(best)
        product = int(products[best])
        count[product] = count.get(product, 0) + 1
        if wanted.per_product and count[product] >= wanted.per_product:
            left &= products != product
        if wanted.collapse or wanted.diversity:
            likeness = np.maximum(likeness, vectors @ vectors[best])
        if wanted.collapse:
            left &= likeness < SAME
    return chosen
