"""The HTTP contract over a real server: every route, every error, hostile photos."""

import io
import json
import re
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from starlette.routing import Mount, Route
from tiny_bundle import (
    AS_OPERATOR,
    AWKWARD_IDS,
    CREATED,
    DIMENSIONS,
    LEAVES,
    SPEC,
    add_localiser,
    add_variant,
    draw_photo,
    make_root,
    promote,
    serve_settings,
    site,
)

from model.pixels import MAX_IMAGE_BYTES, Box
from serving import bodies, limits
from serving.bundle import verify
from serving.champion import Champion
from serving.edge import SECURITY_HEADERS
from serving.engine import Engine
from serving.ledger import champion
from serving.openapi import document
from serving.routes import PAGE, create_app

ITEM = {
    "item_id": "item-008",
    "product_id": "product-004",
    "title": "Pendants no. 8",
    "brand": None,
    "category": "Home > Lamps > Pendants",
    "price": 17.5,
    "currency": "EUR",
    "in_stock": True,
}
FACTS = {name: value for name, value in ITEM.items() if name != "item_id"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    with site(root) as url:
        yield url


@pytest.fixture(scope="module")
def engine(root: Path) -> Engine:
    digest = champion_digest(root)
    return Engine(verify(root / "bundles" / digest, digest))


def champion_digest(root: Path) -> str:
    entry = champion(root)
    assert entry is not None
    return entry.bundle


def unaged(body: dict[str, Any]) -> dict[str, Any]:
    """The body, once the age of its index is found to be what the clock says."""
    expected = time.time() - CREATED.timestamp()
    assert body["bundle"].pop("index_age_seconds") == pytest.approx(expected, abs=5)
    return body


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


# Answers


def test_search_by_photo_is_what_the_engine_answers(url: str, root: Path, engine: Engine) -> None:
    photo = draw_photo(8)
    answer = httpx.post(f"{url}/v1/search", params={"k": 5}, content=photo)
    expected = engine.search(photo, 5)
    digest = champion_digest(root)
    assert answer.status_code == 200
    assert unaged(answer.json()) == {
        "bundle": {"digest": digest, "version": "1", "ds": "2026-11-20"},
        "searched": {"by": "whole", "box": [0, 0, 240, 240], "photo": [240, 240]},
        "category": expected.category,
        "hits": expected.hits,
    }
    assert expected.hits[0] == ITEM | {"score": 1.0}
    assert answer.headers["X-Lookalike-Bundle"] == digest
    assert int(answer.headers["X-Lookalike-Index-Age"]) > 0
    assert answer.headers["Cache-Control"] == "no-store"
    stages = re.sub(r"dur=[0-9.]+", "dur", answer.headers["Server-Timing"])
    assert stages == "decode;dur, embed;dur, search;dur, total;dur"


def test_search_takes_a_form_and_twelve_by_default(url: str) -> None:
    photo = draw_photo(8)
    form = httpx.post(f"{url}/v1/search", files={"image": ("a.jpg", photo)}, data={"note": "mine"})
    assert unaged(form.json()) == unaged(httpx.post(f"{url}/v1/search", content=photo).json())
    assert len(form.json()["hits"]) == 12


def test_a_form_is_never_written_to_disk(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/nowhere")
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    big = encoded(Image.effect_noise((1500, 1500), 90).convert("RGB"), "PNG")
    assert 2_000_000 < len(big) < MAX_IMAGE_BYTES
    assert httpx.post(f"{url}/v1/search", files={"image": ("a.png", big)}).status_code == 200


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "JPEG"])
def test_search_reads_every_format(url: str, kind: str) -> None:
    photo = encoded(Image.open(io.BytesIO(draw_photo(8))), kind)
    answer = httpx.post(f"{url}/v1/search", params={"k": 1}, content=photo).json()
    assert [hit["item_id"] for hit in answer["hits"]] == ["item-008"]


def test_a_box_is_searched_alone(url: str, engine: Engine) -> None:
    both = Image.new("RGB", (480, 240))
    both.paste(Image.open(io.BytesIO(draw_photo(8))), (0, 0))
    both.paste(Image.open(io.BytesIO(draw_photo(13))), (240, 0))
    photo = encoded(both, "PNG")
    for item, box in ((8, (0, 0, 240, 240)), (13, (240, 0, 240, 240))):
        query = {"k": 1, "box": ",".join(map(str, box))}
        answer = httpx.post(f"{url}/v1/search", params=query, content=photo).json()
        assert answer["hits"] == engine.search(photo, 1, Box(*box)).hits
        assert answer["hits"][0]["item_id"] == f"item-{item:03}"


