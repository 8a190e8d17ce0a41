"""What a shop uses look-alikes for: each case is a set of parameters for one search.

substitutes    of a sold-out item: in stock, of its category, about its price, other products
lookalikes     for a category page: of the item's part of the tree, and unlike each other
neighbours     of a new listing that is in no index: what is sold where it belongs
variants       of an item: all that shows the same thing, listed twice or in another colour
"""

from serving.filters import Filter
from serving.item import Item
from serving.selection import Wanted

DEARER, CHEAPER = 1.4, 0.6  # times the price that a shopper came for
UNLIKE = 0.3
VARIANT_SCORE = 0.9  # cosine
MAX_VARIANTS = 1000


def substitutes(item: Item, k: int) -> Wanted:
    """Of the leaf at about the price; then at any price; then of the branch that the leaf is on."""
    leaf = Filter((item.category,), in_stock=True, not_product=item.product)
    near = leaf
    if item.price is not None:
        near = Filter(
            leaf.categories,
            min_price=CHEAPER * item.price,
            max_price=DEARER * item.price,
            in_stock=True,
            not_product=item.product,
        )
    branch = Filter((_above(item.category),), in_stock=True, not_product=item.product)
    return Wanted(k, near, (leaf, branch), per_product=1, collapse=True)


def lookalikes(item: Item, k: int) -> Wanted:
    """Of the branch that the item's leaf is on, one view of a product, and not all alike."""
    branch = Filter((_above(item.category),), not_product=item.product)
    return Wanted(k, branch, per_product=1, collapse=True, diversity=UNLIKE)


def neighbours(category: str | None, k: int) -> Wanted:
    """Of the category that the seller names, or without one of all; one view of a product."""
    return Wanted(k, Filter((category,) if category else ()), per_product=1)


def variants() -> Wanted:
    """All that is so near, however many views or products."""
    return Wanted(MAX_VARIANTS, min_score=VARIANT_SCORE)


def _above(category: str) -> str:
    """The branch that a leaf is on; a category at the top is its own."""
    head, _, _ = category.rpartition(" > ")
    return head or category
