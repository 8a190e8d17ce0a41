"""Odd JSON, odd names, odd photos over HTTP: one exact error, quickly, in little memory."""

import io
import json
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image
from tiny_bundle import DIMENSIONS, draw_photo, make_root, site

from model.pixels import MAX_IMAGE_BYTES
from serving.limits import MAX_BATCH, MAX_JSON_BYTES

QUICK = 3.0  # seconds, on a machine that does other work too
MAX_RISE_MB = 300
SPACE = f"tiny-{DIMENSIONS}"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with site(make_root(tmp_path_factory.mktemp("shop"), items=20)) as url:
        httpx.post(f"{url}/v1/search", content=draw_photo(8))
        yield url


@pytest.fixture(autouse=True)
def the_server_is_unharmed(url: str) -> Iterator[None]:
    process, started = psutil.Process(), time.monotonic()
    before = process.memory_info().rss
    yield
    answer = httpx.post(f"{url}/v1/search", params={"k": 1}, content=draw_photo(8))
    assert answer.json()["hits"][0]["item_id"] == "item-008"
    assert time.monotonic() - started < QUICK
    assert process.memory_info().rss - before < MAX_RISE_MB * 1e6


def error(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert body == {"error": {"code": body["error"]["code"], "message": body["error"]["message"]}}
    assert len(answer.content) < 1000  # what was sent is not sent back
    return answer.status_code, body["error"]["code"]


def vector(numbers: str, space: str = SPACE) -> bytes:
    return f'{{"vector": [{numbers}], "space_id": "{space}"}}'.encode()


ZEROS = "0," * (DIMENSIONS - 1)
NO_JSON = (400, "invalid_json")
NO_OBJECT = (422, "invalid_json")
NO_VECTOR = (422, "invalid_vector")
BODIES: dict[str, tuple[bytes, tuple[int, str]]] = {
    "nothing": (b"", NO_JSON),
    "nested lists": (b"[" * 100_000 + b"]" * 100_000, NO_JSON),
    "nested objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, NO_JSON),
    "nested vector": (vector("[" * 100_000 + "]" * 100_000), NO_JSON),
    "never closed": (b"[" * 900_000, NO_JSON),
    "1 MB and a byte": (b" " * (MAX_JSON_BYTES + 1), (413, "body_too_large")),
    "a list": (b"[]", NO_OBJECT),
    "a number": (b"1", NO_OBJECT),
    "null": (b"null", NO_OBJECT),
    "UTF-16": ('{"vector": []}'.encode("utf-16"), NO_JSON),
    "UTF-8 with a mark": (b"\xef\xbb\xbf{}", NO_JSON),
    "no UTF-8": (b'{"vector": "\xff"}', NO_JSON),
    "half a surrogate": (rb'{"vector": "\ud800"}', NO_JSON),
    "NUL": (b'{"vector": "\0"}', NO_JSON),
    "two objects": (b"{}{}", NO_JSON),
    "NaN": (vector(ZEROS + "NaN"), NO_JSON),
    "Infinity": (vector(ZEROS + "Infinity"), NO_JSON),
    "-Infinity": (vector(ZEROS + "-Infinity"), NO_JSON),
    "1e400": (vector(ZEROS + "1e400"), NO_JSON),
    "1e308 twice": (vector("0," * (DIMENSIONS - 2) + "1e308,1e308"), NO_VECTOR),
    "a number of 100,000 digits": (vector(ZEROS + "9" * 100_000), NO_JSON),
    "zeros": (vector(ZEROS + "0"), NO_VECTOR),
    "too small to have a length": (vector(ZEROS + "1e-320"), NO_VECTOR),
    "one too few": (vector(ZEROS[:-1]), NO_VECTOR),
    "one too many": (vector(ZEROS + "0,1"), NO_VECTOR),
    "100,000 numbers": (vector("0," * 100_000 + "1"), NO_VECTOR),
    "truth": (vector(ZEROS + "true"), NO_VECTOR),
    "text": (vector(ZEROS + '"1"'), NO_VECTOR),
    "null in it": (vector(ZEROS + "null"), NO_VECTOR),
    "another space": (vector(ZEROS + "1", "other"), (409, "other_space")),
    "no space": (b'{"vector": [1]}', (409, "other_space")),
    "another field": (b'{"vector": [1], "space_id": "a", "k": 3}', NO_VECTOR),
    "a vector that is an object": (b'{"vector": {}, "space_id": "a"}', NO_VECTOR),
}


@pytest.mark.parametrize("name", BODIES)
def test_odd_json(url: str, name: str) -> None:
    body, expected = BODIES[name]
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"{url}/v1/search/vector", content=body, headers=headers)
    assert error(answer) == expected


