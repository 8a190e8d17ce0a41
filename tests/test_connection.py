"""Clients that speak no HTTP, or too much of it, or too slowly; the next one is served as ever."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tiny_bundle import draw_photo, make_root, site

from serving import bodies, connection, limits

GET = b"GET /livez HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /v1/search/vector HTTP/1.1\r\nHost: a\r\n"
QUICK = 2.0  # seconds, on a machine that does other work too
UVICORN_KEEPS = 5.0  # seconds, by default
MANY = 500  # slow clients at once
MAX_RISE_MB = 100


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("shop"), items=20)


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    with site(root) as url:
        yield url


@pytest.fixture(autouse=True)
def the_server_is_unharmed(url: str) -> Iterator[None]:
    """After each test: it answers at once, and has taken little memory."""
    process = psutil.Process()
    before = process.memory_info().rss
    yield
    started = time.monotonic()
    answer = httpx.post(f"{url}/v1/search", params={"k": 1}, content=draw_photo(8))
    assert answer.json()["hits"][0]["item_id"] == "item-008"
    assert time.monotonic() - started < QUICK
    assert process.memory_info().rss - before < MAX_RISE_MB * 1e6


@contextmanager
def connected(url: str, *parts: bytes) -> Iterator[socket.socket]:
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port or 0), timeout=20) as client:
        for part in parts:
            client.sendall(part)
        yield client


def answer_to(url: str, *parts: bytes) -> str:
    """All that comes until the server hangs up."""
    address = httpx.URL(url)
    received = bytearray()
    with socket.create_connection((address.host, address.port or 0), timeout=20) as client:
        try:
            for part in parts:
                client.sendall(part)
            while piece := client.recv(65_536):
                received += piece
        except (BrokenPipeError, ConnectionResetError):
            pass  # it hung up while we still sent; what it said may have come or not
    return received.decode("latin-1")


def error(answer: str) -> tuple[int, str]:
    head, _, body = answer.partition("\r\n\r\n")
    assert "\r\ncontent-type: application/json\r\n" in head
    assert "\r\nx-content-type-options: nosniff\r\n" in head
    found: dict[str, Any] = json.loads(body)
    assert set(found) == {"error"}
    assert set(found["error"]) == {"code", "message"}
    return int(head.split()[1]), found["error"]["code"]


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # TLS
        b"\0" * 1000,
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        POST + b"Content-Length: 99999999999999999999999999\r\n\r\n",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_http(url: str, request_: bytes) -> None:
    started = time.monotonic()
    assert error(answer_to(url, request_)) == (400, "invalid_http")
    assert time.monotonic() - started < QUICK


@pytest.mark.parametrize(
    "head",
    [
        GET + b"X: " + b"x" * 1_000_000 + b"\r\n\r\n",
        GET + b"X: " + b"x" * 66_000 + b"\r\n\r\n",
        GET + b"x" * 1_000_000,
        GET + b"".join(b"X%d: y\r\n" % n for n in range(100_000)) + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /?" + b"&".join(b"k%d=1" % n for n in range(10_000)) + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["1 MB", "64 kB", "endless", "100,000", "path of 100 kB", "10,000 parameters"],
)
def test_a_head_that_is_too_long(url: str, head: bytes) -> None:
    started = time.monotonic()
    pieces = [head[start : start + 50_000] for start in range(0, len(head), 50_000)]
    answer = answer_to(url, *pieces)
    assert not answer or error(answer) == (431, "head_too_large")
    assert time.monotonic() - started < QUICK


def test_a_head_that_ends_just_above_the_bound_is_answered(url: str) -> None:
    head = GET + b"X: " + b"x" * limits.MAX_HEAD_BYTES + b"\r\n\r\n"
    assert error(answer_to(url, head)) == (431, "head_too_large")


def test_a_long_head_within_the_bound(url: str) -> None:
    head = GET + b"Connection: close\r\nX: " + b"x" * (limits.MAX_HEAD_BYTES - 500) + b"\r\n\r\n"
    assert answer_to(url, head).startswith("HTTP/1.1 200 ")


def test_a_body_that_comes_with_its_head_is_no_head(url: str) -> None:
    photo = draw_photo(8) + bytes(200_000)
    head = b"POST /v1/search HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    assert answer_to(url, head % len(photo) + photo).startswith("HTTP/1.1 200 ")


def test_trailers_end(url: str) -> None:
    """Bytes behind a chunked body are a head too."""
    trailer = b"Trailer: " + b"x" * 1_000_000
    answer = answer_to(url, POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", trailer)
    assert not answer or error(answer) == (431, "head_too_large")


def test_a_chunked_body_that_never_ends(url: str) -> None:
    chunks = (b"%x\r\n" % 10_000 + b"[" * 10_000 + b"\r\n" for _ in range(10_000))
    started = time.monotonic()
    answer = answer_to(url, POST + b"Transfer-Encoding: chunked\r\n\r\n", *chunks)
    assert not answer or error(answer) == (413, "body_too_large")
    assert time.monotonic() - started < 5 * QUICK


def test_garbage_behind_a_request(url: str) -> None:
    answer = answer_to(url, GET + b"\r\n" + b"\0garbage\r\n\r\n" * 10)
    assert '{"error":{"code":"invalid_http"' in answer


def test_many_requests_in_one_packet(url: str) -> None:
    last = GET + b"Connection: close\r\n\r\n"
    answer = answer_to(url, (GET + b"\r\n") * 300 + last)
    assert answer.count("HTTP/1.1 200 ") == 301


@pytest.mark.parametrize("sent", [b"", GET, b"G", GET + b"X: y\r\n"])
def test_a_head_that_does_not_come(url: str, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)
    answer = answer_to(url, sent)
    assert answer == "" if not sent else error(answer) == (408, "head_timeout")


def test_a_second_head_that_does_not_come(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)
    with connected(url, GET + b"\r\n") as client:
        assert client.recv(10_000).startswith(b"HTTP/1.1 200 ")
        client.sendall(b"GET /livez")
        rest = b"".join(iter(lambda: client.recv(10_000), b""))
    assert error(rest.decode()) == (408, "head_timeout")


def test_a_connection_waits_for_its_next_request(url: str) -> None:
    """A balancer that keeps it for longer than the server sends one that nobody hears."""
    with connected(url, GET + b"\r\n") as client:
        assert client.recv(10_000).startswith(b"HTTP/1.1 200 ")
        time.sleep(UVICORN_KEEPS + 0.5)
        client.sendall(GET + b"\r\n")
        assert client.recv(10_000).startswith(b"HTTP/1.1 200 ")


def test_a_connection_without_a_next_request_ends(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 0.3)
    started = time.monotonic()
    assert answer_to(url, GET + b"\r\n").startswith("HTTP/1.1 200 ")
    assert 0.3 <= time.monotonic() - started < QUICK


def test_a_body_that_nobody_reads_ends_too(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is none, so the answer comes before the body; the client drips on."""
    monkeypatch.setattr(connection, "UPLOAD_SECONDS", 0.3)
    head = b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
    with connected(url, head) as client:
        assert client.recv(10_000).startswith(b"HTTP/1.1 404 ")
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            drip(client)