def test_a_found_box_is_named_and_can_be_declined(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    promote(root, add_localiser(root, champion_digest(root), (0.0, 0.0, 1.0, 0.5)), version="2")
    blocks = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    photo = encoded(Image.fromarray(blocks).resize((200, 200), Image.Resampling.NEAREST), "PNG")
    with site(root) as url:
        found, whole = (
            httpx.post(f"{url}/v1/search", params=query, content=photo).json()
            for query in ({}, {"box": "whole"})
        )
    assert found["searched"] == {"by": "found", "box": [0, 0, 200, 100], "photo": [200, 200]}
    assert whole["searched"] == {"by": "whole", "box": [0, 0, 200, 200], "photo": [200, 200]}


def test_similar_items_are_without_the_item(url: str, root: Path, engine: Engine) -> None:
    answer = httpx.get(f"{url}/v1/items/item-008/similar", params={"k": 60})
    assert unaged(answer.json()) == {
        "bundle": {"digest": champion_digest(root), "version": "1", "ds": "2026-11-20"},
        "item": ITEM,
        "hits": engine.similar("item-008", 60).hits,
    }
    assert len(answer.json()["hits"]) == 59
    assert "item-008" not in {hit["item_id"] for hit in answer.json()["hits"]}


@pytest.mark.parametrize(("row", "item_id"), AWKWARD_IDS.items())
def test_ids_may_hold_anything(url: str, root: Path, row: int, item_id: str) -> None:
    path = f"{url}/v1/items/{quote(item_id, safe='')}"
    assert httpx.get(f"{path}/similar").json()["item"]["item_id"] == item_id
    assert httpx.get(f"{path}/image").content == (root / f"images/{row:03}.jpg").read_bytes()


def test_an_items_photo(url: str, root: Path) -> None:
    answer = httpx.get(f"{url}/v1/items/item-008/image")
    assert answer.content == (root / "images/008.jpg").read_bytes()
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_photos_lie_anywhere_that_fsspec_reads(root: Path, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    photo = tmp_path / "elsewhere.jpg"
    photo.write_bytes(draw_photo(100))
    shop = make_root(tmp_path / "shop", items=20)
    edit = with_column("image", lambda paths: [photo.as_uri(), str(photo), *paths[2:]])
    promote(shop, add_variant(shop, champion_digest(shop), edit), "2")
    with site(shop) as url:
        for item in ("item-000", "item-001"):
            assert httpx.get(f"{url}/v1/items/{item}/image").content == photo.read_bytes()


@pytest.mark.parametrize("content", [None, b"<html>secret</html>", b"", b"\x89PNG\r\n"])
def test_a_photo_that_is_gone_or_is_none(tmp_path: Path, content: bytes | None) -> None:
    root = make_root(tmp_path, items=20)
    (root / "images/008.jpg").unlink()
    if content is not None:
        (root / "images/008.jpg").write_bytes(content)
    with site(root) as url:
        answer = httpx.get(f"{url}/v1/items/item-008/image")
    assert_error(answer, 404, "image_gone")
    assert b"secret" not in answer.content


def test_the_sample_is_various_and_always_the_same(url: str) -> None:
    first, again = (httpx.get(f"{url}/v1/items", params={"limit": 6}).json() for _ in range(2))
    assert unaged(first)["items"] == unaged(again)["items"]
    assert {item["category"] for item in first["items"]} == {path for path, _, _ in LEAVES}
    assert len(httpx.get(f"{url}/v1/items").json()["items"]) == 12
    assert len(httpx.get(f"{url}/v1/items", params={"limit": 100}).json()["items"]) == 60


def test_the_bundle_says_what_serves(url: str, root: Path) -> None:
    entry = champion(root)
    assert entry is not None
    answer = httpx.get(f"{url}/v1/bundle")
    assert unaged({"bundle": answer.json()})["bundle"] == {
        "digest": entry.bundle,
        "version": "1",
        "ds": "2026-11-20",
        "space_id": "tiny-16",
        "pixel_spec": SPEC,
        "items": 60,
        "index": {
            "engine": "scann",
            "form": "brute,float32",
            "n": 48,
            "dimensions": 16,
            "effort": {},
        },
        "verdict": {"passed": True, "recall_at_10": 0.991, "p99_ms": 3.2},
        "created": "2026-11-20T06:00:00+00:00",
        "promoted": {
            "at": entry.at.isoformat(),
            "by": "ada@shop.example",
            "why": "gate passed",
        },
        "pending": None,
        "photos_kept": 0.0,
    }
    assert answer.headers["X-Lookalike-Bundle"] == entry.bundle


def test_health(url: str) -> None:
    assert httpx.get(f"{url}/livez").json() == {"status": "alive"}
    assert httpx.get(f"{url}/readyz").json() == {"status": "ready"}


def test_the_page_and_its_files(url: str) -> None:
    styles = ("palette", "page", "query", "filters", "results", "key")
    modules = (
        "ask",
        "box",
        "dom",
        "filters",
        "key",
        "notice",
        "page",
        "photo",
        "place",
        "query",
        "results",
    )
    kinds = {
        "/": "text/html; charset=utf-8",
        **{f"/static/{name}.css": "text/css; charset=utf-8" for name in styles},
        **{f"/static/{name}.js": "text/javascript; charset=utf-8" for name in modules},
        "/static/icon.svg": "image/svg+xml",
    }
    answers = {path: httpx.get(url + path) for path in kinds}
    assert {path: answer.headers["Content-Type"] for path, answer in answers.items()} == kinds
    served = {path.removeprefix("/static/") for path in kinds if path != "/"}
    assert {path.name for path in PAGE.iterdir()} == served | {"index.html"}
    assert "<style" not in answers["/"].text
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=|https?://", answers["/"].text)


def test_openapi_names_every_route_and_field(url: str, root: Path) -> None:
    assert httpx.get(f"{url}/openapi.json").json() == json.loads(json.dumps(document()))
    app = create_app(Champion(serve_settings(root)))
    unlisted = {"/", "/openapi.json"}
    routes = {
        (route.path_format, method.lower())
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    documented = {
        (path, method) for path, methods in document()["paths"].items() for method in methods
    }
    assert documented == {route for route in routes if route[0] not in unlisted}
    assert [route.path for route in app.routes if isinstance(route, Mount)] == ["/static"]
    schemas = document()["components"]["schemas"]
    answers = {
        "SearchAnswer": httpx.post(f"{url}/v1/search", content=draw_photo(1)).json(),
        "SimilarAnswer": httpx.get(f"{url}/v1/items/item-008/similar").json(),
        "VectorAnswer": httpx.post(f"{url}/v1/search/vector", json=a_vector(url)).json(),
        "BatchAnswer": httpx.post(f"{url}/v1/search/batch", json={"item_ids": ["x"]}).json(),
        "ListingAnswer": httpx.post(f"{url}/v1/listing", content=draw_photo(1)).json(),
        "ItemAnswer": httpx.get(f"{url}/v1/items/item-008").json(),
        "Changed": httpx.put(f"{url}/v1/items/item-008", json=FACTS, headers=AS_OPERATOR).json(),
        "Facets": httpx.get(f"{url}/v1/facets").json(),
        "Sample": httpx.get(f"{url}/v1/items").json(),
        "Bundle": httpx.get(f"{url}/v1/bundle").json(),
        "Status": httpx.get(f"{url}/livez").json(),
        "Error": httpx.get(f"{url}/nowhere").json(),
    }
    answers["ItemFacts"] = FACTS | {"item_id": "item-008", "attributes": {"colour": "red"}}
    answers |= {"BundleName": answers["Sample"]["bundle"], "Item": answers["SimilarAnswer"]["item"]}
    answers["Hit"] = answers["SearchAnswer"]["hits"][0]
    fields = {name: sorted(answer) for name, answer in answers.items()}
    assert fields == {name: sorted(schema["properties"]) for name, schema in schemas.items()}


def a_vector(url: str) -> dict[str, Any]:
    space = httpx.get(f"{url}/v1/bundle").json()["space_id"]
    return {"vector": [1.0] + [0.0] * (DIMENSIONS - 1), "space_id": space}


# Errors


def assert_error(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    body = answer.json()
    assert body == {"error": {"code": code, "message": body["error"]["message"]}}
    assert len(body["error"]["message"]) > 20
    assert answer.headers["Content-Type"] == "application/json"
    assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS


SMALL = draw_photo(8, size=40)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/v1/bundle/", 404, "not_found"),
        ("GET", "/v1/items//similar", 404, "unknown_item"),
        ("GET", "/static/nothing.js", 404, "not_found"),
        ("GET", "/static/../routes.py", 404, "not_found"),
        ("GET", "/static/%2e%2e/routes.py", 404, "not_found"),
        ("GET", "/v1/search", 405, "method_not_allowed"),
        ("POST", "/v1/items/item-008/similar", 405, "method_not_allowed"),
        ("POST", "/v1/items/item-008/image", 405, "method_not_allowed"),
        ("PUT", "/v1/items", 405, "method_not_allowed"),
        ("POST", "/v1/bundle", 405, "method_not_allowed"),
        ("POST", "/livez", 405, "method_not_allowed"),
        ("POST", "/readyz", 405, "method_not_allowed"),
        ("POST", "/metrics", 405, "method_not_allowed"),
        ("POST", "/openapi.json", 405, "method_not_allowed"),
        ("POST", "/", 405, "method_not_allowed"),
        ("POST", "/static/page.js", 405, "method_not_allowed"),
        ("GET", "/v1/items/nobody/similar", 404, "unknown_item"),
        ("GET", "/v1/items/nobody/image", 404, "unknown_item"),
        ("GET", "/v1/items/%FF%FE/similar", 404, "unknown_item"),
        ("GET", "/v1/items/item-008/similar?k=0", 422, "invalid_k"),
        ("GET", "/v1/items?limit=101", 422, "invalid_limit"),
        ("POST", "/v1/search?k=0", 422, "invalid_k"),
        ("POST", "/v1/search?k=201", 422, "invalid_k"),
        ("POST", "/v1/search?k=-1", 422, "invalid_k"),
        ("POST", "/v1/search?k=1.5", 422, "invalid_k"),
        ("POST", "/v1/search?k=", 422, "invalid_k"),
        ("POST", "/v1/search?k=%D9%A3", 422, "invalid_k"),
        ("POST", "/v1/search?k=1e2", 422, "invalid_k"),
        ("POST", f"/v1/search?k={'9' * 5000}", 422, "invalid_k"),
        ("POST", "/v1/search?box=1,2,3", 422, "invalid_box"),
        ("POST", "/v1/search?box=a,b,c,d", 422, "invalid_box"),
        ("POST", "/v1/search?box=0,0,0,10", 422, "invalid_box"),
        ("POST", "/v1/search?box=-1,0,10,10", 422, "invalid_box"),
        ("POST", "/v1/search?box=0,0,999999,1", 422, "invalid_box"),
        ("POST", "/v1/search?box=", 422, "invalid_box"),
        ("POST", "/v1/search?box=40,0,10,10", 422, "box_outside_image"),
    ],
)
def test_every_error_has_one_shape(
    url: str, method: str, path: str, status: int, code: str
) -> None:
    content = SMALL if method == "POST" else None
    assert_error(httpx.request(method, url + path, content=content), status, code)


def test_a_wrong_method_is_told_the_right_one(url: str) -> None:
    assert httpx.get(f"{url}/v1/search").headers["Allow"] == "POST"


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


def test_a_chunked_photo_is_searched(url: str) -> None:
    photo = draw_photo(8)
    pieces = (photo[start : start + 100] for start in range(0, len(photo), 100))
    answer = httpx.post(f"{url}/v1/search", params={"k": 1}, content=pieces)
    assert answer.json()["hits"][0]["item_id"] == "item-008"


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("multipart/form-data", b"--x", 400, "invalid_form"),
        ("multipart/form-data; boundary=x", b"garbage", 400, "invalid_form"),
        ("multipart/form-data; boundary=x", b"--x--\r\n", 422, "no_image"),
    ],
)
def test_broken_forms(url: str, content_type: str, body: bytes, status: int, code: str) -> None:
    headers = {"Content-Type": content_type}
    assert_error(httpx.post(f"{url}/v1/search", content=body, headers=headers), status, code)


