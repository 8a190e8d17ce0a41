"""Query photos: none is stored by default; a share of them, bare of EXIF, where a shop wants it."""

import io
import json
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tiny_bundle import draw_photo, make_root, site

from model.pixels import Box, upright
from serving import query_photos
from serving.ledger import champion
from serving.query_photos import Query, forget, keep

NOW = datetime(2026, 11, 20, 23, 59, tzinfo=UTC)


def asked(photo: bytes = b"") -> Query:
    return Query(photo, "digest", Box(1, 2, 30, 40), ["a", "b/ü"])


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def stored(root: Path, count: int) -> list[dict[str, Any]]:
    """The facts of all queries below a root, once there are so many."""
    deadline = time.monotonic() + 10
    while len(found := sorted((root / "queries").rglob("*.json"))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return [json.loads(path.read_bytes()) for path in found]


def test_by_default_nothing_is_stored(tmp_path: Path) -> None:
    root = make_root(tmp_path, items=20)
    with site(root) as url:
        before = files(root)
        for photo in (draw_photo(8), draw_photo(900), b"no photo"):
            httpx.post(f"{url}/v1/search", content=photo)
            httpx.post(f"{url}/v1/search", files={"image": ("a.jpg", photo)})
            httpx.post(f"{url}/v1/listing", content=photo)
        assert httpx.get(f"{url}/v1/bundle").json()["photos_kept"] == 0
        time.sleep(0.3)
        assert files(root) == before


def test_where_it_is_on_all_of_them_are(tmp_path: Path) -> None:
    root = make_root(tmp_path, items=20)
    photo = draw_photo(8)
    with site(root, sample_queries=1) as url:
        assert httpx.get(f"{url}/v1/bundle").json()["photos_kept"] == 1
        hits = httpx.post(f"{url}/v1/search?k=3&box=10,20,200,210", content=photo).json()["hits"]
        (facts,) = stored(root, 1)
        httpx.post(f"{url}/v1/listing", content=photo)
        httpx.post(f"{url}/v1/search", content=b"no photo")
        stored(root, 2)
        time.sleep(0.2)
    entry = champion(root)
    assert entry is not None
    assert abs(datetime.fromisoformat(facts.pop("at")).timestamp() - time.time()) < 60
    assert facts == {
        "bundle": entry.bundle,
        "box": [10, 20, 200, 210],
        "item_ids": [hit["item_id"] for hit in hits],
    }
    kept = list((root / "queries").rglob("*.jpg"))
    assert len(kept) == 2
    for path in kept:
        difference = np.asarray(Image.open(io.BytesIO(path.read_bytes())), int) - np.asarray(
            upright(photo), int
        )
        assert np.abs(difference).mean() < 2


def test_a_share_is_about_that(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sampler = query_photos.QueryPhotos(tmp_path, 0.25)
    taken: list[Query] = []
    monkeypatch.setattr(sampler, "_waiting", type("All", (), {"put_nowait": taken.append}))
    for _ in range(4000):
        sampler.offer(asked)
    assert 850 < len(taken) < 1150


def test_a_full_queue_delays_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_photos, "keep", lambda *_: time.sleep(1))
    sampler = query_photos.QueryPhotos(tmp_path, 1)
    started = time.monotonic()
    for _ in range(100):
        sampler.offer(asked)
    assert time.monotonic() - started < 0.5


def test_where_a_phone_was_is_not_kept(tmp_path: Path) -> None:
    image = Image.new("RGB", (80, 40), (200, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010F] = "Ada's phone"
    exif.get_ifd(0x8825)[1] = "N"
    data = io.BytesIO()
    image.save(data, "JPEG", exif=exif, comment=b"Ada's garden", icc_profile=b"Ada's screen")
    assert data.getvalue().count(b"Ada") == 3
    assert keep(tmp_path, asked(data.getvalue()), NOW)
    (photo,) = tmp_path.rglob("*.jpg")
    assert b"Ada" not in photo.read_bytes()
    kept = Image.open(io.BytesIO(photo.read_bytes()))
    assert (kept.size, dict(kept.getexif())) == ((40, 80), {})


def test_a_day_keeps_so_many_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_photos, "QUERY_PHOTOS_A_DAY", 2)
    query = asked(draw_photo(1, size=40))
    assert [keep(tmp_path, query, NOW) for _ in range(4)] == [True, True, False, False]
    assert sorted(path.suffix for path in (tmp_path / "2026-11-20").iterdir()) == [
        ".jpg", ".jpg", ".json", ".json",
    ]  # fmt: skip
    assert keep(tmp_path, query, NOW.replace(day=21))


def test_old_days_are_forgotten_and_nothing_else(tmp_path: Path) -> None:
    names = ("2026-10-20", "2026-10-21", "2026-11-20", "notes", "2025-aa-bb")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    forget(tmp_path, date(2026, 11, 20))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(set(names) - {"2026-10-20"})


def test_a_disk_that_refuses_costs_no_answer(tmp_path: Path) -> None:
    root = make_root(tmp_path, items=20)
    (root / "queries").write_text("a file where the folder should be")
    with site(root, sample_queries=1) as url:
        for _ in range(3):
            assert httpx.post(f"{url}/v1/search", content=draw_photo(8)).status_code == 200