def drip(client: socket.socket) -> None:
    for _ in range(50):
        client.sendall(b"x")
        time.sleep(0.05)


def test_an_answer_that_nobody_reads_ends(
    url: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.3)
    photo = root / "images" / "009.jpg"
    photo.write_bytes(photo.read_bytes() + bytes(9_000_000))
    received = 0
    with connected(url, b"GET /v1/items/item-009/image HTTP/1.1\r\nHost: a\r\n\r\n") as client:
        time.sleep(1)
        try:
            while piece := client.recv(1_000_000):
                received += len(piece)
        except ConnectionResetError:
            pass
    assert received < 9_000_000


def test_an_answer_that_is_read_slowly_is_read_to_its_end(url: str, root: Path) -> None:
    photo = root / "images" / "010.jpg"
    photo.write_bytes(photo.read_bytes() + bytes(9_000_000))
    with httpx.stream("GET", f"{url}/v1/items/item-010/image") as answer:
        received = 0
        for piece in answer.iter_raw(1_000_000):
            received += len(piece)
            time.sleep(0.05)
    assert received == photo.stat().st_size


def test_slow_heads_block_nobody(url: str) -> None:
    with ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(connected(url, GET + b"X-Slow: "))
        assert_quick(url)


def test_slow_bodies_block_no_search_by_item(url: str) -> None:
    with ExitStack() as stack:
        for _ in range(MANY):
            head = POST + b"Content-Length: 1000\r\n\r\n{"
            stack.enter_context(connected(url, head))
        assert_quick(url)
        photos = [
            stack.enter_context(
                connected(url, b"POST /v1/search HTTP/1.1\r\nContent-Length: 1000\r\n\r\n\xff")
            )
            for _ in range(2 * limits.MAX_PHOTOS)
        ]
        assert_quick(url)
        shed = [client for client in photos if turned_away(client)]
        assert len(shed) == limits.MAX_PHOTOS
    time.sleep(0.5)


def test_slow_photos_make_room_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "UPLOAD_SECONDS", 0.5)
    with ExitStack() as stack:
        for _ in range(limits.MAX_PHOTOS):
            stack.enter_context(
                connected(url, b"POST /v1/search HTTP/1.1\r\nContent-Length: 1000\r\n\r\n\xff")
            )
        time.sleep(1.5)
        assert httpx.post(f"{url}/v1/search", content=draw_photo(8)).status_code == 200


def assert_quick(url: str) -> None:
    started = time.monotonic()
    for _ in range(20):
        assert httpx.get(f"{url}/v1/items/item-008/similar").status_code == 200
    assert time.monotonic() - started < 2 * QUICK


def turned_away(client: socket.socket) -> bool:
    client.settimeout(0.02)
    try:
        return client.recv(100).startswith(b"HTTP/1.1 503 ")
    except TimeoutError:
        return False