def test_forms_without_one_photo(url: str) -> None:
    search = f"{url}/v1/search"
    assert_error(httpx.post(search, files={"photo": b"x"}), 422, "no_image")
    assert_error(httpx.post(search, data={"image": "x"}, files={"z": b""}), 422, "no_image")
    two = [("image", SMALL), ("image", SMALL)]
    assert_error(httpx.post(search, files=two), 400, "invalid_form")


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


def with_column(name: str, change: Any) -> Any:
    """An edit that replaces one column of a bundle's items."""

    def edit(folder: Path) -> None:
        path = folder / "items.arrow"
        table = pa.ipc.open_file(path.read_bytes()).read_all()
        column = table.schema.get_field_index(name)
        values = change(table[name].to_pylist())
        if not isinstance(values, pa.Array):
            values = pa.array(values, table.schema.field(name).type)
        changed = table.set_column(column, name, values)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(changed)

    return edit


def test_our_own_fault_has_the_same_shape(tmp_path: Path) -> None:
    root = make_root(tmp_path, items=20)

    def edit(heads: list[bytes]) -> pa.Array:
        return pa.array([*heads[:9], b"{", *heads[10:]], pa.large_binary())

    promote(root, add_variant(root, champion_digest(root), with_column("shown", edit)), "2")
    with site(root) as url:
        assert_error(httpx.get(f"{url}/v1/items/item-009"), 500, "internal")
        assert httpx.get(f"{url}/readyz").status_code == 200
