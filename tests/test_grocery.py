"""Real photos: the Grocery Store data set, taken with phones in shops, through the whole cycle.

LOOKALIKE_DATA names the folder that holds `grocery_store`; without it these tests are skipped.
"""

import json
import os
import shutil
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from grocery_feed import official, write_feed
from real_airflow import DAG, Airflow
from tiny_feed import output

from pipelines import ingest
from pipelines.catalogue import read_items
from pipelines.importers import import_feed
from pipelines.settings import Settings
from pipelines.step import STEPS, Partition
from serving.bundle import verify
from serving.ledger import champion

# Taken before the tests clear LOOKALIKE_*.
STORE = Path(os.environ.get("LOOKALIKE_DATA", "nowhere"), "grocery_store")
DAY = date(2026, 11, 20)
RECIPE = """
[preprocess]
pixel_spec = "decode|orient|resize(64)|pad"
[train]
epochs = 20
"""

pytestmark = pytest.mark.skipif(
    not STORE.is_dir(), reason="LOOKALIKE_DATA has no folder grocery_store"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """All 5,502 photos, from the feed to Production, through Airflow."""
    settings = Settings(root=tmp_path_factory.mktemp("grocery") / "root")
    settings.root.mkdir()
    import_feed(settings, DAY, write_feed(STORE, settings.root / "grocery.parquet"))
    airflow = Airflow.of(settings.root, RECIPE)
    done = airflow("dags", "test", DAG, str(DAY))
    assert airflow.tasks() == dict.fromkeys(STEPS, ("success", 1)), done.stdout[-3000:]
    return settings


@pytest.mark.slow
def test_the_official_splits_stay_as_they_are(store: Settings) -> None:
    """2,485 photos are tested with, as published: all of them can be read, and where photos of
    two splits look alike the one that is held out more stays, so only `train` could have lost.
    """
    items = read_items(store, DAY)
    wild = items.filter(pc.equal(items["kind"], "wild"))
    assert Counter(wild["split"].to_pylist()) == {"train": 2640, "val": 296, "test": 2485}
    assert Counter(items["kind"].to_pylist()) == {"wild": 5421, "catalogue": 81}
    assert output(store, "ingest", DAY, "quarantine.parquet") == []
    assert len(set(items["category"].to_pylist())) == 81


@pytest.mark.slow
def test_leaf_and_parent_of_the_official_test_photos(store: Settings) -> None:
    """Seen: 0.50 of leaves, 0.62 of parents, 0.88 of departments, after 20 epochs from scratch."""
    history = Partition(store, "train", DAY).output / "history.json"
    accuracy = json.loads(history.read_bytes())["test"]
    print(f"\naccuracy on {len(list(official(STORE, 'test')))} photos: {accuracy}")
    assert list(accuracy) == ["level_1", "level_2", "leaf"]
    assert accuracy["leaf"] > 0.40
    assert accuracy["level_2"] > 0.50
    assert accuracy["level_1"] > 0.80


@pytest.mark.slow
def test_the_gate_judges_every_department_by_wild_photos(store: Settings) -> None:
    verdict = gate(store)
    recalls = {row["slice"]: row["recall"] for row in verdict["slices"]}
    print(f"\nrecall@10 by slice: {recalls}")
    departments = ("Fruit", "Packages", "Vegetables")
    assert list(recalls) == ["all", "wild", *(f"category {name}" for name in departments)]
    assert all(row["judged"] for row in verdict["slices"])
    assert min(recalls.values()) > 0.95


@pytest.mark.slow
def test_a_wild_photo_finds_the_studio_photo_of_its_leaf(store: Settings) -> None:
    """Each of the 81 leaves has one. Seen: 0.23, 0.63 and 0.80; chance is 0.01, 0.06 and 0.12."""
    hits = gate(store)["wild_photos"]
    print(f"\nwild photo to the studio photo of its leaf: {hits}")
    assert hits["leaf_queries"] == 2000  # the gate takes so many of the 2,781 not trained on
    assert hits["leaf_hit@1"] > 0.15
    assert hits["leaf_hit@5"] > 0.50
    assert hits["leaf_hit@10"] > 0.70


@pytest.mark.slow
def test_the_bundle_is_in_production(store: Settings) -> None:
    now = champion(store.root)
    assert now is not None
    bundle = verify(store.root / "bundles" / now.bundle, now.bundle)
    assert bundle.manifest["counts"] == {"base": 81, "held_out": 0}
    assert bundle.manifest["verdict"]["passed"]


def test_a_folder_tree_of_real_photos_is_taken_as_it_is(tmp_path: Path) -> None:
    """The folders of the data set, with every 21st photo of `train`."""
    photos = [path for path, _ in official(STORE, "train")][::21]
    for path in photos:
        copy = tmp_path / "photos" / Path(path).relative_to("train")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(STORE / path, copy)
    settings = Settings(root=tmp_path / "root")
    report = import_feed(settings, DAY, tmp_path / "photos")
    assert (report.rows, report.details["refused"]) == (126, 0)
    facts = ingest.run(settings, DAY).details
    folders = {str(Path(path).parent) for path in photos}
    assert (facts["new"], facts["quarantined"], facts["leaves"]) == (126, 0, len(folders))
    items = {item["item_id"]: item for item in output(settings, "ingest", DAY, "items.parquet")}
    first = items["Fruit~Apple~Golden-Delicious~Golden-Delicious_001"]
    assert (first["category"], first["title"]) == (
        "Fruit > Apple > Golden-Delicious",
        "Golden Delicious 001",
    )


def gate(settings: Settings) -> dict[str, Any]:
    verdict: dict[str, Any] = json.loads(
        (Partition(settings, "gate", DAY).output / "verdict.json").read_bytes()
    )
    return verdict
