"""Shops that are too small, too plain or too alike: the day ends with a server that answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_feed
from tiny_feed import Row
from tiny_shop import DAY_1, run_steps

from model.errors import BadInput
from pipelines.settings import Ingest, Preprocess, Reduce, Settings, Train
from pipelines.step import Partition
from serving.bundle import verify
from serving.champion import self_test
from serving.engine import Engine
from serving.ledger import champion

# Keras, of the network of a shop with one leaf.
pytestmark = pytest.mark.filterwarnings("ignore:You are using a softmax over axis -1:UserWarning")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        root=tmp_path / "root",
        ingest=Ingest(max_bad_share=1),
        preprocess=Preprocess(pixel_spec="decode|orient|resize(16)|pad"),
        train=Train(width=4, blocks=(1,), epochs=1, projection=1.0),
        reduce=Reduce(dimensions=4),
    )


def rows(count: int, **given: Any) -> list[Row]:
    """Items that look nothing alike, of two leaves in turn and products of their own."""
    leaves = ("Home > Lamps", "Home > Vases")
    return [
        tiny_feed.row(
            f"item{number}", number, **{"category": leaves[number % 2], "split": "train", **given}
        )
        for number in range(count)
    ]


def identical(count: int) -> list[Row]:
    return [{**row, "seed": 0} for row in rows(count)]


def served(settings: Settings) -> Engine:
    now = champion(settings.root)
    assert now is not None
    return Engine(verify(settings.root / "bundles" / now.bundle, now.bundle))


SHOPS: dict[str, Callable[[], list[Row]]] = {
    "one item": lambda: rows(1),
    "five items": lambda: rows(5),
    "one leaf at the top of the tree": lambda: rows(20, category="Lamps"),
    "one product": lambda: rows(20, product_id="p"),
    "one photo": lambda: identical(20),
}
FAST = ("one item",)


@pytest.mark.parametrize(
    "name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in SHOPS]
)
def test_a_day_ends_with_a_server_that_answers(settings: Settings, name: str) -> None:
    feed = SHOPS[name]()
    tiny_feed.give(settings, DAY_1, feed)
    reports = run_steps(settings, DAY_1)
    assert reports["gate"].details["passed"] is True
    assert reports["promote"].details["promoted"] is True
    engine = served(settings)
    self_test(engine)
    served_ids = engine.items.table["item_id"].to_pylist()
    assert sorted(served_ids) == sorted(row["item_id"] for row in feed)
    statistics = Partition(settings, "preprocess", DAY_1).output / "statistics.json"
    assert json.loads(statistics.read_bytes())["brand"] == []
    index = reports["index"].details
    assert index["engine"] == ("exact" if index["base"] < 16 else "scann")
    for row in feed[:3]:
        photo = (settings.root / row["image"]).read_bytes()
        hits = engine.search(photo, 10).hits
        assert len(hits) == min(10, len(feed))
        np.testing.assert_allclose(hits[0]["score"], 1, atol=1e-3)
        others = engine.similar(row["item_id"], 10).hits
        assert len(others) == min(10, len(feed) - 1)
        assert row["item_id"] not in {hit["item_id"] for hit in others}


def test_a_feed_without_rows(settings: Settings) -> None:
    with pytest.raises(BadInput) as caught:
        tiny_feed.give(settings, DAY_1, [])
    assert str(caught.value) == (
        "The feed has no rows. Expected at least one item. Check the source."
    )
    with pytest.raises(BadInput, match=f"There is no feed for {DAY_1}"):
        run_steps(settings, DAY_1, ("ingest",))


def test_a_feed_of_deletions_only(settings: Settings) -> None:
    tiny_feed.give(settings, DAY_1, [tiny_feed.row("item0", 0, deleted=True)])
    with pytest.raises(BadInput) as caught:
        run_steps(settings, DAY_1, ("ingest",))
    assert str(caught.value) == (
        f"No item is left for {DAY_1}. Expected at least one in the feed or from the day before. "
        f"Received 1 rows, 1 of them deleted. Check the feed."
    )


@pytest.mark.slow
def test_nothing_to_train_on(settings: Settings) -> None:
    tiny_feed.give(settings, DAY_1, rows(2, split="test"))
    with pytest.raises(BadInput) as caught:
        run_steps(settings, DAY_1)
    assert str(caught.value) == (
        "Nothing to train on. Expected at least one photo of split `train`."
    )
    assert Partition(settings, "train", DAY_1).report() is None


@pytest.mark.slow
def test_not_one_photo_can_be_decoded(settings: Settings) -> None:
    feed = [{**row, "seed": None} for row in rows(2)]
    (settings.root / "photos").mkdir(parents=True)
    for number, row in enumerate(feed):
        (settings.root / row["image"]).write_bytes(b"\xff\xd8\xff\xe0 nothing" + bytes([number]))
    tiny_feed.give(settings, DAY_1, feed)
    with pytest.raises(BadInput, match=r"2 of 2 new photos cannot be decoded"):
        run_steps(settings, DAY_1, ("ingest", "preprocess"))
    assert Partition(settings, "preprocess", DAY_1).report() is None
