"""Items come, change and go over HTTP while a bundle serves; nothing acknowledged is lost."""

import gc
import json
import os
import signal
import time
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from tiny_bundle import (
    AS_OPERATOR,
    add_bundle,
    add_variant,
    bentoml_service,
    draw_photo,
    make_root,
    promote,
    serve_settings,
    site,
)

from serving.bundle import CATEGORIES, LIVE_SEQUENCE, MANIFEST, seal, store, verify
from serving.engine import Engine
from serving.item import Item
from serving.ledger import champion
from serving.live_catalogue import LiveCatalogue
from serving.live_store import LiveStore
from serving.metrics import Metrics

NEW = {
    "product_id": "new",
    "title": "A new lamp",
    "brand": "Norrby",
    "category": "Home > Lamps > Pendants",
    "price": 12.5,
    "currency": "EUR",
    "in_stock": True,
    "attributes": {"colour": "green"},
}
PHOTO = draw_photo(1001)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path)


@pytest.fixture
def url(root: Path) -> Iterator[str]:
    with site(root) as url:
        yield url


def address(url: str, item_id: str) -> str:
    return f"{url}/v1/items/{quote(item_id, safe='')}"


def put(url: str, item_id: str, photo: bytes | None = None, /, **facts: Any) -> httpx.Response:
    item = {**NEW, **facts}
    if photo is None:
        return httpx.put(address(url, item_id), headers=AS_OPERATOR, json=item)
    form = {"item": json.dumps(item)}
    return httpx.put(
        address(url, item_id), headers=AS_OPERATOR, data=form, files={"image": ("a.jpg", photo)}
    )


def first(url: str, photo: bytes, **parameters: Any) -> dict[str, Any]:
    answer = httpx.post(f"{url}/v1/search", content=photo, params={"k": 1, **parameters})
    hits: list[dict[str, Any]] = answer.json()["hits"]
    return hits[0]


def ids(answer: httpx.Response) -> list[str]:
    return [hit["item_id"] for hit in answer.json()["hits"]]


def opened(root: Path) -> LiveStore:
    place = serve_settings(root).live_place
    return LiveStore.open(place.url, place.folder)


@pytest.mark.parametrize("item_id", ["lamp", "lamp/1 ü?&#", "50%"])
def test_a_new_item_is_found_when_it_is_acknowledged(url: str, item_id: str) -> None:
    answer = put(url, item_id, PHOTO)
    assert answer.status_code == 200, answer.text
    assert {**answer.json(), "bundle": None, "at": None} == {
        "bundle": None,
        "at": None,
        "item_id": item_id,
        "sequence": 1,
        "deleted": False,
    }
    facts = {name: value for name, value in NEW.items() if name != "attributes"}
    assert first(url, PHOTO) == {"item_id": item_id, **facts, "score": 1.0}
    assert first(url, PHOTO, attribute="colour:green")["item_id"] == item_id
    assert httpx.get(address(url, item_id)).json()["item"] == {"item_id": item_id, **NEW}
    similar = httpx.get(f"{address(url, item_id)}/similar", params={"k": 200})
    assert len(ids(similar)) == 60
    assert item_id not in ids(similar)
    image = httpx.get(f"{address(url, item_id)}/image")
    assert (image.content, image.headers["Content-Type"]) == (PHOTO, "image/jpeg")


def test_price_and_stock_change_at_once(url: str) -> None:
    photo = draw_photo(8)
    assert first(url, photo, in_stock="true")["item_id"] == "item-008"
    facts = {**NEW, "price": 1.0, "in_stock": False}
    assert httpx.put(address(url, "item-008"), headers=AS_OPERATOR, json=facts).status_code == 200
    hit = first(url, photo)
    assert (hit["item_id"], hit["price"], hit["in_stock"]) == ("item-008", 1.0, False)
    assert first(url, photo, in_stock="true")["item_id"] != "item-008"
    assert first(url, photo, max_price=1)["item_id"] == "item-008"


def test_an_item_with_another_photo_is_found_by_that_one(url: str) -> None:
    """And by that alone, whether it is in the base of the bundle or beside it."""
    for number, item_id in ((1, "item-001"), (50, "item-050")):
        other = draw_photo(2000 + number)
        put(url, item_id, other)
        assert first(url, other)["item_id"] == item_id
        found = httpx.post(f"{url}/v1/search", content=draw_photo(number), params={"k": 200})
        assert ids(found).count(item_id) == 1
        assert len(ids(found)) == 60
        assert first(url, draw_photo(number))["score"] < 1


