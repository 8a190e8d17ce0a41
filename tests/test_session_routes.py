"""Sessions over a real server: how one begins, what it may do, and how it ends."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tiny_bundle import AS_OPERATOR, OPERATOR_SECRET, draw_photo, make_root, site

from serving.keys import Keys
from serving.limits import SIGN_IN_BURST
from serving.sessions import COOKIE, SESSION_SECONDS, issue

SECRET = "of-the-shop's-own-team-1"
SEARCH_KEYS = f"team:{SECRET}"
WRONG = "wrong-key-of-somebody-else"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("shop"), items=20)


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    with site(root, search_keys=SEARCH_KEYS) as url:
        yield url


def begin(url: str, secret: str = SECRET, **headers: str) -> httpx.Response:
    return httpx.post(f"{url}/v1/session", json={"key": secret}, headers=headers)


def ask(url: str, token: str, path: str = "/v1/bundle", **headers: str) -> httpx.Response:
    return httpx.get(url + path, headers={"Cookie": f"a=b; {COOKIE}={token}; c=d", **headers})


def error(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert body == {"error": {"code": body["error"]["code"], "message": body["error"]["message"]}}
    return answer.status_code, body["error"]["code"]


def token_of(secret: str = SECRET, name: str = "team", ago: float = 0) -> str:
    [key] = Keys([], [(name, secret)]).searchers
    return issue(key, time.time() - ago)


def attributes(answer: httpx.Response) -> tuple[str, set[str]]:
    """The cookie's value, and what follows it."""
    [header] = answer.headers.get_list("set-cookie")
    first, *others = header.split("; ")
    name, _, value = first.partition("=")
    assert name == COOKIE
    return value, set(others)


def test_a_session_begins(url: str) -> None:
    answer = begin(url)
    assert answer.status_code == 200
    assert answer.json().keys() == {"key", "until"}
    assert answer.json()["key"] == "team"
    assert answer.headers["Cache-Control"] == "no-store"
    token, others = attributes(answer)
    bounded = f"Max-Age={SESSION_SECONDS}"
    assert others == {"HttpOnly", bounded, "Path=/", "SameSite=strict"}
    assert SECRET not in f"{answer.headers} {answer.text}"
    assert ask(url, token).status_code == 200


def test_over_https_it_is_sent_over_https_alone(url: str) -> None:
    _, others = attributes(begin(url, **{"X-Forwarded-Proto": "https"}))
    assert "Secure" in others


def test_it_searches(url: str) -> None:
    token, _ = attributes(begin(url))
    for path in ("/v1/items", "/v1/items/item-008/similar", "/v1/items/item-008/image"):
        assert ask(url, token, path).status_code == 200
    cookie = {"Cookie": f"{COOKIE}={token}"}
    found = httpx.post(f"{url}/v1/search", content=draw_photo(8), headers=cookie)
    assert found.json()["hits"][0]["item_id"] == "item-008"


def test_photos_are_kept_by_the_browser_alone(url: str) -> None:
    answer = ask(url, token_of(), "/v1/items/item-008/image")
    assert answer.headers["Cache-Control"] == "private, max-age=3600"


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_it_never_changes_the_catalogue(url: str, root: Path, method: str) -> None:
    cookie = {"Cookie": f"{COOKIE}={token_of()}"}
    path = "/v1/items/item-008"
    refused = httpx.request(method, url + path, content=b"{}", headers=cookie)
    assert error(refused) == (403, "not_an_operator")
    with site(root) as public:
        refused = httpx.request(method, public + path, content=b"{}", headers=cookie)
        assert error(refused) == (401, "no_key")
    assert ask(url, token_of(), path).status_code == 200
    other = httpx.request(method, f"{url}/v1/items/no", content=b"{}", headers=cookie | AS_OPERATOR)
    assert error(other)[0] in (404, 422)  # the operator's own key counts


@pytest.mark.parametrize(
    "token",
    [
        token_of(ago=SESSION_SECONDS),
        token_of("another secret of theirs"),
        token_of(name="teams"),
        token_of(OPERATOR_SECRET, "ada"),
        token_of()[:-1],
        token_of()[:-1] + "g",
        f"{int(time.time()) + 10 * SESSION_SECONDS}{token_of()[10:]}",
        "",
        '"',
        "x" * 5000,
        "\xff\xfe",
    ],
    ids=[
        "expired", "rotated", "renamed", "operator", "short", "no hex", "prolonged", "empty",
        "quote", "long", "no text",
    ],
)  # fmt: skip
def test_what_is_no_session_of_this_server_is_over(url: str, token: str) -> None:
    headers = {"Cookie": f"{COOKIE}={token}".encode("latin-1")}
    answer = httpx.get(f"{url}/v1/bundle", headers=headers)
    assert error(answer) == (401, "session_over")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_key_in_the_header_counts_before_a_session(url: str) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    assert error(ask(url, token_of(), **wrong)) == (401, "wrong_key")
    right = {"Authorization": f"Bearer {SECRET}"}
    assert ask(url, "over", **right).status_code == 200


