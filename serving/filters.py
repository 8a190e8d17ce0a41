"""Which items a query may find: by category, brand, price, stock and attributes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from model.taxonomy import SEPARATOR


@dataclass(frozen=True)
class Filter:
    """All of it must hold; of several categories or brands, one. Empty: every item."""

    categories: tuple[str, ...] = ()  # each with all that is below it
    brands: tuple[str, ...] = ()
    min_price: float | None = None  # in the items' own currencies; without a price is outside
    max_price: float | None = None
    in_stock: bool | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    not_product: str | None = None

    def __bool__(self) -> bool:
        return self != EVERY


EVERY = Filter()


def within(categories: Sequence[str]) -> Callable[[str], bool]:
    """Is the category of a path one of these, or below one?"""
    same, below = frozenset(categories), tuple(each + SEPARATOR for each in categories)
    return lambda path: path in same or path.startswith(below)
