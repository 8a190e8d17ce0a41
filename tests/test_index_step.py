"""What is indexed, what stays out for the gate to ask with, and in which order."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import CopyShop
from tiny_shop import DAY_1, DAY_2, copy_shop, forget, rewrite

from model.errors import BadInput
from pipelines import index
from pipelines.catalogue import read_catalogue
from pipelines.embed import embedding_store
from pipelines.index import _held_out, read_arrow
from pipelines.reduce import read_reducer, space_id
from pipelines.settings import Index, Settings
from pipelines.step import Partition, file_digests
from pipelines.tracking import client, experiment_id
from serving.engines import load_index


def items_of(settings: Settings, ds: Any) -> pa.Table:
    return read_arrow(Partition(settings, "index", ds).output / "items.arrow")


def vectors_of(settings: Settings, ds: Any) -> Any:
    return np.load(Partition(settings, "index", ds).output / "vectors.npy")


def details(settings: Settings, ds: Any) -> dict[str, Any]:
    facts = (Partition(settings, "index", ds).output / "index.json").read_bytes()
    return dict(json.loads(facts))


def test_every_catalogue_item_is_there_once_and_no_wild_photo(shop: Settings) -> None:
    catalogue = read_catalogue(shop, DAY_1).items
    shown = catalogue.filter(pc.equal(catalogue["kind"], "catalogue"))["item_id"].to_pylist()
    assert sorted(items_of(shop, DAY_1)["item_id"].to_pylist()) == sorted(shown)
    assert len(shown) < len(catalogue)
    assert Partition(shop, "index", DAY_1).done().rows == len(shown)


def test_held_out_rows_are_not_in_the_base(shop: Settings) -> None:
    """They come last, are of split `test`, and the engine does not know them."""
    facts, items = details(shop, DAY_1), items_of(shop, DAY_1)
    split = items["split"].to_pylist()
    assert facts["base"] + facts["held_out"] == len(items)
    assert set(split[facts["base"] :]) == {"test"}
    assert facts["held_out"] == min(split.count("test"), int(len(items) * 0.1))
    engine = load_index(Partition(shop, "index", DAY_1).output / "index", facts["description"])
    vectors = vectors_of(shop, DAY_1)
    rows, scores = engine.search(vectors, len(items))
    assert len(engine) == facts["base"]
    assert rows.shape == (len(items), facts["base"])
    assert set(rows.ravel().tolist()) == set(range(facts["base"]))
    np.testing.assert_allclose(
        scores, np.take_along_axis(vectors @ vectors.T, rows, axis=1), atol=1e-5
    )


def test_items_new_today_are_asked_with_before_others(two_days: Settings) -> None:
    facts, items = details(two_days, DAY_2), items_of(two_days, DAY_2)
    apart = items.slice(facts["base"]).to_pylist()
    new = [row["item_id"] for row in items.to_pylist() if row["first_seen"] == str(DAY_2)]
    assert new
    assert {row["item_id"] for row in apart} >= set(new)
    assert {row["split"] for row in apart if row["item_id"] not in new} == {"test"}


def test_vectors_are_the_reduced_embeddings_of_the_items(shop: Settings) -> None:
    store, shards = embedding_store(shop, DAY_1)
    full = store.view(shards, items_of(shop, DAY_1)["pixel_key"].to_pylist())[:]
    np.testing.assert_array_equal(vectors_of(shop, DAY_1), read_reducer(shop, DAY_1)(full))
    np.testing.assert_allclose(np.linalg.norm(vectors_of(shop, DAY_1), axis=1), 1, rtol=1e-5)


def test_base_and_held_out_are_each_in_the_order_of_their_ids(shop: Settings) -> None:
    base = details(shop, DAY_1)["base"]
    ids = items_of(shop, DAY_1)["item_id"].to_pylist()
    assert ids[:base] == sorted(ids[:base])
    assert ids[base:] == sorted(ids[base:])


def test_the_report_of_index(shop: Settings) -> None:
    found = Partition(shop, "index", DAY_1).done().details
    facts, folder = details(shop, DAY_1), Partition(shop, "index", DAY_1).output / "index"
    size = sum(path.stat().st_size for path in folder.iterdir())
    base = facts["base"]
    why = found.pop("why")
    assert re.fullmatch(
        r"scann: \d\.\d{3} ms a query at recall 1\.000 \(goal 0\.98\), the fastest of 1 tried",
        why,
    )
    assert found == {
        "base": base,
        "held_out": facts["held_out"],
        "engine": "scann",
        "form": "brute,float32",
        "effort": {},
        "folded": 0,
        "dimensions": 12,
        "space_id": space_id(shop, DAY_1),
        "bytes_per_item": round(size / base, 1),
    }
    assert facts == {
        "base": base,
        "held_out": facts["held_out"],
        "description": {
            "engine": "scann",
            "form": "brute,float32",
            "n": base,
            "dimensions": 12,
            "effort": {},
        },
        "setting": "scann",
        "goal": {"recall": 0.98, "seconds": 60.0, "max_bytes": None},
        "tuned_for": base,
        "wear": {"changed": 0, "uneven": 0.0},
    }


def test_the_same_day_gives_the_same_bytes_but_for_scann(shop: Settings, tmp_path: Path) -> None:
    again = copy_shop(shop, tmp_path / "root", index=Index(engine="exact"))
    first = index.run(again, DAY_1)
    forget(again, DAY_1, "index")
    assert index.run(again, DAY_1).digest == first.digest
    np.testing.assert_array_equal(vectors_of(again, DAY_1), vectors_of(shop, DAY_1))
    assert items_of(again, DAY_1) == items_of(shop, DAY_1)


def test_nothing_is_held_out_when_nothing_may_be(shop_copy: CopyShop) -> None:
    settings = shop_copy(index=Index(held_out_share=0))
    facts = index.run(settings, DAY_1).details
    assert (facts["base"], facts["held_out"]) == (len(items_of(settings, DAY_1)), 0)


def test_the_engine_of_yesterday_is_kept(two_days_copy: CopyShop) -> None:
    """Its effort is measured again; the size it was chosen for stays what it was."""
    settings = two_days_copy(index=Index())
    first, second = (index.run(settings, ds) for ds in (DAY_1, DAY_2))
    assert second.details["engine"] == first.details["engine"]
    assert second.details["why"].endswith(" tried")
    assert details(settings, DAY_2)["tuned_for"] == details(settings, DAY_1)["base"]
    assert details(settings, DAY_2)["base"] != details(settings, DAY_1)["base"]


def test_an_engine_for_another_size_is_not_kept(two_days_copy: CopyShop) -> None:
    settings = two_days_copy(index=Index())
    index.run(settings, DAY_1)
    edited(settings, lambda facts: {**facts, "tuned_for": 5000})
    index.run(settings, DAY_2)
    assert details(settings, DAY_2)["tuned_for"] == details(settings, DAY_2)["base"]


def test_mlflow_has_every_point_and_the_picture(shop_copy: CopyShop) -> None:
    settings = shop_copy(index=Index())
    index.run(settings, DAY_1)
    tracker = client(settings)
    newest = ["start_time DESC"]
    runs = tracker.search_runs([experiment_id(settings)], "tags.step = 'index'", order_by=newest)
    run = runs[0]
    assert run.data.metrics["recall"] == 1
    names = {artifact.path for artifact in tracker.list_artifacts(run.info.run_id)}
    assert names == {"points.json", "tuning.png"}


def test_an_engine_that_cannot_reach_the_goal(shop_copy: CopyShop) -> None:
    settings = shop_copy(index=Index(engine="faiss:LSH8", target_recall=0.9))
    with pytest.raises(BadInput, match="No index reaches the goal. Expected recall 0.9 of the"):
        index.run(settings, DAY_1)


def test_a_catalogue_of_wild_photos_is_refused(shop_copy: CopyShop) -> None:
    settings = shop_copy()

    def all_wild(folder: Path) -> None:
        items = pq.read_table(folder / "items.parquet")
        kind = items.schema.get_field_index("kind")
        wild = pa.array(["wild"] * len(items))
        (folder / "items.parquet").unlink()
        pq.write_table(items.set_column(kind, "kind", wild), folder / "items.parquet")

    rewrite(settings, "ingest", DAY_1, all_wild)
    former = Partition(settings, "index", DAY_1).done()
    with pytest.raises(BadInput) as caught:
        index.run(settings, DAY_1)
    assert str(caught.value) == (
        f"Nothing to index on {DAY_1}. Expected items of kind `catalogue`. "
        f"Received {len(read_catalogue(settings, DAY_1).items)} of kind `wild`: "
        f"photos to search by, not to find."
    )
    assert Partition(settings, "index", DAY_1).done() == former


@pytest.mark.parametrize(("any_item", "expected"), [(True, 2), (False, 0)])
def test_without_a_test_product_any_item_is_asked_if_nothing_else_is(
    any_item: bool, expected: int
) -> None:
    items = pa.table(
        {
            "split": ["train"] * 20,
            "first_seen": ["2026-11-01"] * 20,
            "pixel_key": [f"{number:064x}" for number in range(20)],
        }
    )
    found = _held_out(items, Settings(), DAY_1, any_item=any_item)
    assert found.sum() == expected


def test_the_day_is_folded_into_yesterdays_index(
    two_days: Settings, two_days_copy: CopyShop
) -> None:
    settings = two_days_copy(index=Index(engine="scann:ah=2,float32", target_recall=0.9))
    index.run(settings, DAY_1)
    former = Partition(settings, "index", DAY_1)
    before = file_digests(former.output)
    report = index.run(settings, DAY_2)
    assert report.details["folded"] > 0
    assert file_digests(former.output) == before
    assert details(settings, DAY_2)["wear"]["changed"] == report.details["folded"]
    items, base = items_of(settings, DAY_2), report.details["base"]
    built = items_of(two_days, DAY_2)
    assert sorted(items["item_id"].to_pylist()) == sorted(built["item_id"].to_pylist())
    store, shards = embedding_store(settings, DAY_2)
    full = store.view(shards, items["pixel_key"].to_pylist())[:]
    vectors = vectors_of(settings, DAY_2)
    np.testing.assert_array_equal(vectors, read_reducer(settings, DAY_2)(full))
    facts = details(settings, DAY_2)
    engine = load_index(Partition(settings, "index", DAY_2).output / "index", facts["description"])
    _, scores = engine.search(vectors[:base], 1)
    np.testing.assert_allclose(scores, np.ones((base, 1)), atol=1e-4)


def edited(settings: Settings, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Other facts of the first day's index."""

    def rewritten(folder: Path) -> None:
        facts = json.loads((folder / "index.json").read_bytes())
        (folder / "index.json").unlink()
        (folder / "index.json").write_text(json.dumps(edit(facts)))

    rewrite(settings, "index", DAY_1, rewritten)