def test_a_deleted_item_is_gone_and_may_come_back(url: str) -> None:
    photo = draw_photo(8)
    assert httpx.delete(address(url, "item-008"), headers=AS_OPERATOR).json()["deleted"] is True
    assert first(url, photo)["item_id"] != "item-008"
    for path in ("", "/similar", "/image"):
        assert httpx.get(address(url, "item-008") + path).status_code == 404
    again = httpx.delete(address(url, "item-008"), headers=AS_OPERATOR)
    assert (again.status_code, again.json()["error"]["code"]) == (404, "unknown_item")
    assert put(url, "item-008").json()["error"]["code"] == "bad_input"  # its photo went too
    assert put(url, "item-008", photo).status_code == 200
    assert first(url, photo)["item_id"] == "item-008"
    assert len(ids(httpx.post(f"{url}/v1/search", content=photo, params={"k": 200}))) == 60


@pytest.mark.parametrize(
    ("item_id", "photo", "facts", "status", "code"),
    [
        ("new", None, {}, 422, "bad_input"),
        ("new", b"no photo", {}, 415, "image_not_an_image"),
        ("new", PHOTO[:900], {}, 422, "image_truncated"),
        ("new", PHOTO, {"price": -1.0}, 422, "bad_input"),
        ("new", PHOTO, {"colour": "red"}, 422, "bad_input"),
        ("new", PHOTO, {"item_id": "other"}, 422, "other_item"),
        (" new", PHOTO, {}, 422, "bad_input"),
        ("new", PHOTO, {"product_id": "p "}, 422, "bad_input"),
        ("item-008", None, {"category": ""}, 422, "bad_input"),
    ],
)
def test_bad_input_keeps_nothing(
    root: Path, url: str, item_id: str, photo: bytes, facts: dict[str, Any], status: int, code: str
) -> None:
    before = httpx.get(address(url, "item-008")).json()["item"]
    answer = put(url, item_id, photo, **facts)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert opened(root).newest() == 0
    assert httpx.get(address(url, "item-008")).json()["item"] == before
    assert httpx.get(address(url, "new")).status_code == 404


def test_a_category_that_ingest_would_refuse_is_refused_at_once(root: Path) -> None:
    """With the taxonomy that the bundle was built with; a bundle without one takes any."""
    former = champion(root)
    assert former is not None

    def fix(folder: Path) -> None:
        fixed = ["Home", "Home > Lamps", "Home > Lamps > Pendants", "Home > Oil lamps"]
        (folder / CATEGORIES).write_text(json.dumps(fixed))
        taxonomy = json.loads((folder / "taxonomy.json").read_bytes())
        taxonomy["moved"] = {"Home > Oil lamps": [], "Home > Lights": ["Home > Lamps"]}
        (folder / "taxonomy.json").write_text(json.dumps(taxonomy))

    def said(url: str, category: str) -> tuple[int, str]:
        answer = put(url, "new", PHOTO, category=category)
        return answer.status_code, answer.json().get("error", {}).get("message", "")

    with site(root) as url:
        assert said(url, "Toys > Kites") == (200, "")
        assert httpx.delete(address(url, "new"), headers=AS_OPERATOR).status_code == 200
    promote(root, add_variant(root, former.bundle, fix), version="2")
    with site(root) as url:
        assert said(url, "Toys > Kites") == (
            422,
            "Invalid item. `category` is not in the taxonomy of the bundle that serves. Expected a "
            "path of the taxonomy file (ingest.taxonomy). Received: 'Toys > Kites'. Correct it, or "
            "add the category there: the next bundle takes it.",
        )
        assert said(url, "Home > Oil lamps") == (
            422,
            "Invalid item. `category` was retired (ingest.moved). Expected one that the shop has "
            "today. Received: 'Home > Oil lamps'.",
        )
        assert httpx.get(address(url, "new")).status_code == 404
        assert said(url, " Home>Lamps ") == (200, "")


