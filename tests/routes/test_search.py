"""Search by photo and by item."""

import io
import re
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from tiny_bundle import (
    add_localiser,
    draw_photo,
    make_root,
    promote,
    site,
)

from model.pixels import MAX_IMAGE_BYTES, Box
from routes.answers import ITEM, champion_digest, encoded, unaged
from serving.engine import Engine


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


def test_a_chunked_photo_is_searched(url: str) -> None:
    photo = draw_photo(8)
    pieces = (photo[start : start + 100] for start in range(0, len(photo), 100))
    answer = httpx.post(f"{url}/v1/search", params={"k": 1}, content=pieces)
    assert answer.json()["hits"][0]["item_id"] == "item-008"
