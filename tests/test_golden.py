"""Queries that a server is asked with, and the answers that are right."""

import pyarrow.compute as pc
import pytest
from tiny_shop import DAY_1

from pipelines.bundle import bundle_digest
from pipelines.catalogue import read_catalogue
from pipelines.golden import golden_items, golden_photos
from pipelines.settings import Settings
from serving.bundle import verify
from serving.engine import Engine

PHOTO = "photo of "


@pytest.fixture(scope="module")
def engine(shop: Settings) -> Engine:
    digest = bundle_digest(shop, DAY_1)
    return Engine(verify(shop.root / "bundles" / digest, digest))


def test_items_come_from_the_whole_bundle_with_the_answers_of_the_engine(engine: Engine) -> None:
    ids = engine.items.table["item_id"].to_pylist()
    golden = golden_items(engine, 3, 10)
    expected = [ids[0], ids[(len(ids) - 1) // 2], ids[-1]]
    assert [each.name for each in golden] == [f"item {item_id}" for item_id in expected]
    assert [each.hits for each in golden] == [engine.similar(each, 10).hits for each in expected]
    assert len(golden_items(engine, 10 * len(ids), 1)) == len(ids)


def test_photos_are_none_that_was_trained_on_the_wild_ones_first(
    shop: Settings, engine: Engine
) -> None:
    golden = golden_photos(shop, DAY_1, engine, 1000)
    names = [each.name.removeprefix(PHOTO) for each in golden]
    items = read_catalogue(shop, DAY_1).items
    unseen = items.filter(pc.not_equal(items["split"], "train"))
    kinds = dict(zip(*(unseen[name].to_pylist() for name in ("item_id", "kind")), strict=True))
    assert sorted(names) == sorted(kinds)
    wild = [kinds[name] == "wild" for name in names]
    assert wild == sorted(wild, reverse=True)
    assert 0 < sum(wild) < len(wild)


def test_they_are_the_same_every_time_and_as_many_as_asked_for(
    shop: Settings, engine: Engine
) -> None:
    first, again = (golden_photos(shop, DAY_1, engine, 8) for _ in range(2))
    assert [(each.name, each.hits) for each in first] == [(each.name, each.hits) for each in again]
    assert len(first) == 8
    assert golden_photos(shop, DAY_1, engine, 0) == []
