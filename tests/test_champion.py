"""The bundle that serves: found through the ledger, tested, swapped without losing a request."""

import json
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest
from tiny_bundle import (
    DIMENSIONS,
    add_bundle,
    add_variant,
    draw_photo,
    make_root,
    promote,
    serve_settings,
    site,
)

from serving.champion import Champion, Pending
from serving.ledger import LEDGER
from serving.metrics import Metrics


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path, items=40)


def follow(root: Path) -> Champion:
    champion = Champion(serve_settings(root))
    champion.poll()
    return champion


def serving(champion: Champion) -> tuple[str, str] | None:
    loaded = champion.current
    return loaded and (loaded.digest, loaded.entry.version)


def sample(metrics: Metrics, name: str) -> list[str]:
    return [line for line in metrics.text().decode().splitlines() if line.startswith(name)]


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_without_a_champion_the_server_starts_and_waits(tmp_path: Path) -> None:
    with site(tmp_path) as url:
        assert httpx.get(f"{url}/livez").status_code == 200
        assert httpx.get(f"{url}/").status_code == 200
        assert httpx.get(f"{url}/metrics").status_code == 200
        answers = [
            httpx.get(f"{url}/readyz"),
            httpx.post(f"{url}/v1/search", content=draw_photo(1)),
            httpx.get(f"{url}/v1/items"),
            httpx.get(f"{url}/v1/items/item-008/similar"),
            httpx.get(f"{url}/v1/items/item-008/image"),
            httpx.get(f"{url}/v1/bundle"),
        ]
        message = "No bundle serves. None is loaded yet. Promote one; it serves within seconds."
        expected = {"error": {"code": "no_bundle", "message": message}}
        assert [(answer.status_code, answer.json()) for answer in answers] == [(503, expected)] * 6
        assert {answer.headers["Retry-After"] for answer in answers} == {"1"}
        make_root(tmp_path, items=20)
        wait_for(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        assert httpx.get(f"{url}/v1/bundle").json()["items"] == 20


def test_a_damaged_first_champion_is_named(root: Path) -> None:
    digest = add_bundle(root, items=30)
    flip_a_byte(root / "bundles" / digest / "vectors.npy")
    promote(root, digest, "2")
    with site(root) as url:
        message = httpx.get(f"{url}/readyz").json()["error"]["message"]
    assert message.startswith("No bundle serves. The file vectors.npy of bundle ")


def test_a_swap_under_load_loses_nothing(root: Path) -> None:
    old = next((root / "bundles").iterdir()).name
    new = add_bundle(root, items=60)
    photo = draw_photo(8)
    with site(root) as url, httpx.Client(base_url=url) as client:

        def ask(number: int) -> tuple[str, int]:
            if number == 60:
                promote(root, new, "2")
            answer = client.post("/v1/search", params={"k": 60}, content=photo)
            assert answer.status_code == 200
            body = answer.json()
            assert body["bundle"]["digest"] == answer.headers["X-Lookalike-Bundle"]
            assert (body["bundle"]["digest"], body["bundle"]["version"]) in {(old, "1"), (new, "2")}
            time.sleep(0.02)
            return body["bundle"]["digest"], len(body["hits"])

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(200)))
        wait_for(lambda: client.get("/v1/bundle").json()["digest"] == new)
        answers.append(ask(200))
    assert set(answers) == {(old, 40), (new, 60)}


def test_a_damaged_bundle_leaves_the_old_one_serving(root: Path) -> None:
    champion = follow(root)
    old = serving(champion)
    new = add_bundle(root, items=30)
    flip_a_byte(root / "bundles" / new / "vectors.npy")
    promote(root, new, "2")
    champion.poll()
    assert serving(champion) == old
    assert champion.pending is not None
    assert champion.pending.bundle == new
    assert champion.pending.error.startswith(f"The file vectors.npy of bundle {new} is damaged.")
    assert sample(champion.metrics, "lookalike_bundle_refused ") == ["lookalike_bundle_refused 1.0"]
    flip_a_byte(root / "bundles" / new / "vectors.npy")
    champion.poll()
    failed = "lookalike_failed_bundle_loads_total"
    assert (serving(champion), sample(champion.metrics, failed)) == (old, [f"{failed} 1.0"])
    promote(root, new, "2")
    champion.poll()
    assert (serving(champion), champion.pending) == ((new, "2"), None)
    assert sample(champion.metrics, "lookalike_bundle_refused ") == ["lookalike_bundle_refused 0.0"]


