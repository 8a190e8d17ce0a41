"""The step that trains the localiser: what it leaves, when it is kept, and when it serves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import CopyShop
from tiny_shop import DAY_1, DAY_2, forget, rewrite

from model.errors import Damaged
from pipelines.bundle import bundle_digest
from pipelines.catalogue import read_catalogue
from pipelines.localise import localiser_path, run
from pipelines.settings import Localise, Settings
from pipelines.step import Partition, file_digests
from pipelines.tracking import client
from pipelines.whole_photos import read_whole_photos
from serving.bundle import verify
from serving.engine import Engine

TINY: dict[str, Any] = {"width": 4, "epochs": 1}


def done(settings: Settings, ds: Any) -> Any:
    return Partition(settings, "localise", ds).done()


def facts(settings: Settings, ds: Any = DAY_1) -> dict[str, Any]:
    path = Partition(settings, "localise", ds).output / "localisation.json"
    return dict(json.loads(path.read_bytes()))


def wild(settings: Settings, *splits: str) -> int:
    """Photos with a box in these splits."""
    items = read_catalogue(settings, DAY_1).items
    mine = items.filter(pc.is_valid(items["box"]))["split"].to_pylist()
    return sum(split in splits for split in mine)


def test_the_first_day_trains_and_measures(shop: Settings) -> None:
    found = facts(shop)
    assert {name: found[name] for name in ("served", "why", "boxes", "boxed", "photos")} == {
        "served": True,
        "why": "`localise.boxes` is `feed`",
        "boxes": "feed",
        "boxed": wild(shop, "train"),
        "photos": wild(shop, "val", "test"),
    }
    assert found["cut_out"] > 100
    assert set(found["overlap"]) == {"found box", "whole photo", "middle"}
    assert set(found["searches"]) == {"true box", "found box", "whole photo"}
    intervals = [
        interval
        for table in (found["overlap"], found["searches"])
        for row in table.values()
        for interval in row.values()
    ]
    assert all(0 <= low <= mean <= high <= 1 for mean, low, high in intervals)
    assert {"hit@1", "hit@20", "mAP", "leaf mAP"} <= set(found["searches"]["found box"])
    assert found["studio"]["self_first_whole"] == 1
    assert not list((shop.root / "checkpoints").iterdir())


def test_mlflow_has_figures_a_table_and_a_picture(shop: Settings) -> None:
    run_id = done(shop, DAY_1).details["mlflow_run"]
    tracker = client(shop)
    logged = tracker.get_run(run_id).data
    assert logged.metrics["iou"] == pytest.approx(
        facts(shop)["overlap"]["found box"]["iou"][0], abs=1e-4
    )
    assert logged.params["boxes"] == "feed"
    names = {artifact.path for artifact in tracker.list_artifacts(run_id)}
    assert {"boxes.png", "localisation.json", "searches.json"} <= names


def test_the_bundle_serves_it(shop: Settings) -> None:
    digest = bundle_digest(shop, DAY_1)
    bundle = verify(shop.root / "bundles" / digest, digest)
    engine = Engine(bundle, threads=1)
    items = read_catalogue(shop, DAY_1).items
    photo = items.filter(pc.is_valid(items["box"]))["image"][0].as_py()
    searched = engine.search((shop.root / photo).read_bytes(), 3).searched
    assert searched is not None
    assert searched.by in ("found", "whole")
    path = localiser_path(shop, DAY_1)
    assert path is not None
    assert (bundle.folder / "localiser.onnx").read_bytes() == path.read_bytes()


def test_it_is_kept_with_its_embedder(two_days: Settings) -> None:
    outputs = [Partition(two_days, "localise", ds).output for ds in (DAY_1, DAY_2)]
    assert file_digests(outputs[0]) == file_digests(outputs[1])
    first, second = (done(two_days, ds).details for ds in (DAY_1, DAY_2))
    assert second == {**first, "kept": True}


def test_another_embedder_has_another_localiser(retrained: Settings) -> None:
    assert done(retrained, DAY_2).details["kept"] is False


def test_without_boxes_there_is_no_localiser(shop_copy: CopyShop) -> None:
    settings = shop_copy(localise=Localise(boxes="none"))
    report = run(settings, DAY_1)
    why = {"served": False, "why": "`localise.boxes` is `none`"}
    assert report.details == {"kept": False, **why}
    assert (facts(settings), localiser_path(settings, DAY_1)) == (why, None)


def check_auto(settings: Settings, ds: Any, source: str) -> None:
    """It learned from there, and serves only where it does no harm."""
    found = facts(settings, ds)
    assert found["boxes"] == done(settings, ds).details["boxes"] == source
    assert found["served"] is (gain(found) >= -1e-4)
    assert (localiser_path(settings, ds) is not None) is found["served"]


def gain(found: dict[str, Any]) -> float:
    """Of searching by the found box instead of by the whole photo."""
    searches = found["searches"]
    return float(searches["found box"]["mAP"][0] - searches["whole photo"]["mAP"][0])


@pytest.mark.slow
def test_auto_learns_from_the_feed_where_it_has_boxes(shop_copy: CopyShop) -> None:
    settings = shop_copy(localise=Localise(boxes="auto", min_boxes=1, **TINY))
    run(settings, DAY_1)
    check_auto(settings, DAY_1, "feed")


def test_auto_learns_from_the_classifier_where_the_feed_has_few_boxes(retrained: Settings) -> None:
    check_auto(retrained, DAY_2, "activation")


@pytest.mark.slow
def test_a_feed_without_any_box(shop_copy: CopyShop) -> None:
    """Learned from where the classifier looks, judged by what is found: no overlap is known."""
    settings = shop_copy(localise=Localise(boxes="auto", **TINY))

    def without_boxes(folder: Path) -> None:
        items = pq.read_table(folder / "items.parquet")
        place = items.schema.get_field_index("box")
        none = pa.nulls(len(items), items.schema.field("box").type)
        (folder / "items.parquet").unlink()
        pq.write_table(items.set_column(place, "box", none), folder / "items.parquet")

    rewrite(settings, "ingest", DAY_1, without_boxes)
    report = run(settings, DAY_1)
    found = facts(settings)
    assert (report.details["boxes"], found["photos"], found["overlap"]) == ("activation", 0, {})
    assert set(found["searches"]) == {"found box", "whole photo"}
    assert found["served"] is (gain(found) >= -1e-4)


def test_a_photo_that_is_gone_or_another_is_left_out(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    items = read_catalogue(settings, DAY_1).items
    items = items.filter(pc.is_valid(items["box"]))[:3]
    paths = [settings.root / name for name in items["image"].to_pylist()]
    data = paths[2].read_bytes()
    paths[0].unlink()
    paths[1].unlink()
    paths[1].write_bytes(data)
    photos = read_whole_photos(settings, items)
    assert photos.rows == [2]
    assert (photos.pixels.shape, photos.boxes.shape) == ((1, 32, 32, 3), (1, 4))
    assert np.isfinite(photos.boxes).all()


def test_a_damaged_localiser_is_not_served(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    digest = bundle_digest(settings, DAY_1)
    path: Path = settings.root / "bundles" / digest / "localiser.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)
    with pytest.raises(Damaged, match=r"^The file localiser\.onnx of bundle"):
        verify(path.parent, digest)


def test_the_same_inputs_are_not_trained_again(shop: Settings) -> None:
    assert run(shop, DAY_1).reused is True


def test_it_needs_the_day_before_it(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    forget(settings, DAY_1, "train")
    with pytest.raises(Exception, match=r"^Step `train` has no output for"):
        run(settings, DAY_1)
