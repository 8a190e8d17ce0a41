"""An item as operators send it."""

import math
import re
from typing import Any

import pytest

from model.errors import BadInput
from serving.item import MAX_ATTRIBUTES, MAX_ID, Item

LEAST = {"item_id": "a/1", "category": "Home > Lamps"}


def test_the_least_and_the_most() -> None:
    least = Item.parse(LEAST)
    assert (least.product, math.isnan(least.amount), least.in_stock) == ("a/1", True, True)
    most = {
        **LEAST,
        "product_id": "p",
        "title": "Lamp",
        "brand": "Norrby",
        "price": 9.5,
        "currency": "EUR",
        "in_stock": False,
        "attributes": {"colour": "red"},
    }
    item = Item.parse(most)
    assert item.model_dump() == most
    assert (item.product, item.amount) == ("p", 9.5)


@pytest.mark.parametrize("path", ["Home>Lamps", " Home >  Lamps ", "Home > Lamps"])
def test_a_path_however_it_is_spaced(path: str) -> None:
    assert Item.parse({**LEAST, "category": path}).category == "Home > Lamps"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"item_id": ""}, "`item_id`: String should have at least 1 character. Received: ''."),
        ({"item_id": "a\nb"}, "`item_id`: Value error, expected printable characters."),
        ({"item_id": "x" * (MAX_ID + 1)}, "`item_id`: String should have at most 256 characters."),
        ({"item_id": 5}, "`item_id`: Input should be a valid string. Received: 5."),
        ({"category": "Home > home"}, "`category`: Value error, expected a path as `Top >"),
        ({"category": " > "}, "`category`: Value error, expected a path as `Top >"),
        ({"price": -1.0}, "`price`: Input should be greater than or equal to 0. Received: -1.0."),
        ({"price": math.nan}, "`price`: Input should be"),
        ({"price": "5"}, "`price`: Input should be a valid number. Received: '5'."),
        ({"in_stock": "yes"}, "`in_stock`: Input should be a valid boolean. Received: 'yes'."),
        ({"colour": "red"}, "`colour`: Extra inputs are not permitted. Received: 'red'."),
        ({"attributes": {"a": 1}}, "`attributes.a`: Input should be a valid string. Received: 1."),
        ({"attributes": {str(n): "" for n in range(MAX_ATTRIBUTES + 1)}}, "`attributes`: Dict"),
    ],
)
def test_what_is_no_item(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=re.escape(f"Invalid item. {message}")):
        Item.parse({**LEAST, **change})


def test_what_is_missing() -> None:
    with pytest.raises(BadInput, match="`category`: Field required. Received: nothing."):
        Item.parse({"item_id": "a"})
