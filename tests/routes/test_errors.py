"""Every error has one shape."""

from pathlib import Path

import httpx
import pyarrow as pa
import pytest
from tiny_bundle import (
    add_variant,
    draw_photo,
    make_root,
    promote,
    site,
)

from routes.answers import assert_error, champion_digest, with_column

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


def test_our_own_fault_has_the_same_shape(tmp_path: Path) -> None:
    root = make_root(tmp_path, items=20)

    def edit(heads: list[bytes]) -> pa.Array:
        return pa.array([*heads[:9], b"{", *heads[10:]], pa.large_binary())

    promote(root, add_variant(root, champion_digest(root), with_column("shown", edit)), "2")
    with site(root) as url:
        assert_error(httpx.get(f"{url}/v1/items/item-009"), 500, "internal")
        assert httpx.get(f"{url}/readyz").status_code == 200
