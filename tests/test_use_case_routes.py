"""Vectors, batches, listings, items and use cases over a real server: what the engine answers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from tiny_bundle import AWKWARD_IDS, DIMENSIONS, draw_photo, make_root, site

from serving import limits, use_cases
from serving.bundle import verify
from serving.engine import Engine
from serving.filters import Filter
from serving.ledger import champion
from serving.selection import Wanted

ITEMS = 60


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("shop"), items=ITEMS)


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    with site(root) as url:
        yield url


@pytest.fixture(scope="module")
def engine(root: Path) -> Engine:
    entry = champion(root)
    assert entry is not None
    return Engine(verify(root / "bundles" / entry.bundle, entry.bundle), threads=1)


def name(number: int) -> str:
    return AWKWARD_IDS.get(number, f"item-{number:03}")


def answered(answer: httpx.Response) -> dict[str, Any]:
    """The body without its bundle."""
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert answer.headers["X-Lookalike-Bundle"] == body.pop("bundle")["digest"]
    return body


def refused(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    assert set(answer.json()) == {"error"}
    return answer.status_code, error["code"], error["message"]


PARAMETERS = {
    "k": 7,
    "category": ["Home", "Fashion > Hats"],
    "min_price": 12.5,
    "in_stock": "true",
    "attribute": "colour:red",
    "per_product": 1,
    "diversity": 0.2,
    "min_score": 0.1,
}
WANTED = Wanted(
    k=7,
    filter=Filter(
        ("Home", "Fashion > Hats"), min_price=12.5, in_stock=True, attributes=(("colour", "red"),)
    ),
    per_product=1,
    diversity=0.2,
    min_score=0.1,
)


def vector_body(engine: Engine, row: int, **changed: Any) -> dict[str, Any]:
    given = {"vector": engine.vectors[row].tolist(), "space_id": engine.space_id}
    return {**given, **changed}


# Vectors


@pytest.mark.parametrize("length", [1.0, 1e-9, 1e30])
def test_a_vector_of_any_length_finds_what_is_near(url: str, engine: Engine, length: float) -> None:
    vector = [length * float(x) for x in engine.vectors[8]]
    body = vector_body(engine, 8, vector=vector)
    answer = httpx.post(f"{url}/v1/search/vector", params=PARAMETERS, json=body)
    expected = engine.similar(name(8), WANTED).hits
    found = answered(answer)
    # The vector is no item: the one whose vector it is may be among the hits.
    assert [hit for hit in found["hits"] if hit["item_id"] != name(8)][:3] == expected[:3]
    plain = answered(httpx.post(f"{url}/v1/search/vector", params={"k": 1}, json=body))
    assert plain == {"hits": [{**engine.items.shown(8), "score": 1.0}]}


@pytest.mark.parametrize(
    ("changed", "received"),
    [
        ({"vector": [1.0]}, "Expected 16 numbers. Received: 1 values, 1 of them numbers."),
        (
            {"vector": [True] * DIMENSIONS},
            "Expected 16 numbers. Received: 16 values, 0 of them numbers.",
        ),
        (
            {"vector": [0.0] * 15 + ["1"]},
            "Expected 16 numbers. Received: 16 values, 15 of them numbers.",
        ),
        ({"vector": [0.0] * DIMENSIONS}, "Expected a finite length above 0. Received: 0."),
        ({"vector": [1e300] * DIMENSIONS}, "Expected a finite length above 0. Received: inf."),
    ],
)
def test_what_is_no_vector(
    url: str, engine: Engine, changed: dict[str, Any], received: str
) -> None:
    answer = httpx.post(f"{url}/v1/search/vector", json=vector_body(engine, 8, **changed))
    assert refused(answer) == (422, "invalid_vector", f"Invalid `vector`. {received}")


@pytest.mark.parametrize("changed", [{"vector": 1}, {"vector": None}, {"more": 1}])
def test_a_body_without_a_vector_or_with_more(
    url: str, engine: Engine, changed: dict[str, Any]
) -> None:
    body = vector_body(engine, 8, **changed)
    assert refused(httpx.post(f"{url}/v1/search/vector", json=body)) == (
        422,
        "invalid_vector",
        f"Expected `vector`: 16 numbers, and `space_id`. Received: {sorted(body)}.",
    )


@pytest.mark.parametrize("space", ["other-16", None, 7])
def test_a_vector_of_another_space(url: str, engine: Engine, space: object) -> None:
    answer = httpx.post(f"{url}/v1/search/vector", json=vector_body(engine, 8, space_id=space))
    assert refused(answer) == (
        409,
        "other_space",
        "Vectors compare only within one space. Expected `space_id` 'tiny-16'. "
        f"Received: {str(space)!r}. Embed the photo again.",
    )


# Batches


def test_a_batch_is_what_each_item_gets_alone(url: str, engine: Engine) -> None:
    ids = [name(number) for number in (3, 10, 4, 59, 10)] + ["gone", ""]
    found = answered(
        httpx.post(f"{url}/v1/search/batch", params=PARAMETERS, json={"item_ids": ids})
    )
    expected = {each: engine.similar(each, WANTED).hits for each in ids[:5]}
    assert found == {"answers": [{"item_id": each, "hits": expected.get(each)} for each in ids]}


def test_a_batch_of_none_that_are_there(url: str) -> None:
    found = answered(httpx.post(f"{url}/v1/search/batch", json={"item_ids": ["gone"]}))
    assert found == {"answers": [{"item_id": "gone", "hits": None}]}


@pytest.mark.parametrize(
    "body", [{}, {"item_ids": "a"}, {"item_ids": [1]}, {"item_ids": [], "k": 1}]
)
def test_what_is_no_batch(url: str, body: dict[str, Any]) -> None:
    assert refused(httpx.post(f"{url}/v1/search/batch", json=body)) == (
        422,
        "invalid_item_ids",
        f"Expected `item_ids`: a list of texts. Received: {sorted(body)}.",
    )


@pytest.mark.parametrize("count", [0, limits.MAX_BATCH + 1])
def test_a_batch_of_none_or_too_many(url: str, count: int) -> None:
    answer = httpx.post(f"{url}/v1/search/batch", json={"item_ids": ["a"] * count})
    assert refused(answer) == (
        422,
        "invalid_item_ids",
        f"Invalid `item_ids`. Expected 1 to 64. Received: {count}.",
    )


# Listings


@pytest.mark.parametrize("category", [None, "Home", " Home>Lamps "])
def test_a_listing_is_its_category_its_brand_and_what_is_beside_it(
    url: str, engine: Engine, category: str | None
) -> None:
    photo = draw_photo(8)
    given = {} if category is None else {"category": category}
    found = answered(httpx.post(f"{url}/v1/listing", params={"k": 5, **given}, content=photo))
    path = {None: None, "Home": "Home", " Home>Lamps ": "Home > Lamps"}[category]
    expected = engine.search(photo, use_cases.neighbours(path, 5))
    _, odds = engine.embed([engine.look(photo)])
    assert found == {
        "searched": {"by": "whole", "box": [0, 0, 240, 240], "photo": [240, 240]},
        **engine.classify(odds[0], expected.hits),
        "hits": expected.hits,
    }
    assert found["category"][-1]["path"] == "Home > Lamps > Pendants"
    assert len({hit["product_id"] for hit in found["hits"]}) == 5


def test_a_listing_of_a_box_and_as_a_form(url: str, engine: Engine) -> None:
    files = {"image": ("a.jpg", draw_photo(8))}
    found = answered(httpx.post(f"{url}/v1/listing", params={"box": "10,10,200,200"}, files=files))
    assert found["searched"] == {"by": "given", "box": [10, 10, 200, 200], "photo": [240, 240]}
    assert len(found["hits"]) == limits.DEFAULT_K


def test_a_listing_has_one_category(url: str) -> None:
    asked = {"category": ["Home", "Fashion"]}
    answer = httpx.post(f"{url}/v1/listing", params=asked, content=draw_photo(8))
    assert refused(answer) == (
        422,
        "invalid_category",
        "Invalid `category`. Expected one of them. Received: '2 values'.",
    )


# Items and what is asked of them


@pytest.mark.parametrize("number", [3, 4, 5, 6, 7, 8, 59])
def test_an_item_and_its_attributes(url: str, engine: Engine, number: int) -> None:
    answer = httpx.get(f"{url}/v1/items/{quote(name(number), safe='')}")
    colour = {"colour": ("red", "blue")[number % 2]} if number % 3 else {}
    expected = engine.items.shown(number) | {"attributes": colour}
    assert answered(answer) == {"item": expected}
    assert expected["item_id"] == name(number)
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("number", [3, 8, 9, 59])  # 9 and 59 have no price
@pytest.mark.parametrize("case", ["substitutes", "lookalikes"])
def test_a_use_case_is_the_engines_answer(url: str, engine: Engine, case: str, number: int) -> None:
    address = f"{url}/v1/items/{quote(name(number), safe='')}/{case}"
    for k in (4, 30):
        found = answered(httpx.get(address, params={"k": k}))
        row = engine.items.row(name(number))
        item = engine.items.item(row)
        wanted = getattr(use_cases, case)(item, k)
        assert found == {
            "item": engine.items.shown(row),
            "hits": engine.similar(name(number), wanted).hits,
        }
        products = [hit["product_id"] for hit in found["hits"]]
        assert item.product not in products
        assert len(set(products)) == len(products)
        if case == "substitutes":
            assert all(hit["in_stock"] for hit in found["hits"])


def test_variants_are_all_that_is_near(url: str, engine: Engine) -> None:
    found = answered(httpx.get(f"{url}/v1/items/item-010/variants"))
    every = engine.similar("item-010", ITEMS).hits
    assert found["hits"] == [hit for hit in every if hit["score"] >= 0.9]
    assert 0 < len(found["hits"]) < len(every)


@pytest.mark.parametrize("case", ["", "/substitutes", "/lookalikes", "/variants", "/similar"])
def test_an_unknown_item(url: str, case: str) -> None:
    assert refused(httpx.get(f"{url}/v1/items/gone{case}")) == (
        404,
        "unknown_item",
        "No item 'gone' in the catalogue. Expected the `item_id` of one in it.",
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/items/item-010", "none"),
        ("/v1/items/item-010/substitutes", "`k`"),
        ("/v1/items/item-010/lookalikes", "`k`"),
        ("/v1/items/item-010/variants", "none"),
        ("/v1/facets", "none"),
    ],
)
def test_a_parameter_that_is_none(url: str, path: str, expected: str) -> None:
    answer = httpx.get(url + path, params={"colour": "red"})
    assert refused(answer) == (
        422,
        "unknown_parameter",
        f"Unknown parameter. Expected one of {expected}. Received: 'colour'.",
    )


def test_facets_are_what_is_there(url: str, engine: Engine) -> None:
    found = answered(httpx.get(f"{url}/v1/facets"))
    assert found == engine.items.facets(200)
    assert sum(each["count"] for each in found["categories"]) == ITEMS
    assert found["brands"] == [
        {"name": "Norrby", "count": 20},
        {"name": "Aldi & Söhne", "count": 20},
    ]
    assert found["price"] == {"least": 9.5, "most": 67.5}
    assert found["currencies"] == [{"name": "EUR", "count": 54}]
    values = [{"name": "blue", "count": 20}, {"name": "red", "count": 20}]
    assert found["attributes"] == [{"name": "colour", "values": values}]
    for each in found["categories"]:  # each can be filtered by, and has as many
        hits = engine.search(draw_photo(1), Wanted(100, Filter((each["name"],)))).hits
        assert len(hits) == each["count"]


def test_many_at_once_get_their_own_answers(url: str, engine: Engine) -> None:
    def ask(number: int) -> tuple[int, list[Any]]:
        with httpx.Client() as client:
            address = f"{url}/v1/items/{quote(name(number), safe='')}/similar"
            return number, answered(client.get(address, params={"k": 1 + number % 5}))["hits"]

    with ThreadPoolExecutor(8) as pool:
        for number, hits in pool.map(ask, range(ITEMS)):
            assert hits == engine.similar(name(number), 1 + number % 5).hits