def test_of_two_equal_names_the_last_counts(url: str) -> None:
    twice = f'{{"vector": "x", "vector": [{ZEROS}1], "space_id": "a", "space_id": "{SPACE}"}}'
    answer = httpx.post(f"{url}/v1/search/vector", content=twice.encode())
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "ids",
    [[], ["x"] * (MAX_BATCH + 1), [1], [None], [["x"]], "x", None, {"a": 1}, [True]],
)
def test_odd_batches(url: str, ids: Any) -> None:
    answer = httpx.post(f"{url}/v1/search/batch", json={"item_ids": ids})
    assert error(answer) == (422, "invalid_item_ids")


def test_a_batch_of_ids_that_cannot_be(url: str) -> None:
    ids = ["\0", "", "a" * 10_000, "../../etc/passwd", "\u202e", "' OR 1=1", "item-008"]
    body = httpx.post(f"{url}/v1/search/batch", json={"item_ids": ids}).json()
    assert [one["item_id"] for one in body["answers"]] == ids
    assert [one["hits"] is None for one in body["answers"]] == [True] * 6 + [False]


@pytest.mark.parametrize(
    "item_id",
    ["\0", "item-008\0", "\0" * 1000, "../../../etc/passwd", "a" * 30_000, "\ud800", "%", "\r\n"],
)
@pytest.mark.parametrize("route", ["", "/similar", "/image", "/variants"])
def test_odd_ids(url: str, item_id: str, route: str) -> None:
    path = quote(item_id.encode("utf-8", "surrogatepass"), safe="")
    answer = httpx.get(f"{url}/v1/items/{path}{route}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "unknown_item"


@pytest.mark.parametrize(
    "query",
    [
        "min_price=nan", "min_price=inf", "max_price=-1", "max_price=1e999", "min_score=2",
        "diversity=-0.1", "diversity=0x1", "k=1%00", "k=1&k=2000", "in_stock=yes", "collapse=1",
        "brand=", "brand=" + "x" * 1001, "category=" + "x" * 1001, "attribute=a", "attribute=:",
        "attribute=a:", "per_product=201", "per_product=1.0", "&".join(["brand=a"] * 33),
        "nonsense=1", "K=1", "__proto__=1", "&".join(f"a{n}=1" for n in range(5000)),
    ],
)  # fmt: skip
def test_odd_parameters(url: str, query: str) -> None:
    status, code = error(httpx.get(f"{url}/v1/items/item-008/similar?{query}"))
    name = query.partition("=")[0]
    known = name not in ("nonsense", "K", "__proto__", "a0")
    assert (status, code) == (422, f"invalid_{name}" if known else "unknown_parameter")


@pytest.mark.parametrize("field", ["image", "url", "image_url"])
def test_an_address_is_never_fetched(url: str, field: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/photo.jpg"
        answers = [
            httpx.post(f"{url}/v1/search", data={field: address}, files={"z": b""}),
            httpx.post(f"{url}/v1/search", files={field: ("a.jpg", address.encode())}),
            httpx.post(f"{url}/v1/search", content=address.encode()),
            httpx.post(f"{url}/v1/search", json={field: address}),
            httpx.post(f"{url}/v1/search", params={field: address}, content=draw_photo(8)),
            httpx.post(f"{url}/v1/listing", content=f"file:///etc/passwd {address}".encode()),
        ]
        with pytest.raises(TimeoutError):
            listener.accept()
    found = [error(answer) for answer in answers]
    no_photo = (415, "image_not_an_image")
    uploaded = no_photo if field == "image" else (422, "no_image")
    unknown = (422, "unknown_parameter")
    assert found == [(422, "no_image"), uploaded, no_photo, no_photo, unknown, no_photo]


def encode(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    data = io.BytesIO()
    image = Image.open(io.BytesIO(draw_photo(8))).convert(mode)
    image.save(data, kind, **options)
    return data.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_chunk(name: bytes, data: bytes) -> bytes:
    """The PNG with one more chunk behind its header."""
    png = encode("PNG")
    return png[:33] + chunk(name, data) + png[33:]


def with_segments(marker: int, content: bytes, count: int) -> bytes:
    """The JPEG with many of one segment."""
    jpeg = draw_photo(8)
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
    return jpeg[:2] + segment * count + jpeg[2:]


def looping_exif() -> bytes:
    """Its directory says that the next directory is itself, and each entry points far away."""
    entries = b"".join(struct.pack("<HHII", 0x8769 + n, 4, 0xFFFFFFF, 8) for n in range(100))
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 100) + entries + struct.pack("<I", 8)


SIXTEEN = np.full((40, 40), 40_000, np.uint16)
FOUND = "found"
PHOTOS: dict[str, tuple[bytes, str]] = {
    "CMYK JPEG": (encode("JPEG", "CMYK"), FOUND),
    "palette PNG": (encode("PNG", "P"), FOUND),
    "PNG with 8 MB of text": (with_chunk(b"tEXt", b"a\0" + b"x" * 8_000_000), FOUND),
    "JPEG with 150 loops of EXIF": (with_segments(0xE1, looping_exif(), 150), FOUND),
    "JPEG with 9 MB of EXIF": (with_segments(0xE1, b"Exif\0\0" + bytes(65_000), 140), FOUND),
    "JPEG with 9 MB of ICC": (
        with_segments(0xE2, b"ICC_PROFILE\0\x01\x8c" + bytes(65_000), 140),
        FOUND,
    ),
    "JPEG with 2 million comments": (with_segments(0xFE, b"", 2_000_000), "image_truncated"),
    "PNG with a million chunks": (
        encode("PNG")[:33] + chunk(b"teSt", b"") * 700_000 + encode("PNG")[33:],
        "image_truncated",
    ),
    "GIF that is a script": (
        encode("GIF", "P")[:6] + b"=1;/*" + encode("GIF", "P")[11:] + b"*/",
        "any",
    ),
    "JPEG that is a page": (with_segments(0xFE, b"<script>alert(1)</script>", 1), FOUND),
    "JPEG that is an archive": (draw_photo(8) + b"PK\x05\x06" + bytes(18), FOUND),
    "PNG with a profile of 100 MB": (
        with_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(100_000_000), 9)),
        "image_truncated",
    ),
    "PNG with a text of 100 MB": (
        with_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000), 9)),
        "image_truncated",
    ),
    "animated WebP": (
        encode("WEBP", save_all=True, append_images=[Image.new("RGB", (240, 240))] * 3),
        "image_animated",
    ),
    "page that says it is a JPEG": (b"\xff\xd8\xff<html>" + b"x" * 1000, "image_truncated"),
    "10 MB of zeros": (bytes(MAX_IMAGE_BYTES), "image_not_an_image"),
    "10 MB of JPEG markers": (
        b"\xff\xd8" + b"\xff" * (MAX_IMAGE_BYTES - 2),
        "image_truncated",
    ),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_odd_photos(url: str, name: str) -> None:
    photo, expected = PHOTOS[name]
    assert len(photo) <= MAX_IMAGE_BYTES
    answer = httpx.post(f"{url}/v1/search?k=1", content=photo, timeout=30)
    if answer.status_code == 200:
        outcome = FOUND if answer.json()["hits"][0]["item_id"] == "item-008" else "other"
    else:
        outcome = error(answer)[1]
    assert outcome == expected or (expected == "any" and outcome.startswith("image_"))


