"""Photos to pixels and statistics: right numbers, only the day's work, bad photos put aside."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_feed
from conftest import CopyShop
from tiny_shop import DAY_1, DAY_2, SPEC, import_day_2, run_steps, start_step, tiny_settings

from model.errors import BadInput
from model.pixel_spec import PixelSpec
from model.pixels import Box, to_pixels
from pipelines.catalogue import Catalogue, pixel_store, read_catalogue, read_items, read_shards
from pipelines.importers import import_feed
from pipelines.preprocess import run
from pipelines.settings import Ingest, Preprocess, Settings
from pipelines.step import Partition, file_digests

Statistics = dict[str, Any]
BROKEN = b"\xff\xd8\xff\xe0 this is not the rest of a JPEG"


def statistics(settings: Settings, ds: Any) -> Statistics:
    path = Partition(settings, "preprocess", ds).output / "statistics.json"
    return dict(json.loads(path.read_bytes()))


def dead(settings: Settings, ds: Any) -> list[dict[str, str]]:
    path = Partition(settings, "preprocess", ds).output / "dead.parquet"
    return list(pq.read_table(path).to_pylist())


def counted(settings: Settings, *days: Any) -> list[dict[str, Any]]:
    """The rows whose photos were decoded on these days: one a photo."""
    rows = [row for ds in days for row in read_items(settings, ds).to_pylist()]
    photos: dict[str, dict[str, Any]] = {}
    for row in rows:
        photos.setdefault(row["pixel_key"], row)
    gone = {fault["pixel_key"] for ds in days for fault in dead(settings, ds)}
    return [row for key, row in photos.items() if key not in gone]


def pixels_of(settings: Settings, rows: list[dict[str, Any]]) -> Any:
    """Decoded here, one by one, without Beam."""
    spec = settings.pixel_spec
    photos = []
    for row in rows:
        box = None if row["box"] is None else Box(*row["box"])
        photos.append(to_pixels((settings.root / row["image"]).read_bytes(), spec, box))
    return np.stack(photos).astype(np.float64)


def expected(settings: Settings, *days: Any) -> Statistics:
    """The same numbers by numpy and Counter."""
    rows = counted(settings, *days)
    pixels = pixels_of(settings, rows)
    return {
        "mean": pixels.mean(axis=(0, 1, 2)).tolist(),
        "deviation": pixels.std(axis=(0, 1, 2)).tolist(),
        "brand": Counter(row["brand"] for row in rows if row["brand"]),
        "category": Counter(row["category"] for row in rows),
    }


def check_vocabulary(words: list[str], counts: "Counter[str]") -> None:
    """Every word once, the frequent ones first."""
    assert sorted(words) == sorted(counts)
    frequencies = [counts[word] for word in words]
    assert frequencies == sorted(frequencies, reverse=True)


def test_statistics_are_those_of_the_photos(shop: Settings) -> None:
    found, wanted = statistics(shop, DAY_1), expected(shop, DAY_1)
    np.testing.assert_allclose(found["mean"], wanted["mean"], rtol=1e-5)
    np.testing.assert_allclose(found["deviation"], wanted["deviation"], rtol=1e-5)
    check_vocabulary(found["brand"], wanted["brand"])
    check_vocabulary(found["category"], wanted["category"])


def test_price_bounds_split_the_prices_into_ten(shop: Settings) -> None:
    prices = np.sort([row["price"] for row in counted(shop, DAY_1) if row["price"] is not None])
    bounds = statistics(shop, DAY_1)["price_bounds"]
    ranks = np.searchsorted(prices, bounds) / len(prices)
    np.testing.assert_allclose(ranks, np.arange(1, 10) / 10, atol=0.02)  # the epsilon is 0.01


def test_pixels_are_those_of_the_one_pixel_path(shop: Settings) -> None:
    catalogue = read_catalogue(shop, DAY_1)
    rows = catalogue.items.slice(0, 40).to_pylist()
    stored = catalogue.pixels.view(catalogue.shards, [row["pixel_key"] for row in rows])[:]
    np.testing.assert_array_equal(stored, pixels_of(shop, rows))


def test_the_report_counts_what_was_decoded(shop: Settings) -> None:
    report = Partition(shop, "preprocess", DAY_1).done()
    photos = len({row["pixel_key"] for row in read_items(shop, DAY_1).to_pylist()})
    assert report.rows == photos
    assert report.details == {
        "decoded": photos - 1,
        "kept": 0,
        "dead": 1,
        "dead_by_reason": {"image_truncated": 1},
        "brands": len(statistics(shop, DAY_1)["brand"]),
        "channel_mean": statistics(shop, DAY_1)["mean"],
    }


def test_a_photo_that_cannot_be_decoded_is_put_aside_with_its_reason(shop: Settings) -> None:
    (fault,) = dead(shop, DAY_1)
    items = read_items(shop, DAY_1).to_pylist()
    (row,) = [row for row in items if row["pixel_key"] == fault["pixel_key"]]
    assert (fault["uri"], fault["reason"]) == (row["image"], "image_truncated")
    assert fault["detail"].startswith("Cannot decode the image: ")
    catalogue: Catalogue = read_catalogue(shop, DAY_1)
    assert sorted(catalogue.items["item_id"].to_pylist()) == sorted(
        row["item_id"] for row in items if row["pixel_key"] != fault["pixel_key"]
    )


def test_the_transform_graph_lies_beside_the_statistics(shop: Settings) -> None:
    names = set(file_digests(Partition(shop, "preprocess", DAY_1).output))
    transform = {name for name in names if name.startswith("transform/")}
    assert names - transform == {"days.json", "dead.parquet", "shards.json", "statistics.json"}
    assert transform >= {
        "transform/transform_fn/saved_model.pb",
        "transform/transform_fn/assets/brand",
        "transform/transform_fn/assets/category",
        "transform/transformed_metadata/schema.pbtxt",
    }


def test_the_next_day_decodes_only_what_is_new(two_days: Settings) -> None:
    first, second = (Partition(two_days, "preprocess", ds) for ds in (DAY_1, DAY_2))
    facts = {name: second.done().details[name] for name in ("decoded", "kept", "dead")}
    assert facts == {"decoded": 3, "kept": second.done().rows - 3, "dead": 0}
    old, new = read_shards(first.output), read_shards(second.output)
    assert new[:-1] == old
    assert len(pixel_store(two_days.root, PixelSpec.parse(SPEC)).read(new[-1])[0]) == 3
    assert dead(two_days, DAY_2) == dead(two_days, DAY_1)


def test_the_second_day_has_the_statistics_of_all_photos_so_far(two_days: Settings) -> None:
    found, wanted = statistics(two_days, DAY_2), expected(two_days, DAY_1, DAY_2)
    np.testing.assert_allclose(found["mean"], wanted["mean"], rtol=1e-5)
    np.testing.assert_allclose(found["deviation"], wanted["deviation"], rtol=1e-5)
    check_vocabulary(found["brand"], wanted["brand"])
    check_vocabulary(found["category"], wanted["category"])
    rows = counted(two_days, DAY_1, DAY_2)
    prices = np.sort([row["price"] for row in rows if row["price"] is not None])
    ranks = np.searchsorted(prices, found["price_bounds"]) / len(prices)
    np.testing.assert_allclose(ranks, np.arange(1, 10) / 10, atol=0.02)


@pytest.mark.slow
def test_the_analyzer_cache_gives_what_a_whole_analysis_gives(
    two_days: Settings, tmp_path: Path
) -> None:
    """The incremental second day against one day that brings the same photos at once."""
    whole = tiny_settings(tmp_path / "root")
    _see_photos(whole, two_days)
    rows = counted(two_days, DAY_1, DAY_2) + [
        row
        for row in read_items(two_days, DAY_1).to_pylist()
        if row["pixel_key"] in {fault["pixel_key"] for fault in dead(two_days, DAY_1)}
    ]
    names = ("image", "category", "brand", "price", "box")
    feed = [
        {"item_id": f"n{number}", **{name: row[name] for name in names}}
        for number, row in enumerate(rows)
    ]
    pq.write_table(pa.Table.from_pylist(feed), whole.root / "feed.parquet")
    import_feed(whole, DAY_2, whole.root / "feed.parquet")
    run_steps(whole, DAY_2, ("ingest", "preprocess"))
    found, wanted = statistics(two_days, DAY_2), statistics(whole, DAY_2)
    for name in ("mean", "deviation"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-6)
    for name in ("brand", "category"):
        assert found[name] == wanted[name]
    prices = np.sort([row["price"] for row in rows if row["price"] is not None])
    ranks = [
        np.searchsorted(prices, bounds["price_bounds"]) / len(prices) for bounds in (found, wanted)
    ]
    np.testing.assert_allclose(ranks[0], ranks[1], atol=0.02)


def test_a_day_without_new_photos_keeps_everything(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    row = read_items(settings, DAY_1).slice(0, 1).select(["item_id", "image", "category"])
    pq.write_table(row, settings.root / "feed.parquet")
    import_feed(settings, DAY_2, settings.root / "feed.parquet")
    run_steps(settings, DAY_2, ("ingest", "preprocess"))
    facts = Partition(settings, "preprocess", DAY_2).done().details
    assert (facts["decoded"], facts["dead"]) == (0, 0)
    assert statistics(settings, DAY_2) == statistics(settings, DAY_1)
    outputs = [Partition(settings, "preprocess", ds).output for ds in (DAY_1, DAY_2)]
    assert file_digests(outputs[0]) == file_digests(outputs[1])


def _see_photos(settings: Settings, other: Settings) -> None:
    """A new root with the photos of another."""
    (settings.root / "sample").mkdir(parents=True)
    (settings.root / "sample" / "images").symlink_to(other.root / "sample" / "images")


def broken_day(settings: Settings, count: int) -> None:
    """A second day whose only new rows have photos that cannot be decoded."""
    rows = [tiny_feed.row(f"broken{n}", category="Home > Vases") for n in range(count)]
    (settings.root / "photos").mkdir()
    for number, row in enumerate(rows):
        (settings.root / row["image"]).write_bytes(BROKEN + bytes([number]))
    tiny_feed.give(settings, DAY_2, rows)
    run_steps(settings, DAY_2, ("ingest",))


@pytest.mark.slow
def test_one_broken_photo_does_not_fail_a_day_that_brings_no_other(shop_copy: CopyShop) -> None:
    settings = shop_copy(ingest=Ingest(max_bad_share=1))
    broken_day(settings, 1)
    report = run(settings, DAY_2)
    assert report.details["dead_by_reason"] == {"image_truncated": 1}
    assert len(dead(settings, DAY_2)) == 2
    assert statistics(settings, DAY_2) == statistics(settings, DAY_1)
    assert run(settings, DAY_2).reused


def test_too_many_broken_photos_fail_the_day_and_leave_the_state(shop_copy: CopyShop) -> None:
    settings = shop_copy(ingest=Ingest(max_bad_share=1))
    broken_day(settings, 11)
    before = Partition(settings, "preprocess", DAY_1).done()
    with pytest.raises(BadInput) as caught:
        run(settings, DAY_2)
    assert re.fullmatch(
        r"11 of 11 new photos cannot be decoded\. Expected at most 1\.00%\. "
        r"Received: \{'image_truncated': 11\}\. First: photos/broken\d+\.jpg\. "
        r"Repair the photos or raise `preprocess\.max_bad_share`\.",
        str(caught.value),
    )
    assert Partition(settings, "preprocess", DAY_2).report() is None
    assert run(settings, DAY_1) == before.model_copy(update={"reused": True})
    assert list((settings.root / "staging").iterdir()) == []


@pytest.mark.slow
def test_another_pixel_spec_starts_over(shop_copy: CopyShop) -> None:
    spec = "decode|orient|resize(16)|pad"
    settings = shop_copy(preprocess=Preprocess(pixel_spec=spec, shard_images=200))
    import_day_2(settings)
    run_steps(settings, DAY_2, ("ingest", "preprocess"))
    output = Partition(settings, "preprocess", DAY_2).output
    facts = Partition(settings, "preprocess", DAY_2).done().details
    assert (facts["kept"], facts["dead"]) == (0, 1)
    assert json.loads((output / "days.json").read_bytes()) == [DAY_2.isoformat()]
    store = pixel_store(settings.root, PixelSpec(16))
    shapes = [store.read(shard)[1].shape for shard in read_shards(output)]
    assert len(shapes) == 2
    assert sum(shape[0] for shape in shapes) == facts["decoded"]
    assert {shape[1:] for shape in shapes} == {(16, 16, 3)}


@pytest.mark.slow
def test_the_same_day_gives_the_same_digest(shop: Settings, tmp_path: Path) -> None:
    """Twice from scratch, each in a process of its own, one of them with another order of rows."""
    shops = [tiny_settings(tmp_path / name) for name in ("first", "second")]
    for seed, settings in enumerate(shops):
        _see_photos(settings, shop)
        table = pq.read_table(shop.root / "sample" / "day1.parquet")
        order = np.random.default_rng(seed).permutation(len(table))
        pq.write_table(table.take(order), settings.root / "sample" / "day1.parquet")
        import_feed(settings, DAY_1, settings.root / "sample" / "day1.parquet")
        run_steps(settings, DAY_1, ("ingest",))
    processes = [start_step(settings, "preprocess", DAY_1) for settings in shops]
    for process in processes:
        process.communicate(timeout=180)
    first, second = (Partition(settings, "preprocess", DAY_1).done() for settings in shops)
    assert (first.digest, first.fingerprint) == (second.digest, second.fingerprint)