def test_what_is_no_item_at_all(url: str) -> None:
    wrong = {
        b"{": (400, "invalid_json"),
        b"[]": (422, "invalid_json"),
        b"{}": (422, "bad_input"),
    }
    for body, expected in wrong.items():
        answer = httpx.put(address(url, "item-008"), headers=AS_OPERATOR, content=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == expected
    form = httpx.put(address(url, "x"), headers=AS_OPERATOR, files={"image": PHOTO})
    assert (form.status_code, form.json()["error"]["code"]) == (422, "no_item")


def test_replicas_see_each_others_changes_within_a_second(root: Path) -> None:
    with site(root) as one, site(root) as two:
        put(one, "lamp", PHOTO)
        put(two, "item-008", price=3.0)
        deadline = time.monotonic() + 1
        while first(two, PHOTO)["item_id"] != "lamp":
            assert time.monotonic() < deadline
        while httpx.get(address(one, "item-008")).json()["item"]["price"] != 3.0:
            assert time.monotonic() < deadline


def test_the_next_bundle_begins_where_the_last_ended(root: Path) -> None:
    """One that took the first change in has its items as it was built; later ones are applied."""
    with site(root) as url:
        put(url, "lamp", PHOTO)
        put(url, "item-008", price=3.0)
        promote(root, add_bundle(root, items=90), "2")  # took nothing in
        wait_for(url, "2")
        assert first(url, PHOTO)["item_id"] == "lamp"
        assert httpx.get(address(url, "item-008")).json()["item"]["price"] == 3.0
        taken_in = add_variant(root, add_bundle(root, items=80), lambda folder: None)
        promote(root, with_sequence(root, taken_in, 1), "3")
        wait_for(url, "3")
        assert first(url, PHOTO)["item_id"] != "lamp"
        assert httpx.get(address(url, "item-008")).json()["item"]["price"] == 3.0
        assert put(url, "item-009", price=4.0).json()["sequence"] == 3


def test_a_vector_is_remembered_for_one_change_alone(root: Path) -> None:
    """Also where it is not asked for: the item has that photo already, or the store its vector."""
    entry = champion(root)
    assert entry is not None
    engine = Engine(verify(root / "bundles" / entry.bundle, entry.bundle), threads=1)
    with closing(opened(root)) as changes:
        live = LiveCatalogue(changes, Metrics())
        live.follow(engine)
        for item_id in ("lamp", "lamp", "other lamp"):
            change = changes.put(Item.parse({**NEW, "item_id": item_id}), PHOTO)
            assert change.photo is not None
            vector = engine.embed([engine.look(PHOTO)])[0][0]
            live.remember(change.photo, engine, vector)
            alive = weakref.ref(vector)
            del vector
            live.catch_up(engine)
            gc.collect()
            assert alive() is None
            assert engine.similar(item_id, 1).hits[0]["score"] > 0.5


def with_sequence(root: Path, digest: str, sequence: int) -> str:
    """The bundle as if it had taken in changes up to this one."""
    folder = root / "bundles" / digest
    facts = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).unlink()
    other = seal(folder, {**facts, "files": {}, LIVE_SEQUENCE: sequence})
    store(folder, root / "bundles", other)
    return other


def wait_for(url: str, version: str) -> None:
    deadline = time.monotonic() + 10
    while httpx.get(f"{url}/v1/bundle").json()["version"] != version:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_was_acknowledged_survives_kill_9(root: Path) -> None:
    with bentoml_service(root) as service:
        for number in range(5):
            assert put(service.url, f"lamp-{number}", draw_photo(3000 + number)).status_code == 200
        httpx.delete(address(service.url, "item-001"), headers=AS_OPERATOR)
        put(service.url, "item-008", price=3.0)
        os.killpg(os.getpgid(service.pid), 0)
        kill_all(service.pid)
    with site(root) as url:
        for number in range(5):
            assert first(url, draw_photo(3000 + number))["item_id"] == f"lamp-{number}"
        assert httpx.get(address(url, "item-001")).status_code == 404
        assert httpx.get(address(url, "item-008")).json()["item"]["price"] == 3.0


def kill_all(pid: int) -> None:
    """The supervisor and its worker."""
    import psutil

    process = psutil.Process(pid)
    for each in [*process.children(recursive=True), process]:
        each.send_signal(signal.SIGKILL)