def test_the_refused_bundle_is_shown(root: Path) -> None:
    with site(root) as url:
        wait_for(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        before = httpx.get(f"{url}/v1/bundle").json()
        promote(root, "0123456789abcdef", "2")
        wait_for(lambda: httpx.get(f"{url}/v1/bundle").json()["pending"] is not None)
        after = httpx.get(f"{url}/v1/bundle").json()
    pending = after.pop("pending")
    assert pending["bundle"] == "0123456789abcdef"
    assert pending["error"].startswith("The bundle 0123456789abcdef has no readable manifest.json")
    same = {name: value for name, value in before.items() if name != "pending"}
    assert after | {"index_age_seconds": 0} == same | {"index_age_seconds": 0}


def test_an_unreadable_ledger_changes_nothing(root: Path) -> None:
    champion = follow(root)
    old = serving(champion)
    ledger = (root / LEDGER).read_bytes()
    (root / LEDGER).write_bytes(ledger + b"{}\n")
    for _ in range(3):
        champion.poll()
    assert serving(champion) == old
    assert champion.pending is not None
    assert champion.pending.bundle is None
    failed = "lookalike_failed_bundle_loads_total"
    assert sample(champion.metrics, failed) == [f"{failed} 1.0"]
    (root / LEDGER).write_bytes(ledger)
    champion.poll()
    assert (serving(champion), champion.pending) == (old, None)


def test_the_same_bundle_is_not_loaded_twice(root: Path) -> None:
    champion = follow(root)
    before = champion.current
    assert before is not None
    promote(root, before.digest, "7")
    champion.poll()
    assert champion.current is not None
    assert champion.current.engine is before.engine
    assert serving(champion) == (before.digest, "7")
    info = 'lookalike_bundle_info{digest="%s",version="7"} 1.0'
    assert sample(champion.metrics, "lookalike_bundle_info") == [info % before.digest]


def test_the_one_before_stays_loaded_and_the_way_back_loads_nothing(root: Path) -> None:
    champion = follow(root)
    assert champion.current is not None
    first = champion.current
    promote(root, add_bundle(root, items=30), "2")
    champion.poll()
    assert champion.previous is first
    promote(root, first.digest, "1")
    champion.poll()
    assert champion.current.engine is first.engine
    assert champion.previous is not None
    assert champion.previous.entry.version == "2"


def test_engines_before_the_last_are_freed(root: Path) -> None:
    champion = follow(root)
    assert champion.current is not None
    former = weakref.ref(champion.current.engine)
    for version, items in (("2", 30), ("3", 50)):
        promote(root, add_bundle(root, items=items), version)
        champion.poll()
        assert champion.current.entry.version == version
    assert former() is None  # without the collector: it looks at nothing that was loaded


def swap_vectors(folder: Path) -> None:
    path = folder / "vectors.npy"
    np.save(path, np.load(path)[::-1])


def fewer_leaves(folder: Path) -> None:
    (folder / "taxonomy.json").write_text(json.dumps({"leaves": ["Home", "Garden"]}))


def other_embedder(folder: Path) -> None:
    (folder / "embedder.onnx").write_bytes(b"not a graph")


def wider_vectors(folder: Path) -> None:
    path = folder / "vectors.npy"
    np.save(path, np.hstack([np.load(path)] * 2))


def facts(**changed: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        manifest = folder / "manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_bytes()) | changed))

    return edit


@pytest.mark.parametrize(
    ("edit", "error"),
    [
        (swap_vectors, "The index does not find its own items. Expected 90% of 20 at rank 1. "),
        (fewer_leaves, "The embedder is not of this taxonomy. Expected 2 leaves. Found: 6. "),
        (other_embedder, "embedder.onnx is no graph. Expected one in ONNX."),
        (wider_vectors, f"Wrong query shape. Expected [queries, {2 * DIMENSIONS}]. "),
        (
            facts(pixel_spec="decode|orient|resize(64)|pad"),
            "The embedder is not of this pixel spec. Expected images of side 64. Found: 32. ",
        ),
        (facts(created=None), "The manifest has no time of creation. Expected ISO 8601. "),
        (facts(index={"engine": "annoy"}), "Unknown index engine. "),
    ],
)
def test_a_bundle_that_fails_its_test_never_serves(
    root: Path, edit: Callable[[Path], None], error: str
) -> None:
    champion = follow(root)
    old = serving(champion)
    assert old is not None
    bad = add_variant(root, old[0], edit)
    promote(root, bad, "2")
    champion.poll()
    assert serving(champion) == old
    assert champion.pending is not None
    assert champion.pending == Pending(bad, champion.pending.error)
    assert champion.pending.error.startswith(error)


@pytest.mark.parametrize("zone", ["", "+00:00", "+02:00"])
def test_the_age_counts_from_the_making_of_the_bundle(root: Path, zone: str) -> None:
    digest = next((root / "bundles").iterdir()).name
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    local = hour_ago + timedelta(hours=2 if zone == "+02:00" else 0)
    text = local.replace(tzinfo=None).isoformat() + zone
    promote(root, add_variant(root, digest, facts(created=text)), "2")
    champion = follow(root)
    assert champion.current is not None
    assert champion.current.age_seconds() == pytest.approx(3600, abs=5)
