"""Each use case as the parameters of one search."""

import pytest

from serving.filters import EVERY, Filter
from serving.item import Item
from serving.selection import Wanted
from serving.use_cases import lookalikes, neighbours, substitutes, variants


def item(**given: object) -> Item:
    facts = {"item_id": "a", "category": "Home > Lamps > Pendants", **given}
    return Item.parse(facts)


LEAF, BRANCH = ("Home > Lamps > Pendants",), ("Home > Lamps",)


def test_substitutes_are_in_stock_of_the_leaf_and_about_the_price() -> None:
    assert substitutes(item(product_id="p", price=10.0), 5) == Wanted(
        k=5,
        filter=Filter(LEAF, min_price=6.0, max_price=14.0, in_stock=True, not_product="p"),
        fallbacks=(
            Filter(LEAF, in_stock=True, not_product="p"),
            Filter(BRANCH, in_stock=True, not_product="p"),
        ),
        per_product=1,
        collapse=True,
    )


def test_substitutes_without_a_price_are_of_any_price() -> None:
    leaf = Filter(LEAF, in_stock=True, not_product="a")  # the item is a product of its own
    wanted = substitutes(item(), 3)
    assert (wanted.filter, wanted.fallbacks[0]) == (leaf, leaf)


def test_lookalikes_are_of_the_branch_and_unlike_each_other() -> None:
    assert lookalikes(item(product_id="p"), 7) == Wanted(
        k=7, filter=Filter(BRANCH, not_product="p"), per_product=1, collapse=True, diversity=0.3
    )


@pytest.mark.parametrize("case", [lookalikes, substitutes])
def test_a_category_at_the_top_is_its_own_branch(case: object) -> None:
    wanted = case(item(category="Home"), 3)  # type: ignore[operator]
    assert {each.categories for each in (wanted.filter, *wanted.fallbacks)} == {("Home",)}


def test_neighbours_of_a_listing() -> None:
    assert neighbours("Home > Rugs", 4) == Wanted(4, Filter(("Home > Rugs",)), per_product=1)
    assert neighbours(None, 4) == Wanted(4, EVERY, per_product=1)


def test_variants_are_all_that_are_near() -> None:
    wanted = variants()
    assert wanted == Wanted(k=1000, min_score=0.9)
    assert wanted.is_plain
