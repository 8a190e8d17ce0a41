"""Live changes are forgotten once nothing can need them, and not before: neither a rollback, nor a
day that is done again, nor a feed with an older word.
"""

import json
import time
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import update
from test_live_catalogue import PHOTO, address, first, put, with_sequence
from test_live_changes import Shop
from tiny_bundle import AS_OPERATOR, add_variant, make_root, site
from tiny_feed import DAY_1, DAY_2, row

from model.errors import Damaged
from pipelines import prune
from pipelines.catalogue import COUNTED
from pipelines.ingest import run as ingest
from pipelines.prune import FORGOTTEN, KEPT_FOR
from pipelines.settings import Settings
from pipelines.step import Partition, Report
from serving.bundle import LIVE_SEQUENCE, MANIFEST
from serving.ledger import Entry, append, champion
from serving.live_database import connect, items, writing
from serving.live_photos import photo_path
from serving.live_store import LiveStore

LATER = date(2027, 1, 10)  # its KEPT_FOR begins on 2026-12-11
LONG_AGO, LATELY = datetime(2026, 11, 25, tzinfo=UTC), datetime(2026, 12, 20, tzinfo=UTC)


def decide(
    root: Path, bundle: str, at: datetime, ds: date = DAY_1, action: str = "promote"
) -> None:
    """The decision that puts a bundle into Production; its digest is its version."""
    former = champion(root)
    entry = {
        "at": at,
        "action": action,
        "who": "ada@shop.example",
        "why": "",
        "ds": ds,
        "version": bundle,
        "former": former and former.bundle,
        "bundle": bundle,
    }
    append(root, Entry.model_validate(entry))


def bundle(root: Path, digest: str, sequence: int) -> str:
    """What pruning reads of a bundle: the newest change that it has."""
    folder = root / "bundles" / digest
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(json.dumps({LIVE_SEQUENCE: sequence}))
    return digest


def kept(settings: Settings) -> list[int]:
    with closing(opened(settings)) as store:
        return [change.sequence for change in store.all()]


def opened(settings: Settings) -> LiveStore:
    return LiveStore.open(settings.live_place.url, settings.live_place.folder)


def made_at(settings: Settings, at: datetime) -> None:
    """As if every change had been made then."""
    engine = connect(settings.live_place.url)
    with writing(engine) as connection:
        connection.execute(update(items).values(at=at))
    engine.dispose()


