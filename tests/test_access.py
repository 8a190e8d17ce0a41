"""Who may ask what, and how often: over a real server, every kind of key on every kind of route."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from tiny_bundle import AS_OPERATOR, OPERATOR, OPERATOR_SECRET, draw_photo, make_root, site

from serving.access import KEY, _client, require_operator
from serving.keys import Keys
from serving.rejected import Rejected

SEARCH_SECRET = "of-the-shop's-own-pages!"
AS_SHOP = {"Authorization": f"Bearer {SEARCH_SECRET}"}
OPEN = ("/", "/livez", "/readyz", "/metrics", "/openapi.json", "/static/page.js")
CLOSED = ("/v1/bundle", "/v1/items/item-008/image", "/v1/items/item-008", "/nowhere", "//livez")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("shop"), items=20)


@pytest.fixture(scope="module")
def locked(root: Path) -> Iterator[str]:
    with site(root, search_keys=f"shop:{SEARCH_SECRET}") as url:
        yield url


def error(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert body == {"error": {"code": body["error"]["code"], "message": body["error"]["message"]}}
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    return answer.status_code, body["error"]["code"]


@pytest.mark.parametrize("path", OPEN)
def test_some_paths_take_no_key(locked: str, path: str) -> None:
    assert httpx.get(locked + path).status_code == 200


@pytest.mark.parametrize("path", CLOSED)
def test_all_others_take_one_once_search_has_keys(locked: str, path: str) -> None:
    answer = httpx.get(locked + path)
    assert error(answer) == (401, "no_key")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert SEARCH_SECRET not in answer.text


@pytest.mark.parametrize(
    "value",
    [
        "Bearer wrong",
        "Bearer",
        f"Basic {SEARCH_SECRET}",
        SEARCH_SECRET,
        f"Bearer shop:{SEARCH_SECRET}",
        f"Bearer {SEARCH_SECRET[:-1]}",
        "Bearer \xff\xfe",
        "Bearer " + "x" * 10_000,
    ],
)
def test_a_wrong_key(locked: str, value: str) -> None:
    headers = {"Authorization": value.encode("latin-1")}
    answer = httpx.get(f"{locked}/v1/bundle", headers=headers)
    assert error(answer) == (401, "wrong_key")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "xxx" not in answer.text


@pytest.mark.parametrize(
    "headers", [AS_SHOP, AS_OPERATOR, {"authorization": f"bearer  {SEARCH_SECRET}"}]
)
def test_a_key_of_search_and_one_of_an_operator_may_search(
    locked: str, headers: dict[str, str]
) -> None:
    for path in ("/v1/bundle", "/v1/items/item-008/similar", "/v1/items/item-008/image"):
        assert httpx.get(locked + path, headers=headers).status_code == 200
    answer = httpx.post(f"{locked}/v1/search", content=draw_photo(8), headers=headers)
    assert answer.status_code == 200
    assert error(httpx.get(f"{locked}/nowhere", headers=headers)) == (404, "not_found")


def test_without_keys_of_search_any_header_will_do(root: Path) -> None:
    with site(root) as url:
        for headers in ({}, AS_SHOP, AS_OPERATOR):
            assert httpx.get(f"{url}/v1/bundle", headers=headers).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_only_operators_change_items(root: Path, locked: str, method: str) -> None:
    with site(root) as open_to_all:
        for url in (open_to_all, locked):
            path = f"{url}/v1/items/nobody"
            body = b"" if method == "DELETE" else b"{}"
            assert error(httpx.request(method, path, content=body)) == (401, "no_key")
            operator = httpx.request(method, path, content=body, headers=AS_OPERATOR)
            assert error(operator)[0] in (404, 422)
    shop = httpx.request(method, f"{locked}/v1/items/nobody", headers=AS_SHOP)
    assert error(shop) == (403, "not_an_operator")


def asking(headers: dict[str, str]) -> Request:
    """A request as a route sees it."""
    keys = Keys([(OPERATOR, OPERATOR_SECRET)], [("shop", SEARCH_SECRET)])
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    secret = headers.get("Authorization", "").removeprefix("Bearer ").encode()
    return Request({"type": "http", "headers": raw, KEY: keys.find(secret)})


def test_an_operator_is_known_by_name() -> None:
    assert require_operator(asking(AS_OPERATOR)) == OPERATOR


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "no_key"),
        ({"Authorization": "Bearer wrong"}, 401, "wrong_key"),
        (AS_SHOP, 403, "not_an_operator"),
    ],
)
def test_others_are_no_operators(headers: dict[str, str], status: int, code: str) -> None:
    with pytest.raises(Rejected) as refusal:
        require_operator(asking(headers))
    assert (refusal.value.status, refusal.value.code) == (status, code)
    assert refusal.value.headers == ({"WWW-Authenticate": "Bearer"} if status == 401 else {})


def test_each_key_has_a_rate_of_its_own(root: Path) -> None:
    keys = {"search_keys": f"shop:{SEARCH_SECRET}"}
    with site(root, requests_per_second=0.01, request_burst=3, **keys) as url:
        statuses = [httpx.get(f"{url}/v1/bundle", headers=AS_SHOP).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        answer = httpx.get(f"{url}/v1/items", headers=AS_SHOP)
        assert error(answer) == (429, "rate_limited")
        assert 90 <= int(answer.headers["Retry-After"]) <= 100
        assert httpx.get(f"{url}/v1/items", headers=AS_OPERATOR).status_code == 200
        assert error(httpx.get(f"{url}/v1/items")) == (401, "no_key")
        assert {httpx.get(url + path).status_code for path in OPEN for _ in range(2)} == {200}
        metrics = httpx.get(f"{url}/metrics").text
    assert 'lookalike_shed_requests_total{code="rate_limited"} 3.0' in metrics


def test_without_keys_each_address_has_a_rate_of_its_own(root: Path) -> None:
    with site(root, requests_per_second=0.01, request_burst=1) as url:

        def ask(address: str) -> int:
            headers = {"X-Forwarded-For": address}  # uvicorn believes it of this machine
            return httpx.get(f"{url}/v1/bundle", headers=headers).status_code

        assert [ask("10.0.0.1"), ask("10.0.0.1"), ask("10.0.0.2")] == [200, 429, 200]
        assert [ask("2001:db8::1"), ask("2001:db8::2"), ask("2001:db8:1::2")] == [200, 429, 200]
        assert [ask("a:b:nonsense"), ask("a:b:nonsense")] == [200, 429]


def test_a_client_that_waits_may_ask_again(root: Path) -> None:
    with site(root, requests_per_second=2, request_burst=1) as url, httpx.Client() as client:
        first, second = (client.get(f"{url}/v1/bundle") for _ in range(2))
        assert (first.status_code, second.status_code) == (200, 429)
        assert second.headers["Retry-After"] == "1"
        time.sleep(1)
        assert client.get(f"{url}/v1/bundle").status_code == 200


def test_an_address_in_an_older_notation_is_the_same_client() -> None:
    scopes = [{"client": (address, 1)} for address in ("10.0.0.1", "::ffff:10.0.0.1")]
    assert [_client(scope, None) for scope in scopes] == ["10.0.0.1", "10.0.0.1"]
    assert _client({}, None) == "nobody"