def test_it_outlives_a_restart_and_holds_on_a_replica(url: str, root: Path) -> None:
    token, _ = attributes(begin(url))
    with site(root, search_keys=f"shop:{'s' * 24},{SEARCH_KEYS}") as replica:
        assert ask(replica, token).status_code == 200


def test_it_has_the_rate_of_its_key(root: Path) -> None:
    with site(root, search_keys=SEARCH_KEYS, requests_per_second=0.01, request_burst=3) as url:
        token, _ = attributes(begin(url))
        statuses = [ask(url, token).status_code for _ in range(2)]
        bearer = {"Authorization": f"Bearer {SECRET}"}
        statuses += [httpx.get(f"{url}/v1/bundle", headers=bearer).status_code for _ in range(2)]
        assert statuses == [200, 200, 200, 429]


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (WRONG, (401, "wrong_key")),
        (SECRET[:-1], (401, "wrong_key")),
        (SEARCH_KEYS, (401, "wrong_key")),
        ("schlüssel" * 5, (401, "wrong_key")),
        (OPERATOR_SECRET, (403, "not_a_search_key")),
        ("", (422, "invalid_key")),
        ("x" * 501, (422, "invalid_key")),
    ],
    ids=["wrong", "short", "with its name", "no ASCII", "operator", "empty", "long"],
)
def test_what_begins_no_session(url: str, secret: str, expected: tuple[int, str]) -> None:
    answer = begin(url, secret)
    assert error(answer) == expected
    assert "set-cookie" not in answer.headers
    assert not secret or secret not in answer.text


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"key": 1}', b'{"key": "a", "b": 1}', b"{", b""])
def test_a_body_that_is_none(url: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = httpx.post(f"{url}/v1/session", content=body, headers=headers)
    assert error(answer)[0] in (400, 422)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_form_of_another_site_begins_none(url: str, kind: str) -> None:
    """A browser sends these types to any site without being asked, as it does not send JSON."""
    body = f'{{"key": "{SECRET}"}}'.encode()
    answer = httpx.post(f"{url}/v1/session", content=body, headers={"Content-Type": kind})
    assert error(answer) == (415, "not_json")
    assert "set-cookie" not in answer.headers


def test_where_search_is_public_no_key_begins_one(root: Path) -> None:
    with site(root) as public:
        assert error(begin(public)) == (401, "wrong_key")
        assert error(begin(public, OPERATOR_SECRET)) == (403, "not_a_search_key")
        assert ask(public, "any").status_code == 200
        assert ask(public, "any", "/v1/session").json() == {"needs_key": False, "key": None}


def test_whose_it_is(url: str) -> None:
    assert ask(url, token_of(), "/v1/session").json() == {"needs_key": True, "key": "team"}
    assert ask(url, "over", "/v1/session").json() == {"needs_key": True, "key": None}
    assert httpx.get(f"{url}/v1/session").json() == {"needs_key": True, "key": None}


def test_it_ends(url: str) -> None:
    answer = httpx.delete(f"{url}/v1/session")
    assert (answer.status_code, answer.content) == (204, b"")
    value, others = attributes(answer)
    assert value == '""'
    assert others == {"HttpOnly", "Max-Age=0", "Path=/", "SameSite=strict"}


def test_tries_are_counted_and_bounded(root: Path) -> None:
    with site(root, search_keys=SEARCH_KEYS) as url, httpx.Client() as client:

        def attempt(secret: str, address: str) -> int:
            headers = {"X-Forwarded-For": address}
            shown = {"key": secret}
            return client.post(f"{url}/v1/session", json=shown, headers=headers).status_code

        tries = [attempt(WRONG, "10.0.0.1") for _ in range(SIGN_IN_BURST + 5)]
        assert tries[:SIGN_IN_BURST] == [401] * SIGN_IN_BURST
        assert tries[-1] == 429
        assert attempt(SECRET, "10.0.0.2") == 200
        bearer = {"Authorization": f"Bearer {SECRET}", "X-Forwarded-For": "10.0.0.1"}
        assert client.get(f"{url}/v1/bundle", headers=bearer).status_code == 200
        families = text_string_to_metric_families(client.get(f"{url}/metrics").text)
        [shown] = [family for family in families if family.name == "lookalike_sign_ins"]
        counted = {sample.labels["outcome"]: sample.value for sample in shown.samples}
        assert counted == {"accepted": 1, "refused": sum(status == 401 for status in tries)}