def wait_for_bundle(url: str, digest: str) -> None:
    deadline = time.monotonic() + 10
    while httpx.get(f"{url}/v1/bundle").json()["digest"] != digest:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def told(report: Report) -> tuple[int, dict[str, object]]:
    return report.rows, report.details


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Three changes that the second day took in, long before LATER."""
    shop = Shop(tmp_path)
    shop.put("2026-11-21 08:00", "new", 7)
    shop.put("2026-11-21 09:00", "a", price=5.0)
    shop.delete("2026-11-21 10:00", "b")
    shop.ingest(DAY_2, row("x", 8))
    return shop


def test_without_a_store_there_is_nothing_and_none_is_made(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    assert told(prune.run(settings, LATER)) == (0, {})
    assert prune.run(settings, LATER).reused
    assert not (tmp_path / "live.db").exists()


def test_what_the_champion_and_the_one_before_have_goes(shop: Shop) -> None:
    root = shop.settings.root
    decide(root, bundle(root, "one", 2), LONG_AGO)
    decide(root, bundle(root, "two", 3), LONG_AGO)
    assert told(prune.run(shop.settings, LATER)) == (2, {"sequence": 2, "kept": 1})
    assert kept(shop.settings) == [3]
    forgotten = Partition(shop.settings, "prune", LATER).output / FORGOTTEN
    assert json.loads(forgotten.read_bytes()) == ["new", "a"]
    assert prune.run(shop.settings, LATER).reused


@pytest.mark.parametrize(
    ("decisions", "expected"),
    [
        ([], 0),
        ([("one", LONG_AGO)], 1),
        ([("one", LONG_AGO), ("three", LONG_AGO)], 1),
        ([("one", LONG_AGO), ("two", LONG_AGO), ("three", LONG_AGO)], 2),
        ([("one", LATELY), ("two", LATELY), ("three", LATELY)], 1),
        ([("one", LONG_AGO), ("two", LATELY), ("three", LATELY)], 1),  # it served until lately
        ([("two", LONG_AGO), ("three", LONG_AGO), ("gone", LATELY), ("three", LATELY)], 0),
    ],
)
def test_every_bundle_that_may_serve_again_counts(
    tmp_path: Path, decisions: list[tuple[str, datetime]], expected: int
) -> None:
    """Also one that is not on this disk: a rollback would bring it from the registry."""
    for sequence, digest in enumerate(("one", "two", "three"), 1):
        bundle(tmp_path, digest, sequence)
    for digest, at in decisions:
        decide(tmp_path, digest, at)
    assert prune.taken_in(Settings(root=tmp_path), LATER) == expected


def test_the_one_before_is_the_one_that_a_rollback_goes_to(tmp_path: Path) -> None:
    for sequence, digest in enumerate(("one", "two", "three"), 1):
        decide(tmp_path, bundle(tmp_path, digest, sequence), LONG_AGO)
    decide(tmp_path, "two", LONG_AGO, action="rollback")
    assert prune.taken_in(Settings(root=tmp_path), LATER) == 1


def test_a_young_change_stays(shop: Shop) -> None:
    """The days since it was made can be done again as they were."""
    root = shop.settings.root
    decide(root, bundle(root, "one", 3), LONG_AGO)
    early = DAY_2 + KEPT_FOR
    assert told(prune.run(shop.settings, early)) == (0, {"sequence": 3, "kept": 3})
    assert prune.run(shop.settings, early + timedelta(days=1)).rows == 3


def test_a_young_change_stays_where_a_feed_is_newer(tmp_path: Path) -> None:
    """That feed may be corrected, and its day done again."""
    shop = Shop(tmp_path)
    shop.put("2026-11-21 08:00", "a", price=5.0)
    shop.ingest(DAY_2, row("a", price=2, updated_at="2026-11-21T09:00:00Z"))
    decide(tmp_path, bundle(tmp_path, "one", 1), LONG_AGO)
    early = DAY_2 + KEPT_FOR
    assert not (Partition(shop.settings, "ingest", DAY_2).output / COUNTED).exists()
    assert prune.run(shop.settings, early).rows == 0
    assert prune.run(shop.settings, early + timedelta(days=1)).rows == 1


def test_a_change_that_was_taken_in_lately_stays(tmp_path: Path) -> None:
    """However long ago it was made: done again, that day takes it in again."""
    shop = Shop(tmp_path)
    shop.put("2026-11-20 08:00", "a", price=5.0)
    shop.ingest(DAY_2, row("x", 8))
    decide(tmp_path, bundle(tmp_path, "one", 1), LONG_AGO)
    early = DAY_2 + KEPT_FOR
    assert prune.run(shop.settings, early).rows == 0
    assert prune.run(shop.settings, early + timedelta(days=1)).rows == 1


def test_the_catalogue_stays_as_it_is(shop: Shop) -> None:
    """With the photo, which is in no store any more; and later changes are taken in as before."""
    root = shop.settings.root
    before = shop.items(DAY_2)
    for digest in ("one", "two"):
        decide(root, bundle(root, digest, 3), LONG_AGO)
    assert prune.run(shop.settings, LATER).rows == 3
    assert kept(shop.settings) == []
    quiet = shop.ingest(LATER, row("x", 8))
    assert quiet.details[LIVE_SEQUENCE] == 3
    after = shop.items(LATER)
    assert {name: after[name] for name in ("new", "a")} == {
        name: before[name] for name in ("new", "a")
    }
    assert "b" not in after
    assert (root / before["new"]["image"]).is_file()
    shop.put("2027-01-11 12:00", "new", price=9.0)
    shop.ingest(LATER + timedelta(days=1), row("x", 8))
    changed = shop.items(LATER + timedelta(days=1))["new"]
    assert (changed["price"], changed["image"]) == (9.0, before["new"]["image"])


def test_what_a_feed_still_contradicts_stays(tmp_path: Path) -> None:
    """An export that names a deleted item for ever, with an old time, never brings it back."""
    shop = Shop(tmp_path, snapshot=True)
    shop.delete("2026-11-21 10:00", "b")
    shop.put("2026-11-21 11:00", "a", price=5.0)
    stale = row("b", 2, updated_at="2026-01-01T00:00:00Z")
    shop.ingest(DAY_2, stale, row("a", 1))
    for digest in ("one", "two"):
        decide(tmp_path, bundle(tmp_path, digest, 2), LONG_AGO)
    before = LATER - timedelta(days=1)
    shop.ingest(before, stale, row("a", 1, price=6, updated_at="2027-01-09T00:00:00Z"))
    counted = Partition(shop.settings, "ingest", before).output / COUNTED
    assert json.loads(counted.read_bytes()) == ["b"]
    assert told(prune.run(shop.settings, before)) == (1, {"sequence": 2, "kept": 1})
    report = shop.ingest(LATER, stale, row("a", 1, price=6, updated_at="2027-01-09T00:00:00Z"))
    assert shop.items(LATER).keys() == {"a"}
    assert shop.items(LATER)["a"]["price"] == 6.0
    assert report.details[LIVE_SEQUENCE] == 2


def test_a_catalogue_that_does_not_say_what_it_took_in_keeps_everything(shop: Shop) -> None:
    """It is of an older version."""
    root, recent = shop.settings.root, DAY_2 + timedelta(days=20)
    decide(root, bundle(root, "one", 3), LONG_AGO)
    (Partition(shop.settings, "ingest", DAY_2).output / COUNTED).unlink()
    assert prune.counted_since(shop.settings, recent) is None
    assert told(prune.run(shop.settings, recent)) == (0, {"sequence": 3, "kept": 3})
    assert prune.run(shop.settings, LATER).rows == 3


def test_photos_go_with_the_last_that_has_them(shop: Shop) -> None:
    root = shop.settings.root
    decide(root, bundle(root, "one", 9), LONG_AGO)
    with closing(opened(shop.settings)) as store:
        [photo] = [change.photo for change in store.all() if change.photo]
    unused = shop.put("2026-11-22 08:00", "other", 9).photo
    shop.delete("2026-11-22 09:00", "other")
    assert photo is not None
    assert unused is not None
    places = [root / "live" / photo_path(digest) for digest in (photo, unused)]
    assert [place.is_file() for place in places] == [True, True]
    prune.run(shop.settings, LATER)
    assert [place.is_file() for place in places] == [True, False]


def test_a_damaged_bundle_is_named_and_nothing_is_forgotten(shop: Shop) -> None:
    root = shop.settings.root
    decide(root, bundle(root, "one", 3), LONG_AGO)
    (root / "bundles" / "one" / "items.arrow").write_bytes(b"no Arrow")
    with pytest.raises(Damaged, match="^Cannot read which photos bundle one has: .*Restore the"):
        prune.run(shop.settings, LATER)
    assert kept(shop.settings) == [1, 2, 3]


def test_after_a_rollback_every_change_is_served(tmp_path: Path) -> None:
    """The bundle before lacks the second and the third change, so the store keeps them for it."""
    root = make_root(tmp_path, items=20)
    settings = Settings(root=root)
    former = champion(root)
    assert former is not None
    with site(root) as url:
        put(url, "item-008", price=3.0)
        put(url, "lamp", PHOTO)
        assert httpx.delete(address(url, "item-009"), headers=AS_OPERATOR).status_code == 200
    made_at(settings, LONG_AGO)
    (root / "ledger.jsonl").unlink()
    one, two = (
        with_sequence(root, add_variant(root, former.bundle, lambda folder: None), sequence)
        for sequence in (1, 3)
    )
    decide(root, one, LONG_AGO)
    decide(root, two, LONG_AGO)
    assert prune.run(settings, LATER).rows == 1
    assert kept(settings) == [2, 3]
    with site(root) as url:
        assert first(url, PHOTO)["item_id"] != "lamp"  # this bundle has it, by its own word
        decide(root, one, LATELY, action="rollback")
        wait_for_bundle(url, one)
        assert first(url, PHOTO)["item_id"] == "lamp"
        assert httpx.get(f"{address(url, 'lamp')}/image").content == PHOTO
        assert httpx.get(address(url, "item-009")).status_code == 404
        assert put(url, "item-010", price=4.0).json()["sequence"] == 4


def test_the_day_can_be_done_again(shop: Shop) -> None:
    """Without what was forgotten its catalogue is the same."""
    root = shop.settings.root
    decide(root, bundle(root, "one", 3), LONG_AGO)
    report = shop.ingest(LATER, row("x", 8))
    assert prune.run(shop.settings, LATER).rows == 3
    again = ingest(shop.settings, LATER)
    assert (again.digest, again.details[LIVE_SEQUENCE]) == (report.digest, 3)
