"""A shop's own data becomes one day's feed: trees of photos and tables."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from tiny_feed import DAY_1, DAY_2, output, photo, shop

from model.errors import BadInput
from pipelines.feed import FEED
from pipelines.importers import import_feed
from pipelines.step import Partition, Report


def touch(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(photo(seed))
    os.utime(path, (1_800_000_000, 1_800_000_000))
    return path


def brief(report: Report) -> tuple[object, ...]:
    return report.details["taken"], report.details["refused"], report.details["reasons"]


def columns(root: Path, *names: str) -> list[tuple[object, ...]]:
    rows = output(shop(root), "feed", DAY_1, "feed.parquet")
    return [tuple(given[name] for name in names) for given in rows]


def test_the_folders_of_a_tree_are_the_category(tmp_path: Path) -> None:
    tree = tmp_path / "shop" / "photos"
    touch(tree / "Home" / "Lamps" / "tall_red-lamp.JPG")
    report = import_feed(shop(tmp_path / "shop"), DAY_1, tree)
    assert output(shop(tmp_path / "shop"), "feed", DAY_1, "feed.parquet") == [
        {
            **dict.fromkeys(FEED.names),
            "item_id": "Home~Lamps~tall_red-lamp",
            "product_id": "Home~Lamps~tall_red-lamp",
            "image": "photos/Home/Lamps/tall_red-lamp.JPG",
            "category": "Home > Lamps",
            "title": "tall red lamp",
            "in_stock": True,
            "updated_at": datetime.fromtimestamp(1_800_000_000, UTC),
            "deleted": False,
            "kind": "catalogue",
        }
    ]
    assert (report.step, report.rows, report.details) == (
        "feed",
        1,
        {"taken": 1, "refused": 0, "reasons": {}, "ignored_columns": []},
    )


def test_what_a_tree_holds_beside_photos_is_refused_or_ignored(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    touch(tree / "Home" / "a.jpg")
    touch(tree / "top.jpg")
    touch(tree / "Home" / "notes.txt")
    touch(tree / "Home" / "Lamps" / "home" / "b.png")
    touch(tree / "Home" / ".hidden.jpg")
    touch(tree / ".thumbnails" / "a.jpg")
    report = import_feed(shop(tmp_path), DAY_1, tree)
    assert brief(report) == (1, 3, {"bad_suffix": 1, "cyclic_category": 1, "missing_category": 1})
    assert output(shop(tmp_path), "feed", DAY_1, "refused.parquet") == [
        {
            "row": 1,
            "item_id": "Home~Lamps~home~b",
            "reason": "cyclic_category",
            "detail": "category: expected each name once in a path; received 'Home > Lamps > home'",
        },
        {
            "row": 3,
            "item_id": "Home~notes",
            "reason": "bad_suffix",
            "detail": "expected a photo: .jpg, .jpeg, .png, .webp or .gif; "
            "received 'Home/notes.txt'",
        },
        {
            "row": 4,
            "item_id": "top",
            "reason": "missing_category",
            "detail": "category: expected a path as `Top > Middle > Leaf`; received nothing",
        },
    ]


def test_ids_of_a_tree_are_safe_in_a_url_and_unique(tmp_path: Path) -> None:
    names = ["a/b-c.jpg", "a-b/c.jpg", "a/b c.jpg", "a/b_c.jpg", "a/b c.png", "a/b-c.png"]
    names += ["帽子/赤.jpg", "帽子/青.jpg", f"deep/{'x' * 240}/{'y' * 60}.jpg"]
    for name in names:
        touch(tmp_path / "tree" / name)
    import_feed(shop(tmp_path), DAY_1, tmp_path / "tree")
    ids = {str(image): name for image, name in columns(tmp_path, "image", "item_id")}
    assert ids["tree/a/b-c.jpg"] == "a~b-c"
    assert ids["tree/a-b/c.jpg"] == "a-b~c"
    assert len(set(ids.values())) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9._~-]+", str(name)) for name in ids.values())
    assert max(len(str(name)) for name in ids.values()) <= 256


def test_an_id_does_not_depend_on_the_other_files(tmp_path: Path) -> None:
    touch(tmp_path / "tree" / "hats" / "red hat.jpg")
    import_feed(shop(tmp_path), DAY_1, tmp_path / "tree")
    before = columns(tmp_path, "item_id")
    touch(tmp_path / "tree" / "hats" / "red-hat.jpg")
    import_feed(shop(tmp_path), DAY_1, tmp_path / "tree")
    assert set(before) < set(columns(tmp_path, "item_id"))


def test_a_link_that_leads_nowhere_does_not_stop_the_import(tmp_path: Path) -> None:
    touch(tmp_path / "tree" / "hats" / "a.jpg")
    (tmp_path / "tree" / "hats" / "b.jpg").symlink_to(tmp_path / "gone.jpg")
    assert import_feed(shop(tmp_path), DAY_1, tmp_path / "tree").rows == 2


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_images_of_a_table_are_relative_to_its_folder(tmp_path: Path, suffix: str) -> None:
    root = tmp_path / "shop"
    (root / "in").mkdir(parents=True)
    images = ["a.jpg", "../b.jpg", f"{root}/c.jpg", "../../d.jpg", "s3://bucket/e.jpg"]
    frame = pd.DataFrame({"item_id": list("abcde"), "image": images})
    frame["category"] = "Home"
    path = root / "in" / f"feed.{suffix}"
    if suffix == "csv":
        frame.to_csv(path, index=False)
    elif suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    import_feed(shop(root), DAY_1, path)
    assert columns(root, "image") == [
        ("in/a.jpg",),
        ("b.jpg",),
        ("c.jpg",),
        (f"{tmp_path}/d.jpg",),
        ("s3://bucket/e.jpg",),
    ]


def test_columns_that_nothing_reads_are_named(tmp_path: Path) -> None:
    (tmp_path / "feed.csv").write_text("item_id,image,category,prize\na,a.jpg,Home,3\n")
    report = import_feed(shop(tmp_path), DAY_1, tmp_path / "feed.csv")
    assert report.details["ignored_columns"] == ["prize"]


def test_a_second_import_of_a_day_replaces_the_first(tmp_path: Path) -> None:
    table = tmp_path / "feed.csv"
    table.write_text("item_id,image,category\na,a.jpg,Home\n")
    first = import_feed(shop(tmp_path), DAY_1, table)
    again = import_feed(shop(tmp_path), DAY_1, table)
    table.write_text("item_id,image,category\nb,b.jpg,Home\n")
    second = import_feed(shop(tmp_path), DAY_1, table)
    import_feed(shop(tmp_path), DAY_2, table)
    assert (first.reused, again.reused, second.reused) == (False, True, False)
    assert columns(tmp_path, "item_id") == [("b",)]
    folder = Partition(shop(tmp_path), "feed", DAY_1).folder
    assert sorted(path.name for path in folder.iterdir()) == [second.fingerprint, "report.json"]


def test_a_changed_photo_changes_the_feed_of_a_tree(tmp_path: Path) -> None:
    path = touch(tmp_path / "tree" / "Home" / "a.jpg")
    first = import_feed(shop(tmp_path), DAY_1, tmp_path / "tree")
    os.utime(path, (1_800_000_001, 1_800_000_001))
    second = import_feed(shop(tmp_path), DAY_1, tmp_path / "tree")
    assert first.fingerprint != second.fingerprint
    assert columns(tmp_path, "updated_at") == [(datetime.fromtimestamp(1_800_000_001, UTC),)]


def test_an_empty_source_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "feed.csv").write_text("item_id,image,category\n")
    for name in ("tree", "feed.csv"):
        with pytest.raises(BadInput, match="no rows. Expected at least one item"):
            import_feed(shop(tmp_path), DAY_1, tmp_path / name)
    with pytest.raises(BadInput, match="There is nothing at"):
        import_feed(shop(tmp_path), DAY_1, tmp_path / "gone")
    assert Partition(shop(tmp_path), "feed", DAY_1).report() is None


def test_a_source_without_a_good_row_is_bad_input(tmp_path: Path) -> None:
    touch(tmp_path / "tree" / "top.jpg")
    touch(tmp_path / "tree" / "Home" / "notes.txt")
    message = "All 2 rows.*'bad_suffix': 1, 'missing_category': 1.*Home/notes.txt.*Correct"
    with pytest.raises(BadInput, match=message):
        import_feed(shop(tmp_path), DAY_1, tmp_path / "tree")


def test_a_bad_import_leaves_the_former_one(tmp_path: Path) -> None:
    table = tmp_path / "feed.csv"
    table.write_text("item_id,image,category\na,a.jpg,Home\n")
    import_feed(shop(tmp_path), DAY_1, table)
    table.write_text("item_id,image\nb,b.jpg\n")
    with pytest.raises(BadInput, match="required column category"):
        import_feed(shop(tmp_path), DAY_1, table)
    assert columns(tmp_path, "item_id") == [("a",)]
