"""Past the router: the same answers, errors and counts as on the way through it."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from tiny_bundle import AWKWARD_IDS, serve_settings

from serving.champion import Champion
from serving.routes import create_app

SHORT, BY_ROUTER = "/v1/items/item-008/similar", "?k=12"
KNOWN = (*AWKWARD_IDS.values(), "item-008")
CHANGING = ("server-timing", "content-length", "x-lookalike-index-age", "date")


def told(answer: httpx.Response) -> tuple[int, dict[str, str], dict[str, Any]]:
    """All of an answer that is the same a moment later."""
    headers = {n: v for n, v in answer.headers.items() if n not in CHANGING}
    body = answer.json()
    body.get("bundle", {}).pop("index_age_seconds", None)
    return answer.status_code, headers, body


@pytest.mark.parametrize("item_id", [*KNOWN, "no such item", "a/similar"])
def test_the_answer_is_that_of_the_router(url: str, item_id: str) -> None:
    short = f"{url}/v1/items/{quote(item_id, safe='')}/similar"
    answer = httpx.get(short)
    assert told(answer) == told(httpx.get(short + BY_ROUTER))
    assert answer.status_code == (200 if item_id in KNOWN else 404)


def test_other_methods_and_no_id_take_the_router(url: str) -> None:
    assert httpx.post(url + SHORT).status_code == 405
    assert httpx.head(url + SHORT).status_code == 200
    no_id = httpx.get(f"{url}/v1/items//similar")  # the item `/similar`, for the router
    assert no_id.json()["error"]["message"].startswith("No item '/similar' in the catalogue.")


def test_it_counts_as_the_route(url: str) -> None:
    def count() -> float:
        line = 'lookalike_requests_total{route="/v1/items/{item_id}/similar",status="200"}'
        lines = httpx.get(f"{url}/metrics").text.splitlines()
        return sum(float(each.split()[-1]) for each in lines if each.startswith(line))

    before = count()
    for query in ("", BY_ROUTER):
        httpx.get(url + SHORT + query)
    assert count() - before == 2


def test_a_server_that_ends_says_so(root: Path) -> None:
    champion = Champion(serve_settings(root))
    champion.poll()
    app = create_app(champion)
    app.state.close()

    async def ask(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(path)

    answer = asyncio.run(ask(SHORT))
    assert told(answer) == told(asyncio.run(ask(SHORT + BY_ROUTER)))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["error"]["code"] == "overloaded"
