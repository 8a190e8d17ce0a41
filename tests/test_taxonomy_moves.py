"""What becomes of a shop's items when its categories are renamed, merged, split or retired."""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest
from tiny_feed import DAY_1, DAY_2, DAY_3, Row, give, output, row, shop

from model.errors import BadInput
from model.taxonomy import Taxonomy
from pipelines.ingest import run
from pipelines.settings import Settings
from pipelines.step import Partition, Report, file_digests

CATEGORIES = ["Caps", "Cups", "Mugs", "Posters", "Vases"]
MOVES = "former,now\nCaps,Hats\nCups,Crockery\nMugs,Crockery\nVases,Tall\nVases,Low\nPosters,\n"
MOVED = {
    "Caps": ("Hats",),
    "Cups": ("Crockery",),
    "Mugs": ("Crockery",),
    "Posters": (),
    "Vases": ("Tall", "Low"),
}


def ingest(settings: Settings, ds: date, *rows: Row) -> Report:
    give(settings, ds, list(rows))
    return run(settings, ds)


def first_day(root: Path, **given: object) -> Settings:
    """An item of each category, `item_id` after it; returns settings with what moves on DAY_2."""
    rows = [row(path.lower(), n, category=path) for n, path in enumerate(CATEGORIES)]
    ingest(shop(root, split_shares=(0, 0), **given), DAY_1, *rows)
    (root / "moved.csv").write_text(MOVES)
    return shop(root, split_shares=(0, 0), moved=root / "moved.csv", **given)


def column(settings: Settings, ds: date, name: str) -> dict[str, object]:
    return {item["item_id"]: item[name] for item in output(settings, "ingest", ds, "items.parquet")}


def taxonomy(settings: Settings, ds: date) -> Taxonomy:
    path = Partition(settings, "ingest", ds).output / "taxonomy.json"
    return Taxonomy.from_json(path.read_bytes())


def counts(report: Report) -> Mapping[str, int]:
    names = ("new", "changed", "deleted", "quarantined", "straddling", "renamed", "split_up")
    return {name: report.details[name] for name in (*names, "retired", "leaves")}


def test_items_follow_their_category(tmp_path: Path) -> None:
    settings = first_day(tmp_path)
    report = ingest(settings, DAY_2, row("new", 9, category="Beds"))
    assert column(settings, DAY_2, "category") == {
        "caps": "Hats",
        "cups": "Crockery",
        "mugs": "Crockery",
        "new": "Beds",
        "vases": "Vases",
    }
    leaves = ("Hats", "Cups", "Mugs", "Posters", "Vases", "Beds", "Crockery")
    assert taxonomy(settings, DAY_2) == Taxonomy(leaves, MOVED)
    assert column(settings, DAY_2, "leaf") == {
        "caps": 0, "cups": 6, "mugs": 6, "new": 5, "vases": 4,
    }  # fmt: skip
    assert column(settings, DAY_2, "split") == {
        "caps": "train", "cups": "train", "mugs": "train", "new": "train", "vases": "none",
    }  # fmt: skip
    assert output(settings, "ingest", DAY_2, "quarantine.parquet") == [
        {
            "item_id": "posters",
            "image": "photos/posters.jpg",
            "reason": "retired_category",
            "detail": "category: 'Posters' was retired (ingest.moved)",
        }
    ]
    assert counts(report) == {
        "new": 1, "changed": 0, "deleted": 0, "quarantined": 0, "straddling": 0,
        "renamed": 3, "split_up": 1, "retired": 1, "leaves": 3,
    }  # fmt: skip


def test_rows_that_still_use_a_former_path(tmp_path: Path) -> None:
    settings = first_day(tmp_path)
    rows = [row(f"new-{path.lower()}", n, category=path) for n, path in enumerate(CATEGORIES, 10)]
    report = ingest(settings, DAY_2, *rows, row("tall", 20, category="Tall"))
    new = {
        name: path
        for name, path in column(settings, DAY_2, "category").items()
        if name.startswith(("new", "tall"))
    }
    assert new == {
        "new-caps": "Hats",
        "new-cups": "Crockery",
        "new-mugs": "Crockery",
        "new-vases": "Vases",
        "tall": "Tall",
    }
    split = column(settings, DAY_2, "split")
    assert (split["new-vases"], split["tall"]) == ("none", "train")
    assert (report.details["retired"], report.details["quarantined"]) == (2, 0)


def test_an_item_whose_feed_row_is_of_a_retired_category_leaves(tmp_path: Path) -> None:
    settings = first_day(tmp_path, snapshot=True)
    report = ingest(
        settings, DAY_2, row("caps", category="Posters"), row("posters", category="Caps")
    )
    assert column(settings, DAY_2, "category") == {"posters": "Hats"}
    assert (report.details["retired"], report.details["deleted"]) == (1, 3)


def test_a_split_category_is_learned_from_once_the_feed_says_which_part(tmp_path: Path) -> None:
    settings = first_day(tmp_path)
    ingest(settings, DAY_2, row("new", 9, category="Vases", split="test"))
    assert column(settings, DAY_2, "split") == {
        "caps": "train", "cups": "train", "mugs": "train", "new": "none", "vases": "none",
    }  # fmt: skip
    report = ingest(settings, DAY_3, row("vases", category="Low"))
    assert column(settings, DAY_3, "category")["vases"] == "Low"
    assert column(settings, DAY_3, "split")["vases"] == "train"
    assert column(settings, DAY_3, "split")["new"] == "none"
    assert report.details["split_up"] == 1