def test_an_index_of_an_earlier_version_is_not_kept(two_days_copy: CopyShop) -> None:
    settings = two_days_copy(index=Index())
    index.run(settings, DAY_1)
    edited(settings, lambda facts: {name: facts[name] for name in ("base", "held_out")})
    assert index.run(settings, DAY_2).details["folded"] == 0


def test_a_damaged_former_index_is_no_obstacle(two_days_copy: CopyShop) -> None:
    settings = two_days_copy(index=Index(engine="scann:ah=2,float32", target_recall=0.9))
    index.run(settings, DAY_1)
    path = next((Partition(settings, "index", DAY_1).output / "index").glob("*.npy"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)
    assert index.run(settings, DAY_2).details["folded"] == 0


def test_another_engine_in_the_settings_is_taken_at_once(two_days_copy: CopyShop) -> None:
    settings = two_days_copy(index=Index(engine="exact"))
    index.run(settings, DAY_1)
    other = settings.model_copy(update={"index": Index(engine="scann")})
    assert index.run(other, DAY_2).details["engine"] == "scann"
    assert details(other, DAY_2)["tuned_for"] == details(other, DAY_2)["base"]


def test_a_worn_index_is_built_anew(two_days_copy: CopyShop) -> None:
    settings = two_days_copy(index=Index(engine="scann:ah=2,float32", target_recall=0.9))
    index.run(settings, DAY_1)

    edited(settings, lambda facts: {**facts, "wear": {**facts["wear"], "changed": 10_000}})
    assert index.run(settings, DAY_2).details["folded"] == 0
    assert details(settings, DAY_2)["wear"]["changed"] == 0
