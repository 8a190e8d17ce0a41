"""The Grocery Store data set as a shop's feed: real photos, taken by shoppers with a phone.

    table = write_feed(photos, folder / "grocery.parquet")

The wild photos keep the official split. The shop's own catalogue has one item a product: its
studio photo, which the data set keeps outside of the split, so training may see it.
"""

import csv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

SPLITS = ("train", "val", "test")


def write_feed(store: Path, table: Path) -> Path:
    """A row a photo, with its full path."""
    with (store / "classes.csv").open() as file:
        iconic = [row["Iconic Image Path (str)"].lstrip("/") for row in csv.DictReader(file)]
    rows = [_catalogue_row(store, path) for path in iconic]
    for split in SPLITS:
        for path, label in official(store, split):
            rows.append(_wild_row(store, path, _category(iconic[label]), split))
    pq.write_table(pa.Table.from_pylist(rows), table)
    return table


def official(store: Path, split: str) -> Iterator[tuple[str, int]]:
    """Photos, as `test/Fruit/Apple/Golden-Delicious/Golden-Delicious_001.jpg`, and their class."""
    for line in (store / f"{split}.txt").read_text().splitlines():
        path, label, _ = line.split(", ")
        yield path, int(label)


def _catalogue_row(store: Path, path: str) -> dict[str, str]:
    name = PurePosixPath(path).parent.name
    return {
        "item_id": name,
        "product_id": name,
        "image": str(store / path),
        "category": _category(path),
        "title": name.replace("-", " "),
        "kind": "catalogue",
        "split": "train",
    }


def _wild_row(store: Path, path: str, category: str, split: str) -> dict[str, str]:
    item_id = path.removesuffix(".jpg").replace("/", "~")
    return {
        "item_id": item_id,
        "product_id": item_id,  # one product for a leaf would join all its splits
        "image": str(store / path),
        "category": category,
        "title": PurePosixPath(path).stem,
        "kind": "wild",
        "split": split,
    }


def _category(iconic: str) -> str:
    """Of the class, not of the photo: `Brown-Cap-Mushroom` lies in other folders in `train`."""
    return " > ".join(PurePosixPath(iconic).parts[1:-1])
