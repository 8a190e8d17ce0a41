"""The next days: only what changed is read, and what was decided stays."""

import json
from datetime import date
from pathlib import Path

import pytest
from tiny_feed import DAY_1, DAY_2, DAY_3, Row, encoded, give, output, photo, row, scene, shop

from model.errors import BadInput
from pipelines.ingest import run
from pipelines.settings import Settings
from pipelines.step import Partition, Report


def ingest(settings: Settings, ds: date, *rows: Row) -> Report:
    give(settings, ds, list(rows))
    return run(settings, ds)


def items(settings: Settings, ds: date) -> dict[str, Row]:
    return {item["item_id"]: item for item in output(settings, "ingest", ds, "items.parquet")}


def counts(report: Report) -> dict[str, int]:
    names = ("new", "changed", "unchanged", "deleted", "quarantined")
    return {name: report.details[name] for name in names if report.details[name]}


def leaves(settings: Settings, ds: date) -> list[str]:
    path = Partition(settings, "ingest", ds).output / "taxonomy.json"
    return list(json.loads(path.read_bytes())["leaves"])


def test_a_delta_is_merged_into_the_day_before(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    ingest(settings, DAY_1, *(row(name, n, price=1) for n, name in enumerate("abcde")))
    before = items(settings, DAY_1)
    report = ingest(
        settings,
        DAY_2,
        row("b", 7, updated_at="2026-11-21"),
        row("c", price=2),
        row("d", deleted=True),
        row("f", 8),
        row("never", deleted=True),
    )
    after = items(settings, DAY_2)
    assert counts(report) == {"new": 1, "changed": 1, "unchanged": 3, "deleted": 1}
    assert list(after) == ["a", "b", "c", "e", "f"]
    assert (after["a"], after["e"]) == (before["a"], before["e"])
    assert after["c"] == {**before["c"], "price": 2.0}
    assert [after[name]["changed"] for name in after] == [
        "2026-11-20",
        "2026-11-21",
        "2026-11-20",
        "2026-11-20",
        "2026-11-21",
    ]
    assert [after[name]["first_seen"] for name in "abf"] == [
        "2026-11-20",
        "2026-11-20",
        "2026-11-21",
    ]


def test_an_unchanged_row_is_not_read_again(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    time = "2026-11-20T01:00:00Z"
    rows = [row("a", 1, updated_at=time, box=[0, 0, 9, 9]), row("b", 2, updated_at=time)]
    ingest(settings, DAY_1, *rows)
    for path in (tmp_path / "photos").iterdir():
        path.unlink()
    report = ingest(settings, DAY_2, *[{**each, "seed": None} for each in rows])
    assert counts(report) == {"unchanged": 2}
    assert items(settings, DAY_2) == items(settings, DAY_1)


@pytest.mark.parametrize(
    "given", [{"updated_at": "2026-11-21"}, {"image": "photos/z.jpg"}, {"box": [0, 0, 9, 9]}]
)
def test_a_row_is_read_again_when_it_may_show_something_else(tmp_path: Path, given: Row) -> None:
    settings = shop(tmp_path)
    ingest(settings, DAY_1, row("a", 1), row("b", 2))
    changed = ingest(settings, DAY_2, row("a", 3, **given))
    assert counts(changed) == {"changed": 1, "unchanged": 1}
    same = ingest(settings, DAY_3, row("a", 3, **{**given, "updated_at": "2026-11-22"}))
    assert counts(same) == {"unchanged": 2}
    assert items(settings, DAY_3)["a"]["changed"] == "2026-11-21"


def test_an_item_whose_new_photo_is_bad_stays_as_it_was(tmp_path: Path) -> None:
    settings = shop(tmp_path, snapshot=True)
    ingest(settings, DAY_1, row("a", 1), row("b", 2))
    report = ingest(settings, DAY_2, row("a", 1), row("b", image="photos/gone.jpg"))
    assert counts(report) == {"unchanged": 2, "quarantined": 1}
    assert items(settings, DAY_2) == items(settings, DAY_1)


def test_a_snapshot_deletes_what_it_lacks_but_not_what_was_refused(tmp_path: Path) -> None:
    settings = shop(tmp_path, snapshot=True)
    ingest(settings, DAY_1, *(row(name, n) for n, name in enumerate("abcd")))
    report = ingest(settings, DAY_2, row("a"), row("b", price="x"), row("c", deleted=True))
    assert counts(report) == {"unchanged": 2, "deleted": 2}
    assert list(items(settings, DAY_2)) == ["a", "b"]


def test_leaf_ids_do_not_move(tmp_path: Path) -> None:
    settings = shop(tmp_path, snapshot=True)
    ingest(settings, DAY_1, row("a", 1, category="Lamps"), row("b", 2, category="Rugs"))
    report = ingest(settings, DAY_2, row("b", 2, category="Rugs"), row("c", 3, category="Beds"))
    assert leaves(settings, DAY_2) == ["Lamps", "Rugs", "Beds"]
    assert {name: item["leaf"] for name, item in items(settings, DAY_2).items()} == {
        "b": 1,
        "c": 2,
    }
    assert (report.details["leaves"], report.details["new_leaves"]) == (3, 1)


def test_splits_are_sticky_and_newcomers_follow(tmp_path: Path) -> None:
    first = shop(tmp_path, split_shares=(0, 0))
    ingest(first, DAY_1, row("a", 1), row("b", 2, split="test"), row("c", 3))
    later = shop(tmp_path, split_shares=(1, 0))
    (tmp_path / "photos" / "copy-a.jpg").write_bytes(encoded(scene(1), quality=50))
    ingest(
        later,
        DAY_2,
        row("a", 4, updated_at="2026-11-21"),
        row("b", 2),
        row("view-b", 5, product_id="b"),
        row("copy-c", 3),
        row("new", 6),
    )
    assert {name: item["split"] for name, item in items(later, DAY_2).items()} == {
        "a": "train",
        "b": "test",
        "c": "train",
        "copy-c": "train",
        "new": "val",
        "view-b": "test",
    }


def test_a_newcomer_that_joins_two_splits_takes_training_items_out(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    ingest(settings, DAY_1, row("a", 1, split="train"), row("b", 2, split="test"))
    report = ingest(settings, DAY_2, row("c", 1, product_id="b"))
    assert {name: item["split"] for name, item in items(settings, DAY_2).items()} == {
        "a": "none",
        "b": "test",
        "c": "test",
    }
    assert report.details["straddling"] == 1
    ingest(settings, DAY_3, row("b", deleted=True), row("c", deleted=True), row("d", 1))
    assert {name: item["split"] for name, item in items(settings, DAY_3).items()} == {
        "a": "none",
        "d": items(settings, DAY_3)["d"]["split"],
    }


def test_a_failed_day_leaves_the_old_state(tmp_path: Path) -> None:
    settings = shop(tmp_path, max_bad_share=0.4)
    ingest(settings, DAY_1, row("a", 1))
    ingest(settings, DAY_2, row("b", 2))
    before = Partition(settings, "ingest", DAY_2).report()
    with pytest.raises(BadInput, match="1 of 2 rows are bad"):
        ingest(settings, DAY_2, row("b", 2), row("gone"))
    assert Partition(settings, "ingest", DAY_2).report() == before
    assert list(items(settings, DAY_2)) == ["a", "b"]
    assert list((tmp_path / "staging").iterdir()) == []


def test_days_may_be_missing_and_a_past_day_can_be_done_again(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    ingest(settings, DAY_1, row("a", 1))
    first = ingest(settings, DAY_3, row("b", 2))
    assert list(items(settings, DAY_3)) == ["a", "b"]
    ingest(settings, DAY_1, row("z", 3))
    again = run(settings, DAY_3)
    assert list(items(settings, DAY_3)) == ["b", "z"]
    assert first.fingerprint != again.fingerprint


def test_a_feed_of_nothing_but_deletions(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    ingest(settings, DAY_1, row("a", 1), row("b", 2))
    report = ingest(settings, DAY_2, row("a", deleted=True))
    assert counts(report) == {"unchanged": 1, "deleted": 1}


def test_deleting_everything_is_bad_input(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    ingest(settings, DAY_1, row("a", 1))
    with pytest.raises(BadInput, match="No item is left for 2026-11-21"):
        ingest(settings, DAY_2, row("a", deleted=True))
    assert list(items(settings, DAY_1)) == ["a"]


def test_two_rows_of_one_photo_with_two_boxes_are_two_pictures(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "room.jpg").write_bytes(photo(1))
    room = "photos/room.jpg"
    ingest(
        settings,
        DAY_1,
        row("lamp", image=room, box=[0, 0, 9, 9]),
        row("sofa", image=room, box=[9, 9, 9, 9]),
    )
    lamp, sofa = items(settings, DAY_1).values()
    assert (lamp["image_digest"], lamp["group"]) == (sofa["image_digest"], sofa["group"])
    assert lamp["pixel_key"] != sofa["pixel_key"]


def test_a_row_without_a_time_may_have_another_photo(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    ingest(settings, DAY_1, row("a", 1))
    before = items(settings, DAY_1)["a"]["image_digest"]
    assert counts(ingest(settings, DAY_2, row("a", 2))) == {"changed": 1}
    assert items(settings, DAY_2)["a"]["image_digest"] != before


def test_a_feed_that_was_left_out_is_not_lost(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    ingest(settings, DAY_1, row("a", 1))
    give(settings, DAY_2, [row("b", 2)])
    give(settings, DAY_3, [row("c", 3)])
    with pytest.raises(BadInput, match=f"The feed of {DAY_2} was imported and never ingested"):
        run(settings, DAY_3)
    run(settings, DAY_2)
    run(settings, DAY_3)
    assert list(items(settings, DAY_3)) == ["a", "b", "c"]


def test_configured_feeds_are_caught_up_and_may_be_late(tmp_path: Path) -> None:
    settings = shop(tmp_path, feed=f"{tmp_path}/{{ds}}.csv")
    give(settings, DAY_3, [row("x", 1), row("y", 2), row("z", 3)])  # writes the photos
    for day, name in ((DAY_1, "x"), (DAY_2, "y"), (DAY_3, "z")):
        with pytest.raises(FileNotFoundError, match=f"The feed of {day} is not there yet"):
            run(settings, day)
        table = tmp_path / f"{day}.csv"
        table.write_text(f"item_id,image,category\n{name},photos/{name}.jpg,Home\n")
        if day != DAY_2:
            run(settings, day)
    assert list(items(settings, DAY_3)) == ["x", "y", "z"]