def test_moves_are_remembered_without_their_file(tmp_path: Path) -> None:
    settings = first_day(tmp_path)
    ingest(settings, DAY_2, row("new", 9, category="Beds"))
    without = shop(tmp_path, split_shares=(0, 0))
    report = ingest(
        without, DAY_3, row("late", 10, category="Mugs"), row("poster", 11, category="Posters")
    )
    assert column(without, DAY_3, "category")["late"] == "Crockery"
    assert taxonomy(without, DAY_3) == taxonomy(settings, DAY_2)
    assert (report.details["retired"], report.details["renamed"]) == (1, 1)
    with_file = ingest(settings, DAY_3, row("late", 10, category="Mugs"))
    assert column(settings, DAY_3, "category")["late"] == "Crockery"
    assert with_file.fingerprint != report.fingerprint


def test_moves_of_several_days_add_up(tmp_path: Path) -> None:
    settings = first_day(tmp_path)
    ingest(settings, DAY_2, row("new", 9, category="Tall"))
    (tmp_path / "moved.csv").write_text("former,now\nHats,Headwear\nLow,Tall\nPosters,Posters\n")
    ingest(settings, DAY_3, row("low", 10, category="Low"), row("poster", 11, category="Posters"))
    assert column(settings, DAY_3, "category") == {
        "caps": "Headwear",
        "cups": "Crockery",
        "low": "Tall",
        "mugs": "Crockery",
        "new": "Tall",
        "poster": "Posters",
        "vases": "Tall",  # both parts are one again, so the shop need not say which
    }
    assert set(column(settings, DAY_3, "split").values()) == {"train"}
    assert taxonomy(settings, DAY_3).leaves == (
        "Headwear", "Cups", "Mugs", "Posters", "Vases", "Crockery", "Tall",
    )  # fmt: skip


def test_a_renamed_category_in_a_taxonomy_file(tmp_path: Path) -> None:
    tree = tmp_path / "tree.csv"
    tree.write_text("category,parent\n" + "".join(f"{path},\n" for path in CATEGORIES))
    settings = first_day(tmp_path, taxonomy=tree)
    with pytest.raises(BadInput, match="moves 'Caps' to 'Hats'. .*Correct the row, or add"):
        ingest(settings, DAY_2, row("a", 9, category="Caps"))
    now = ["Hats", "Crockery", "Tall", "Low"]
    tree.write_text("category,parent\n" + "".join(f"{path},\n" for path in now))
    report = ingest(
        settings,
        DAY_2,
        row("a", 9, category="Caps"),
        row("b", 10, category="Vases"),
        row("c", 11, category="Beds"),
    )
    assert report.details["reasons"] == {"unknown_category": 1}
    found = column(settings, DAY_2, "category")
    assert (found["a"], found["b"]) == ("Hats", "Vases")


def test_the_same_inputs_have_the_same_digest(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        settings = first_day(tmp_path / name)
        ingest(settings, DAY_2, row("new", 9, category="Beds"))
        digests.append(file_digests(Partition(settings, "ingest", DAY_2).output))
    assert digests[0] == digests[1]


def test_another_file_of_moves_runs_the_step_again(tmp_path: Path) -> None:
    settings = first_day(tmp_path)
    first = ingest(settings, DAY_2, row("new", 9, category="Beds"))
    assert run(settings, DAY_2).reused
    (tmp_path / "moved.csv").write_text("former,now\nCaps,Hats\n")
    again = run(settings, DAY_2)
    assert again.fingerprint != first.fingerprint
    assert taxonomy(settings, DAY_2).moved == {"Caps": ("Hats",)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Caps,Cups\nCups,Caps\n", "go in a circle"),
        ("Kaps,Hats\n", "'Kaps' cannot move"),
        ("Caps,\nCaps,Hats\n", "both retires 'Caps' and moves it"),
    ],
)
def test_a_broken_file_leaves_the_old_state(tmp_path: Path, text: str, message: str) -> None:
    settings = first_day(tmp_path)
    (tmp_path / "moved.csv").write_text(f"former,now\n{text}")
    with pytest.raises(BadInput, match=message):
        ingest(settings, DAY_2, row("new", 9))
    assert Partition(settings, "ingest", DAY_2).report() is None


def test_retiring_everything_is_bad_input(tmp_path: Path) -> None:
    settings = first_day(tmp_path)
    (tmp_path / "moved.csv").write_text("former,now\n" + "".join(f"{p},\n" for p in CATEGORIES))
    with pytest.raises(BadInput, match="No item is left"):
        ingest(settings, DAY_2, row("caps", category="Caps"))


def test_a_catalogue_of_a_day_before_there_were_moves_is_read(tmp_path: Path) -> None:
    settings = first_day(tmp_path)
    path = Partition(settings, "ingest", DAY_1).output / "taxonomy.json"
    path.write_text(json.dumps({"leaves": CATEGORIES}))
    ingest(settings, DAY_2, row("new", 9, category="Beds"))
    assert taxonomy(settings, DAY_2).moved == MOVED
