"""What operators changed live is in the next catalogue, unless the feed knows better."""

from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update
from tiny_feed import DAY_1, DAY_2, DAY_3, Row, encoded, give, output, photo, row, scene, shop

from pipelines.feed import FEED
from pipelines.ingest import run
from pipelines.live_changes import LiveChanges, read_live_changes
from pipelines.settings import Live, Settings
from pipelines.step import Partition, Report
from serving.item import Item
from serving.live_change import Change
from serving.live_database import connect, items, writing
from serving.live_photos import photo_path
from serving.live_store import LiveStore


class Shop:
    """Items `a` and `b` of the first day, and a live store whose changes are made when we say."""

    def __init__(self, root: Path, **ingest: Any) -> None:
        self.settings = shop(root, **ingest)
        self.ingest(DAY_1, row("a", 1, price=1, box=[0, 0, 9, 9]), row("b", 2, title="old"))

    def ingest(self, ds: date, *rows: Row) -> Report:
        give(self.settings, ds, list(rows))
        return run(self.settings, ds)

    def put(self, at: str, name: str, seed: int | None = None, **facts: Any) -> Change:
        sent = None if seed is None else photo(seed)
        item = Item.model_validate({"item_id": name, "category": "Home > Lamps", **facts})
        with closing(self.store()) as store:
            change = store.put(item, sent)
        return self.made(change, at)

    def delete(self, at: str, name: str) -> Change:
        with closing(self.store()) as store:
            change = store.delete(name)
        return self.made(change, at)

    def store(self) -> LiveStore:
        return LiveStore.open(self.settings.live_place.url, self.settings.live_place.folder)

    def made(self, change: Change, at: str) -> Change:
        """As if it had been made at another time."""
        moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
        times = {"at": moment}
        if change.photo_sequence == change.sequence:
            times["photo_at"] = moment
        engine = connect(self.settings.live_place.url)
        with writing(engine) as connection:
            connection.execute(update(items).filter_by(item_id=change.item_id).values(**times))
        engine.dispose()
        with closing(self.store()) as store:
            return next(each for each in store.since(0) if each.item_id == change.item_id)

    def items(self, ds: date) -> dict[str, Row]:
        rows = output(self.settings, "ingest", ds, "items.parquet")
        return {item["item_id"]: item for item in rows}


