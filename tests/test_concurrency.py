"""Many clients at once get what one client gets: every answer of every level is compared."""

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tiny_bundle import draw_photo, make_root, site

from serving import limits

LEVELS = (1, 4, 16, 64)
PHOTOS = 12
ITEMS = 40
SHED = {"overloaded", "deadline"}
Ask = Callable[[httpx.Client], httpx.Response]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with site(make_root(tmp_path_factory.mktemp("shop"))) as url:
        yield url


def by_photo(number: int) -> Ask:
    photo = draw_photo(number)
    return lambda client: client.post("/v1/search", content=photo)


def by_item(number: int) -> Ask:
    return lambda client: client.get(f"/v1/items/item-{number:03}/similar")


QUESTIONS: list[Ask] = [
    *(by_photo(number) for number in range(PHOTOS)),
    *(by_item(number) for number in range(10, 10 + ITEMS)),
]


def answer(client: httpx.Client, number: int) -> tuple[int, Any]:
    """The number of the question, and its hits, or the code of the error."""
    response = QUESTIONS[number](client)
    body = response.json()
    if response.status_code == 200:
        return number, body["hits"]
    assert response.status_code in (429, 503), response.text
    assert int(response.headers["Retry-After"]) >= 1
    return number, body["error"]["code"]


def ask_all(url: str, numbers: list[int], clients: int) -> list[tuple[int, Any]]:
    """Each client asks its part one after the other, on a connection of its own."""

    def part(own: list[int]) -> list[tuple[int, Any]]:
        with httpx.Client(base_url=url, timeout=60) as client:
            return [answer(client, number) for number in own]

    with ThreadPoolExecutor(clients) as pool:
        parts = pool.map(part, [numbers[start::clients] for start in range(clients)])
        return list(itertools.chain.from_iterable(parts))


@pytest.fixture(scope="module")
def expected(url: str) -> dict[int, Any]:
    found = dict(ask_all(url, list(range(len(QUESTIONS))), 1))
    assert {len(hits) for hits in found.values()} == {12}
    assert len({hits[0]["item_id"] for hits in found.values()}) > PHOTOS
    return found


def check_level(url: str, expected: dict[int, Any], clients: int, requests: int) -> None:
    """No error: all searches by item, and not more photos at once than there are places."""
    chance = random.Random(clients)
    mixed = [chance.randrange(len(QUESTIONS)) for _ in range(requests)]
    found = ask_all(url, mixed, clients)
    assert Counter(number for number, _ in found) == Counter(mixed)
    wrong = [(number, got) for number, got in found if got != expected[number]]
    if clients <= limits.MAX_PHOTOS:
        assert wrong == []
    else:  # more than so many may ask by photo at once
        assert {got for _, got in wrong if isinstance(got, str)} <= SHED
        assert [number for number, got in wrong if not isinstance(got, str)] == []
        assert [number for number, _ in wrong if number >= PHOTOS] == []


@pytest.mark.parametrize("clients", LEVELS)
def test_answers_are_those_of_one_client(url: str, expected: dict[int, Any], clients: int) -> None:
    check_level(url, expected, clients, 300)


@pytest.mark.slow
@pytest.mark.parametrize("clients", LEVELS)
def test_two_thousand_answers_are_those_of_one_client(
    url: str, expected: dict[int, Any], clients: int
) -> None:
    """2,000 in all: for each of 64 clients they would be 128,000, and take ten minutes."""
    check_level(url, expected, clients, 2000)


def test_above_the_limit_photos_are_shed_and_nothing_else(
    url: str, expected: dict[int, Any]
) -> None:
    clients = 2 * limits.MAX_PHOTOS
    found = ask_all(url, [number % PHOTOS for number in range(6 * clients)], clients)
    codes = Counter(got if isinstance(got, str) else "answered" for _, got in found)
    assert set(codes) <= {"answered", "overloaded"}
    assert codes["answered"] >= limits.MAX_PHOTOS
    assert [number for number, got in found if got not in (expected[number], "overloaded")] == []
    time.sleep(0.2)
    assert ask_all(url, [0, PHOTOS], 1) == [(0, expected[0]), (PHOTOS, expected[PHOTOS])]