def test_a_photo_of_16_bits(url: str) -> None:
    data = io.BytesIO()
    Image.fromarray(SIXTEEN).save(data, "PNG")
    assert httpx.post(f"{url}/v1/search", content=data.getvalue()).status_code == 200


def test_what_is_said_of_a_photo_is_not_believed(url: str) -> None:
    for kind in ("image/svg+xml", "text/html", "application/json", "image/jpeg; \xff", ""):
        answer = httpx.post(
            f"{url}/v1/search?k=1",
            content=encode("WEBP"),
            headers={"Content-Type": kind.encode("latin-1")},
        )
        assert answer.json()["hits"][0]["item_id"] == "item-008"


def test_odd_forms(url: str) -> None:
    def ask(body: bytes, boundary: str = "x") -> tuple[int, str]:
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return error(httpx.post(f"{url}/v1/search", content=body, headers=headers))

    part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n'
    many = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n1\r\n' % n for n in range(50_000)
    )
    assert ask(many + b"--x--\r\n") == (400, "invalid_form")
    assert ask(part + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n\r\n--x--\r\n")[0] in (400, 422)
    assert ask(part + b"X: y\r\n" * 100_000 + b"\r\n\r\n--x--\r\n")[0] in (400, 415, 422)
    assert ask(part + b"\r\n" + draw_photo(8))[0] in (400, 422)
    assert ask(b"--x", "x" * 10_000)[0] == 400
    assert ask(json.dumps({"image": "x"}).encode())[0] == 400