@pytest.fixture
def delta(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def snapshot(tmp_path: Path) -> Shop:
    return Shop(tmp_path, snapshot=True)


def live(report: Report) -> dict[str, Any]:
    names = ("live_sequence", "live_changes")
    return {name: report.details[name] for name in names if name in report.details}


def test_without_a_store_there_is_nothing_and_none_is_made(delta: Shop) -> None:
    found = read_live_changes(delta.settings, DAY_2, None)
    assert found == LiveChanges(DAY_2)
    assert found.inputs == {"live": "", "live_sequence": "0"}
    report = delta.ingest(DAY_2, row("b"))
    assert live(report) == {"live_sequence": 0}
    assert report.inputs.items() >= found.inputs.items()
    assert not (delta.settings.root / "live.db").exists()


def test_a_new_item_is_in_the_catalogue_with_its_photo(delta: Shop) -> None:
    change = delta.put(
        "2026-11-21 12:00", "new", 7, title="Lamp", price=5.0, attributes={"b": "2", "a": "1"}
    )
    report = delta.ingest(DAY_2, row("b", 2))
    assert change.photo is not None
    found = delta.items(DAY_2)["new"]
    read = {name: found[name] for name in FEED.names if name not in ("deleted", "split")}
    assert read == {
        "item_id": "new",
        "product_id": "new",
        "image": f"live/{photo_path(change.photo)}",
        "category": "Home > Lamps",
        "title": "Lamp",
        "brand": None,
        "attributes": [("a", "1"), ("b", "2")],
        "price": 5.0,
        "currency": None,
        "in_stock": True,
        "updated_at": change.at,
        "box": None,
        "kind": "catalogue",
    }
    assert (found["image_digest"], found["first_seen"]) == (change.photo, str(DAY_2))
    assert live(report) == {"live_sequence": 1, "live_changes": 1}
    assert report.inputs["live_sequence"] == "1"


def test_facts_alone_leave_the_photo_its_box_and_its_split(delta: Shop) -> None:
    before = delta.items(DAY_1)["a"]
    change = delta.put("2026-11-21 12:00", "a", price=3.0, in_stock=False, category="Home > Sale")
    delta.ingest(DAY_2, row("b", 2))
    after = delta.items(DAY_2)["a"]
    assert after == {
        **before,
        "price": 3.0,
        "attributes": [],
        "in_stock": False,
        "category": "Home > Sale",
        "leaf": 1,
        "updated_at": change.at,
    }


def test_another_photo_is_of_no_box(delta: Shop) -> None:
    change = delta.put("2026-11-21 12:00", "a", 7)
    delta.ingest(DAY_2, row("b", 2))
    after = delta.items(DAY_2)["a"]
    assert (after["image_digest"], after["box"]) == (change.photo, None)
    assert (after["first_seen"], after["changed"]) == (str(DAY_1), str(DAY_2))


def test_a_deletion_removes_the_item(delta: Shop) -> None:
    delta.delete("2026-11-21 12:00", "a")
    delta.delete("2026-11-21 12:00", "never there")
    report = delta.ingest(DAY_2, row("b", 2))
    assert list(delta.items(DAY_2)) == ["b"]
    assert (report.details["deleted"], live(report)["live_sequence"]) == (1, 2)


def test_nothing_new_is_done_again(delta: Shop) -> None:
    delta.put("2026-11-21 12:00", "new", 7)
    delta.ingest(DAY_2, row("b", 2))
    assert run(delta.settings, DAY_2).reused
    delta.put("2026-11-21 13:00", "new", price=5.0)
    again = run(delta.settings, DAY_2)
    assert (again.reused, live(again)) == (False, {"live_sequence": 2, "live_changes": 1})
    assert delta.items(DAY_2)["new"]["price"] == 5.0


# Who knows better.


@pytest.mark.parametrize(
    ("updated_at", "at", "price"),
    [
        ("2026-11-21T09:00:00Z", "2026-11-21 08:59", 2.0),
        ("2026-11-21T09:00:00Z", "2026-11-21 09:00", 5.0),
        ("2026-11-21T09:00:00Z", "2026-11-21 09:01", 5.0),
        ("2026-11-20T09:00:00Z", "2026-11-20 10:00", 5.0),
        (None, "2026-11-20 23:59", 2.0),
        (None, "2026-11-21 00:00", 5.0),
    ],
)
def test_the_newer_word_counts(delta: Shop, updated_at: str | None, at: str, price: float) -> None:
    delta.put(at, "a", price=5.0)
    delta.ingest(DAY_2, row("a", price=2, updated_at=updated_at), row("b", 2))
    assert delta.items(DAY_2)["a"]["price"] == price


@pytest.mark.parametrize(
    ("at", "there"), [("2026-11-21 08:00", ["b"]), ("2026-11-21 10:00", ["a", "b"])]
)
def test_an_item_that_the_feed_deletes_comes_back_if_it_was_put_later(
    delta: Shop, at: str, there: list[str]
) -> None:
    delta.put(at, "a", price=5.0)
    gone = row("a", deleted=True, updated_at="2026-11-21T09:00:00Z")
    delta.ingest(DAY_2, gone, row("b", 2))
    assert list(delta.items(DAY_2)) == there
    if "a" in there:
        assert delta.items(DAY_2)["a"]["image"] == "photos/a.jpg"


@pytest.mark.parametrize(
    ("at", "there"), [("2026-11-20 23:00", ["b"]), ("2026-11-21 10:00", ["b", "new"])]
)
def test_a_snapshot_that_lacks_an_item_speaks_of_the_beginning_of_its_day(
    snapshot: Shop, at: str, there: list[str]
) -> None:
    snapshot.put(at, "new", 7)
    snapshot.ingest(DAY_2, row("b", 2))
    assert list(snapshot.items(DAY_2)) == there


def test_a_row_that_was_refused_says_that_the_shop_has_the_item(snapshot: Shop) -> None:
    snapshot.put("2026-11-20 23:00", "a", price=5.0)
    snapshot.ingest(DAY_2, row("a", price="x"), row("b", 2))
    assert snapshot.items(DAY_2)["a"]["price"] == 5.0


def test_what_was_settled_yesterday_stays_settled(delta: Shop) -> None:
    """The feed of the second day won; the third says nothing, and the change does not come back."""
    delta.put("2026-11-21 08:00", "a", price=5.0)
    delta.ingest(DAY_2, row("a", price=2, updated_at="2026-11-21T09:00:00Z"))
    report = delta.ingest(DAY_3, row("b", 2))
    assert delta.items(DAY_3)["a"]["price"] == 2.0
    assert live(report) == {"live_sequence": 1, "live_changes": 0}


def test_what_was_taken_in_yesterday_stays_until_the_feed_is_newer(delta: Shop) -> None:
    delta.put("2026-11-21 08:00", "a", 7, price=5.0)
    delta.ingest(DAY_2, row("b", 2))
    delta.ingest(DAY_3, row("b", 2))
    assert delta.items(DAY_3)["a"] == delta.items(DAY_2)["a"]
    delta.ingest(DAY_3, row("a", 1, price=2))
    assert delta.items(DAY_3)["a"]["price"] == 2.0
    assert delta.items(DAY_3)["a"]["image"] == "photos/a.jpg"


def test_newer_facts_do_not_bring_an_older_photo_back(delta: Shop) -> None:
    delta.put("2026-11-21 08:00", "a", 7)
    newer = row("a", 8, image="photos/newer.jpg", updated_at="2026-11-21T09:00:00Z")
    delta.put("2026-11-21 10:00", "a", price=5.0)
    delta.ingest(DAY_2, newer)
    found = delta.items(DAY_2)["a"]
    assert (found["image"], found["price"]) == ("photos/newer.jpg", 5.0)


def test_changes_since_the_day_before_count_where_the_feed_is_silent(delta: Shop) -> None:
    delta.ingest(DAY_2, row("b", 2))
    delta.put("2026-11-21 12:00", "a", price=5.0)
    delta.ingest(DAY_3, row("b", 2))
    assert delta.items(DAY_3)["a"]["price"] == 5.0


def test_a_store_that_was_made_anew_has_settled_nothing(delta: Shop) -> None:
    for n in range(3):
        delta.put("2026-11-21 12:00", "a", price=float(n))
    delta.ingest(DAY_2, row("b", 2))
    (delta.settings.root / "live.db").unlink()
    delta.put("2026-11-22 12:00", "a", price=5.0)
    delta.ingest(DAY_3, row("b", 2))
    assert delta.items(DAY_3)["a"]["price"] == 5.0


# Days, and what is wrong.


def test_a_past_day_takes_in_nothing_from_later(delta: Shop) -> None:
    """Up to the end of the day after it; a server applies what is newer than `live_sequence`."""
    delta.put("2026-11-21 23:59", "a", price=5.0)
    delta.put("2026-11-22 00:00", "b", title="later")
    delta.put("2026-11-21 12:00", "c", 7)  # by a machine whose clock is behind
    report = delta.ingest(DAY_1, row("a", 1), row("b", 2, title="old"))
    found = delta.items(DAY_1)
    assert (found["a"]["price"], found["b"]["title"], list(found)) == (5.0, "old", ["a", "b", "c"])
    assert live(report) == {"live_sequence": 1, "live_changes": 2}
    report = delta.ingest(DAY_2, row("x", 8))
    assert delta.items(DAY_2)["b"]["title"] == "later"
    assert live(report) == {"live_sequence": 3, "live_changes": 2}


def test_more_changes_than_one_page_of_the_store(delta: Shop) -> None:
    with closing(delta.store()) as store:
        store.begin_after(1003)
    engine = connect(delta.settings.live_place.url)
    at = datetime(2026, 11, 21, tzinfo=UTC)
    rows = [{"item_id": f"i{n}", "sequence": n, "at": at, "deleted": True} for n in range(1, 1004)]
    with writing(engine) as connection:
        connection.execute(insert(items), rows)
    engine.dispose()
    found = read_live_changes(delta.settings, DAY_2, None)
    assert [change.sequence for change in found.taken] == list(range(1, 1004))
    assert found.sequence == 1003


def test_an_item_without_any_photo_is_set_aside(delta: Shop) -> None:
    delta.put("2026-11-21 12:00", "nowhere", price=5.0)
    report = delta.ingest(DAY_2, row("b", 2), row("c", 3))
    assert report.details["reasons"] == {"missing_image": 1}
    assert output(delta.settings, "ingest", DAY_2, "quarantine.parquet") == [
        {
            "item_id": "nowhere",
            "image": None,
            "reason": "missing_image",
            "detail": "image: expected a path or URI; received nothing",
        }
    ]


def test_the_taxonomy_file_holds_for_live_items_too(tmp_path: Path) -> None:
    (tmp_path / "tree.csv").write_text("category,parent\nHome,\nLamps,Home\n")
    delta = Shop(tmp_path, taxonomy=tmp_path / "tree.csv")
    delta.put("2026-11-21 12:00", "new", 7, category="Home > Rugs")
    report = delta.ingest(DAY_2, row("b", 2), row("c", 3))
    assert report.details["reasons"] == {"unknown_category": 1}


def test_a_look_alike_of_a_live_item_shares_its_split(delta: Shop) -> None:
    """A live item is as any other: its copy in the feed may not be in another split."""
    delta.put("2026-11-21 12:00", "new", 7)
    (delta.settings.root / "photos" / "copy.jpg").write_bytes(encoded(scene(7), quality=50))
    delta.ingest(DAY_2, row("copy"))
    found = delta.items(DAY_2)
    assert found["new"]["group"] == found["copy"]["group"]
    assert found["new"]["split"] == found["copy"]["split"]


def test_the_store_may_lie_elsewhere(tmp_path: Path) -> None:
    delta = Shop(tmp_path / "shop")
    elsewhere = Live(url=f"sqlite:///{tmp_path}/elsewhere/live.db")
    delta.settings = Settings(**{**dict(delta.settings), "live": elsewhere})
    delta.put("2026-11-21 12:00", "new", 7)
    delta.ingest(DAY_2, row("b", 2))
    assert list(delta.items(DAY_2)) == ["a", "b", "new"]
    assert not (tmp_path / "shop" / "live.db").exists()


def test_an_empty_store_that_is_named_changes_nothing(tmp_path: Path) -> None:
    delta = Shop(tmp_path)
    delta.store().close()
    assert read_live_changes(delta.settings, DAY_2, None) == LiveChanges(DAY_2)
    report = delta.ingest(DAY_2, row("b", 2))
    assert (live(report), Partition(delta.settings, "ingest", DAY_2).done()) == (
        {"live_sequence": 0},
        report,
    )
