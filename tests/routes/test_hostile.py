"""Photos that are none, bodies without an end, and shoppers who leave or come all at once."""

import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from PIL import Image
from tiny_bundle import (
    draw_photo,
)

from routes.answers import assert_error, encoded
from serving import bodies, limits


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says it has many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def animation() -> bytes:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue", "green")]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


HOSTILE = {
    "empty": (b"", 422, "image_empty"),
    "html": (b"<!doctype html><title>no</title>", 415, "image_not_an_image"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "image_not_an_image"),
    "pdf": (b"%PDF-1.7 ...", 415, "image_not_an_image"),
    "bmp": (encoded(Image.new("RGB", (40, 40)), "BMP"), 415, "image_not_an_image"),
    "half a jpeg": (draw_photo(8)[:1500], 422, "image_truncated"),
    "a jpeg header": (draw_photo(8)[:30], 422, "image_truncated"),
    "half a png": (encoded(Image.new("RGB", (40, 40)), "PNG")[:60], 422, "image_truncated"),
    "26 megapixels": (bomb(6500, 4000), 413, "image_too_many_pixels"),
    "3600 megapixels": (bomb(60_000, 60_000), 413, "image_too_many_pixels"),
    "animation": (animation(), 422, "image_animated"),
    "11 megabytes": (b"\xff" * 11_000_000, 413, "image_too_large"),
}


@pytest.mark.parametrize(("photo", "status", "code"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_photos(url: str, photo: bytes, status: int, code: str) -> None:
    assert_error(httpx.post(f"{url}/v1/search", content=photo), status, code)
    form = httpx.post(f"{url}/v1/search", files={"image": ("a.jpg", photo)})
    assert_error(form, status, code)


def test_a_body_without_a_length_is_not_read_to_its_end(url: str) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 1_000_000_000:
            sent += 65_536
            yield b"\xff" * 65_536

    answer = httpx.post(f"{url}/v1/search", content=endless())
    assert_error(answer, 413, "image_too_large")
    assert answer.headers["Connection"] == "close"
    assert sent < 40_000_000  # 10 MB, and what the sockets hold


def half_a_request(url: str) -> socket.socket:
    """Says that 1000 bytes follow, and sends 10."""
    address = httpx.URL(url)
    connection = socket.create_connection((address.host, address.port or 0))
    head = "POST /v1/search HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
    connection.sendall(head.encode() + b"x" * 10)
    return connection


def test_a_shopper_who_leaves_costs_nothing(url: str) -> None:
    for _ in range(2 * limits.MAX_PHOTOS):
        half_a_request(url).close()
    answer = httpx.post(f"{url}/v1/search", content=draw_photo(8))
    assert answer.status_code == 200


def test_one_request_too_many_is_turned_away_at_once(url: str) -> None:
    with ExitStack() as stack:
        for _ in range(limits.MAX_PHOTOS):
            stack.enter_context(half_a_request(url))
        time.sleep(0.3)
        answer = httpx.post(f"{url}/v1/search", content=draw_photo(8))
        assert_error(answer, 503, "overloaded")
        assert answer.headers["Retry-After"] == "1"
        assert httpx.get(f"{url}/v1/items/item-008/similar").status_code == 200  # no photo
        assert httpx.get(f"{url}/readyz").status_code == 200
    time.sleep(0.3)
    assert httpx.post(f"{url}/v1/search", content=draw_photo(8)).status_code == 200


def test_a_slow_upload_ends(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "UPLOAD_SECONDS", 0.2)
    with half_a_request(url) as connection:
        answer = b"".join(iter(lambda: connection.recv(10_000), b"")).decode()
    assert answer.startswith("HTTP/1.1 408 ")
    assert '{"error":{"code":"upload_timeout"' in answer
