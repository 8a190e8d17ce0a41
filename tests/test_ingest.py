"""The day's catalogue: what a first day makes of a feed, and what it refuses."""

import hashlib
import json
import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tiny_feed import DAY_1, Row, encoded, give, output, photo, row, scene, shop

from model.errors import BadInput
from model.pixels import MAX_IMAGE_BYTES
from pipelines.duplicates import perceptual_hash
from pipelines.ingest import ITEMS, run
from pipelines.settings import Settings
from pipelines.step import Partition, Report
from serving.bundle import CATEGORIES


def items(settings: Settings) -> list[Row]:
    return output(settings, "ingest", DAY_1, "items.parquet")


def quarantine(settings: Settings) -> list[tuple[str, str]]:
    rows = output(settings, "ingest", DAY_1, "quarantine.parquet")
    return [(bad["item_id"], bad["reason"]) for bad in rows]


def leaves(settings: Settings) -> list[str]:
    path = Partition(settings, "ingest", DAY_1).output / "taxonomy.json"
    return list(json.loads(path.read_bytes())["leaves"])


def ingest(settings: Settings, *rows: Row) -> Report:
    give(settings, DAY_1, list(rows))
    return run(settings, DAY_1)


def test_one_item_with_every_column(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    facts = {
        "product_id": "p",
        "title": "Lamp",
        "brand": "Lux",
        "attributes": {"colour": "red"},
        "price": 9.5,
        "currency": "EUR",
        "in_stock": False,
        "updated_at": "2026-11-20T02:00:00Z",
        "kind": "wild",
        "split": "val",
        "box": [1, 2, 30, 40],
    }
    report = ingest(settings, row("a", 1, **facts))
    digest = hashlib.sha256(photo(1)).hexdigest()
    look = perceptual_hash(photo(1))
    assert look is not None
    assert items(settings) == [
        {
            "item_id": "a",
            "image": "photos/a.jpg",
            "category": "Home > Lamps",
            "leaf": 0,
            **facts,
            "attributes": [("colour", "red")],
            "updated_at": datetime(2026, 11, 20, 2, tzinfo=UTC),
            "image_digest": digest,
            "pixel_key": hashlib.sha256(f"{digest} [1, 2, 30, 40]".encode()).hexdigest(),
            "group": int.from_bytes(hashlib.sha256(b"a").digest()[:8]) >> 1,
            "first_seen": "2026-11-20",
            "changed": "2026-11-20",
            "phash": look.phash,
            "signature": look.signature,
        }
    ]
    folder = Partition(settings, "ingest", DAY_1).output
    assert pq.read_schema(folder / "items.parquet") == ITEMS
    assert sorted(path.name for path in folder.iterdir()) == [
        "items.parquet",
        "quarantine.parquet",
        "taxonomy.json",
    ]
    assert (report.step, report.rows, report.details) == (
        "ingest",
        1,
        {
            "new": 1,
            "changed": 0,
            "unchanged": 0,
            "deleted": 0,
            "quarantined": 0,
            "reasons": {},
            "leaves": 1,
            "new_leaves": 1,
            "straddling": 0,
            "live_sequence": 0,
        },
    )


def test_leaves_are_sorted_and_items_are_in_the_order_of_their_ids(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    paths = {"e": "Home", "c": "Home > Lamps", "a": "Toys", "d": "Food > Figs", "b": "Home"}
    ingest(settings, *(row(n, i, category=path) for i, (n, path) in enumerate(paths.items())))
    assert leaves(settings) == ["Food > Figs", "Home", "Home > Lamps", "Toys"]
    assert [(it["item_id"], it["leaf"]) for it in items(settings)] == [
        ("a", 3),
        ("b", 1),
        ("c", 2),
        ("d", 0),
        ("e", 1),
    ]


def test_without_a_box_the_pixel_key_is_the_image_digest(tmp_path: Path) -> None:
    ingest(shop(tmp_path), row("a", 1))
    (item,) = items(shop(tmp_path))
    assert item["pixel_key"] == item["image_digest"]


def test_bytes_that_are_no_image_are_left_to_preprocess(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"words")
    ingest(shop(tmp_path), row("a"))
    (item,) = items(shop(tmp_path))
    assert (item["phash"], item["signature"]) == (None, None)
    assert item["image_digest"] == hashlib.sha256(b"words").hexdigest()


def test_bad_images_go_to_quarantine(tmp_path: Path) -> None:
    settings = shop(tmp_path, max_bad_share=0.9)
    folder = tmp_path / "photos"
    (folder / "folder.jpg").mkdir(parents=True)
    (folder / "empty.jpg").touch()
    with (folder / "large.jpg").open("wb") as file:
        file.truncate(MAX_IMAGE_BYTES + 1)
    names = ["gone", "empty", "large", "folder"]
    report = ingest(settings, row("good", 1), *map(row, names))
    assert [item["item_id"] for item in items(settings)] == ["good"]
    assert quarantine(settings) == [
        ("empty", "image_empty"),
        ("folder", "image_unreadable"),
        ("gone", "image_missing"),
        ("large", "image_too_large"),
    ]
    assert report.details["quarantined"] == 4
    assert report.details["reasons"] == {
        "image_empty": 1,
        "image_missing": 1,
        "image_too_large": 1,
        "image_unreadable": 1,
    }
    assert output(settings, "ingest", DAY_1, "quarantine.parquet")[2] == {
        "item_id": "gone",
        "image": "photos/gone.jpg",
        "reason": "image_missing",
        "detail": "Expected a photo at photos/gone.jpg. There is no file.",
    }


def test_rows_that_the_import_refused_are_not_counted_again(tmp_path: Path) -> None:
    rows = [row("a", 1), row("a", 2), row("b", price="x")]
    with pytest.raises(BadInput, match="2 of 3 rows of the feed are refused"):
        give(shop(tmp_path, max_bad_share=0), DAY_1, rows)
    give(shop(tmp_path, max_bad_share=0.7), DAY_1, rows)
    report = run(shop(tmp_path, max_bad_share=0), DAY_1)
    assert (report.rows, report.details["quarantined"]) == (1, 0)


def test_a_category_outside_the_taxonomy_file_is_quarantined(tmp_path: Path) -> None:
    tree = tmp_path / "tree.csv"
    tree.write_text("category,parent\nLamps,Home\nHome,\nFigs,Food\n")
    settings = shop(tmp_path, taxonomy=tree)
    ingest(
        settings,
        row("a", 1, category="Home>Lamps"),
        row("b", 2, category="Lamps"),
        row("c", 3, category="Home"),
    )
    assert quarantine(settings) == [("b", "unknown_category")]
    assert leaves(settings) == ["Home", "Home > Lamps"]
    fixed = Partition(settings, "ingest", DAY_1).output / CATEGORIES
    assert json.loads(fixed.read_bytes()) == ["Food > Figs", "Home", "Home > Lamps"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("category,parent\nA,B\nB,A\n", "taxonomy has a cycle.*A -> B -> A"),
        ("category,parent\nA,B\nA,C\n", "gives 'A' two parents.*'B' and 'C'"),
        ("name,parent\nA,B\n", "lacks a column.*category and parent.*name, parent"),
        (None, "There is no table at"),
    ],
)
def test_a_broken_taxonomy_file_stops_the_run(
    tmp_path: Path, table: str | None, message: str
) -> None:
    tree = tmp_path / "tree.csv"
    if table is not None:
        tree.write_text(table)
    with pytest.raises(BadInput, match=message):
        ingest(shop(tmp_path, taxonomy=tree), row("a", 1))


def test_another_taxonomy_file_runs_the_step_again(tmp_path: Path) -> None:
    tree = tmp_path / "tree.csv"
    tree.write_text("category,parent\nHome,\nLamps,Home\n")
    settings = shop(tmp_path, taxonomy=tree)
    ingest(settings, row("a", 1), row("b", 2, category="Toys"))
    assert quarantine(settings) == [("b", "unknown_category")]
    tree.write_text("category,parent\nHome,\nLamps,Home\nToys,\n")
    assert run(settings, DAY_1).details["quarantined"] == 0


def test_too_many_bad_rows_fail_and_commit_nothing(tmp_path: Path) -> None:
    settings = shop(tmp_path, max_bad_share=0.01)
    rows = [row(f"i{n:03}", n) for n in range(99)]
    give(settings, DAY_1, [*rows, row("x"), row("y")])
    with pytest.raises(BadInput, match=r"2 of 101 rows are bad: {'image_missing': 2}.*1.00%"):
        run(settings, DAY_1)
    assert Partition(settings, "ingest", DAY_1).report() is None
    assert ingest(settings, *rows, row("x")).rows == 99


def test_a_storage_that_fails_is_worth_another_try(tmp_path: Path) -> None:
    (tmp_path / "photos" / "b.jpg").mkdir(parents=True)
    with pytest.raises(OSError, match="1 of 2 rows are bad: {'image_unreadable': 1}"):
        ingest(shop(tmp_path, max_bad_share=0.1), row("a", 1), row("b"))


def test_a_day_without_an_item_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No item is left for 2026-11-20.*1 rows, 1 of them deleted"):
        ingest(shop(tmp_path), row("a", deleted=True))
    with pytest.raises(BadInput, match="No item is left"):
        ingest(shop(tmp_path, max_bad_share=1), row("a"))


def test_a_day_without_a_feed_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no feed for 2026-11-20.*lookalike import SOURCE --ds"):
        run(shop(tmp_path), DAY_1)


def test_a_configured_feed_is_imported_first(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(photo(1))
    (tmp_path / "2026-11-20.csv").write_text("item_id,image,category\na,a.jpg,Home\n")
    settings = shop(tmp_path, feed=f"{tmp_path}/{{ds}}.csv")
    assert run(settings, DAY_1).rows == 1
    assert Partition(settings, "feed", DAY_1).done().rows == 1


def test_the_order_of_the_feed_does_not_show(tmp_path: Path) -> None:
    rows = [row(f"i{n:02}", n % 17, product_id=f"p{n // 2}") for n in range(30)]
    rows += [row("gone"), row("lost")]
    first = ingest(shop(tmp_path), *rows)
    random.Random(0).shuffle(rows)
    second = ingest(shop(tmp_path), *rows)
    assert first.inputs != second.inputs
    assert (first.digest, first.details) == (second.digest, second.details)
    assert (first.reused, second.reused) == (False, False)


def test_the_same_feed_is_not_worked_on_twice(tmp_path: Path) -> None:
    first = ingest(shop(tmp_path), row("a", 1))
    again = ingest(shop(tmp_path), row("a", 1))
    assert (again.reused, again.digest) == (True, first.digest)


def test_look_alikes_share_a_group_and_a_split(tmp_path: Path) -> None:
    settings = shop(tmp_path, split_shares=(0.5, 0.5))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "copy.jpg").write_bytes(encoded(scene(1), quality=50))
    (tmp_path / "photos" / "same.jpg").write_bytes(photo(2))
    report = ingest(
        settings,
        row("copy"),
        row("original", 1),
        row("other", 2),
        row("same"),
        row("view-1", 3, product_id="p"),
        row("view-2", 4, product_id="p", kind="wild"),
        row("alone", 5),
    )
    found = {item["item_id"]: (item["group"], item["split"]) for item in items(settings)}
    assert found["copy"] == found["original"]
    assert found["other"] == found["same"]
    assert found["view-1"] == found["view-2"]
    assert len({group for group, _ in found.values()}) == 4
    assert {split for _, split in found.values()} <= {"val", "test"}
    assert report.details["straddling"] == 0


def test_given_splits_stay_and_a_clash_in_a_group_is_taken_out(tmp_path: Path) -> None:
    report = ingest(
        shop(tmp_path),
        row("a", 1, split="train"),
        row("b", 1, split="test"),
        row("c", 1),
        row("d", 2, split="train"),
    )
    assert [item["split"] for item in items(shop(tmp_path))] == ["none", "test", "test", "train"]
    assert report.details["straddling"] == 1


def test_the_command_prints_the_report_and_loads_nothing_heavy(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    give(settings, DAY_1, [row("a", 1)])
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.ingest", "--ds", "2026-11-20"],
        capture_output=True,
        text=True,
        check=True,
        env={"LOOKALIKE_ROOT": str(tmp_path)},
    )
    assert json.loads(done.stdout.splitlines()[-1])["details"]["new"] == 1
    code = (
        "import sys, pipelines.ingest; "
        "print({'tensorflow', 'apache_beam', 'keras'} & set(sys.modules))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout == "set()\n"
