"""Items that come, change and go while the engine answers."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import DIMENSIONS, draw_photo

from engine.shop import BASE, ITEMS, ids, name
from model.errors import BadInput
from serving.bundle import verify
from serving.engine import Ask, Engine
from serving.filters import EVERY, Filter
from serving.item import Item
from serving.items import UnknownItem
from serving.selection import Wanted


@pytest.fixture
def changing(root: Path, digest: str) -> Engine:
    """An engine of its own."""
    return Engine(verify(root / "bundles" / digest, digest), threads=1)


def item(number: int, **given: object) -> Item:
    facts = {"item_id": name(number), "category": "Home > Rugs > Round rugs", **given}
    return Item.parse(facts)


def vector_of(engine: Engine, photo: bytes) -> np.ndarray:
    vectors, _ = engine.embed([engine.look(photo)])
    return vectors[0]


def test_a_new_item_is_found_at_once(changing: Engine) -> None:
    photo = draw_photo(333)
    new = item(333, title="New", brand="Norrby", price=3.5, attributes={"colour": "red"})
    changing.put(new, vector_of(changing, photo), "new.jpg")
    assert len(changing) == ITEMS + 1
    first = changing.search(photo, 1).hits[0]
    assert first == {
        "item_id": "item-333",
        "product_id": "item-333",
        "title": "New",
        "brand": "Norrby",
        "category": "Home > Rugs > Round rugs",
        "price": 3.5,
        "currency": None,
        "in_stock": True,
        "score": 1.0,
    }
    row = changing.items.row("item-333")
    assert (changing.items.image(row), changing.items.item(row)) == ("new.jpg", new)
    red = Wanted(1, Filter(max_price=3.5, attributes=(("colour", "red"),)))
    assert ids(changing.search(draw_photo(1), red)) == ["item-333"]
    assert "item-333" not in ids(changing.similar("item-333", 100))
    assert "item-333" in ids(changing.similar("item-001", 100))


@pytest.mark.parametrize("number", [10, BASE + 2])
def test_an_item_changed_in_place_keeps_its_vector_and_photo(changing: Engine, number: int) -> None:
    before = changing.similar(name(number), 5).hits
    image = changing.items.image(number)
    changing.put(item(number, title="Changed", brand="Zeta", in_stock=False, price=1.0))
    assert (len(changing), changing.index.changes) == (ITEMS, ITEMS - BASE)
    assert changing.items.image(changing.items.row(name(number))) == image
    assert changing.similar(name(number), 5).hits == before
    only = Wanted(5, Filter(brands=("Zeta",), in_stock=False))
    (hit,) = changing.search(draw_photo(number), only).hits
    assert (hit["item_id"], hit["title"], hit["score"]) == (name(number), "Changed", 1.0)


@pytest.mark.parametrize("number", [10, BASE + 2])
def test_an_item_with_a_new_photo_is_found_by_that_alone(changing: Engine, number: int) -> None:
    old, new = draw_photo(number), draw_photo(333)
    vector = vector_of(changing, new)
    for _ in range(2):
        changing.put(item(number), vector, "again.jpg")
        assert len(changing) == ITEMS
        assert ids(changing.search(new, 1)) == [name(number)]
        found = changing.search(old, ITEMS).hits
        assert [hit["item_id"] for hit in found].count(name(number)) == 1
        assert found[0]["item_id"] != name(number)
        scores = {hit["item_id"]: hit["score"] for hit in changing.search(new, ITEMS).hits}
        similar = changing.similar(name(number), ITEMS).hits
        assert {hit["item_id"]: hit["score"] for hit in similar} == pytest.approx(
            {each: score for each, score in scores.items() if each != name(number)}, abs=2e-4
        )


@pytest.mark.parametrize("number", [10, BASE + 2])
def test_an_item_that_is_removed_is_gone_and_may_come_back(changing: Engine, number: int) -> None:
    photo, vector = draw_photo(number), np.array(changing.index.vector(number))
    for _ in range(2):
        changing.remove(name(number))
        changing.remove(name(number))  # gone already
        assert len(changing) == ITEMS - 1
        for wanted in (
            Wanted(ITEMS),
            Wanted(ITEMS, Filter(min_price=0.0)),
            Wanted(5, collapse=True),
        ):
            assert name(number) not in ids(changing.search(photo, wanted))
        with pytest.raises(UnknownItem):
            changing.similar(name(number))
        with pytest.raises(BadInput) as caught:
            changing.put(item(number))
        assert str(caught.value) == (
            f"The item {name(number)!r} is new. Expected a photo of it. Received none."
        )
        changing.put(item(number), vector, "back.jpg")
        assert ids(changing.search(photo, 1)) == [name(number)]
        assert len(changing.similar(name(number), 1000).hits) == ITEMS - 1


@pytest.mark.parametrize("size", [DIMENSIONS + 1, 0])
def test_a_bad_vector_changes_nothing(changing: Engine, size: int) -> None:
    bad = np.ones(size, np.float32) if size else np.full(DIMENSIONS, np.nan, np.float32)
    before = changing.items.facets(9), changing.search(draw_photo(5), ITEMS).hits
    for number in (5, 333):
        with pytest.raises(BadInput):
            changing.put(item(number, title="Bad"), bad, "bad.jpg")
    assert (len(changing), len(changing.items)) == (ITEMS, ITEMS)
    assert (changing.items.facets(9), changing.search(draw_photo(5), ITEMS).hits) == before
    assert changing.items.find("item-333") is None


def test_all_items_may_go_and_others_come(changing: Engine) -> None:
    for number in range(ITEMS):
        changing.remove(name(number))
    assert len(changing) == 0
    assert changing.search(draw_photo(1), Wanted(5, Filter(in_stock=True), (EVERY,))).hits == []
    changing.put(item(1), vector_of(changing, draw_photo(1)), "1.jpg")
    assert ids(changing.search(draw_photo(1), Wanted(5, per_product=1))) == [name(1)]
    assert changing.similar(name(1), 5).hits == []


def test_answers_while_items_change_are_of_before_or_after(changing: Engine) -> None:
    """An item moves between two photos, each time with the title of the photo it has."""
    photos, ended = (draw_photo(333), draw_photo(334)), threading.Event()
    vectors = [vector_of(changing, photo) for photo in photos]
    changing.put(item(10, title="0", brand="Zeta"), vectors[0], "0.jpg")
    only = Wanted(5, Filter(brands=("Zeta",)))

    def ask() -> set[int]:
        counts = set()
        while not ended.is_set():
            for wanted in (only, Wanted(ITEMS)):
                asks = [Ask(vector, wanted) for vector in vectors]
                for found in changing.find(asks):
                    own = [hit for hit in changing.hits(found) if hit["item_id"] == name(10)]
                    counts.add(len(own))
        return counts

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        for number in range(1, 300):
            which = number % 2
            changing.put(item(10, title=str(which), brand="Zeta"), vectors[which], "x.jpg")
        ended.set()
        assert [each.result() - {0, 1} for each in asking] == [set(), set()]
    assert len(changing) == ITEMS
    assert changing.search(photos[1], 1).hits[0]["title"] == "1"
