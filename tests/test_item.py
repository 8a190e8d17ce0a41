"""An item as operators send it."""

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BadInput
from pipelines import cells
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


@pytest.mark.parametrize("field", ["item_id", "product_id"])
@pytest.mark.parametrize("text", [" a b", "a b ", "  a b  "])
def test_an_id_that_the_catalogue_would_change(field: str, text: str) -> None:
    message = (
        f"Invalid item. `{field}` has a blank at an end, which the catalogue would take away: "
        f"another id. Expected none there. Received: {text!r}. Send 'a b' instead."
    )
    with pytest.raises(BadInput, match=f"^{re.escape(message)}$"):
        Item.parse({**LEAST, field: text})
    assert Item.parse({**LEAST, field: "a b"}).model_dump()[field] == "a b"


def test_what_was_kept_before_is_read_as_it_is() -> None:
    assert Item.model_validate_json('{"item_id": " a", "category": "Home"}').item_id == " a"


@given(st.text(min_size=1, max_size=20))
def test_no_id_that_is_taken_is_another_one_at_ingest(name: str) -> None:
    try:
        item = Item.parse({**LEAST, "item_id": name})
    except BadInput:
        return
    assert cells.text(item.item_id) == name


def test_what_is_missing() -> None:
    with pytest.raises(BadInput, match="`category`: Field required. Received: nothing."):
        Item.parse({"item_id": "a"})
