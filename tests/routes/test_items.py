"""Items by their id: any id, their photos, and a sample of them."""

from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from tiny_bundle import (
    AWKWARD_IDS,
    LEAVES,
    add_variant,
    draw_photo,
    make_root,
    promote,
    site,
)

from routes.answers import assert_error, champion_digest, unaged, with_column


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
