"""When the embedder is trained again, what a training leaves behind, and what a kill costs."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import CopyShop
from tiny_shop import DAY_1, DAY_2, finish, forget, run_steps, start_step

from pipelines.catalogue import read_catalogue
from pipelines.importers import import_feed
from pipelines.settings import Settings, Train
from pipelines.step import Partition, file_digests
from pipelines.tracking import client, experiment_id
from pipelines.train import _reason_to_train, _training_photos, embedder_id, run
from serving.embedder import Embedder

LEVELS = ("level_1", "level_2", "leaf")
RECIPE: dict[str, Any] = {"width": 8, "blocks": (1, 1), "epochs": 2, "projection": 0.75}
SAME = 0.002  # of accuracy, between a killed and an uninterrupted training
PNG = b"\x89PNG"


def facts(settings: Settings, ds: Any) -> dict[str, Any]:
    return Partition(settings, "train", ds).done().details


def history(settings: Settings, ds: Any) -> dict[str, Any]:
    path = Partition(settings, "train", ds).output / "history.json"
    return dict(json.loads(path.read_bytes()))


def pairs(settings: Settings, ds: Any) -> set[tuple[str, int]]:
    """Photo and leaf of what is trained on."""
    items = read_catalogue(settings, ds).items
    rows = items.filter(pc.equal(items["split"], "train")).to_pylist()
    return {(row["pixel_key"], row["leaf"]) for row in rows}


def training_runs(settings: Settings) -> list[Any]:
    runs = client(settings).search_runs([experiment_id(settings)], "tags.step = 'train'")
    return list(runs)


def test_the_first_day_trains(shop: Settings) -> None:
    output = Partition(shop, "train", DAY_1).output
    found = facts(shop, DAY_1)
    test = history(shop, DAY_1)["test"]
    (run_of_day,) = training_runs(shop)
    assert found == {
        "kept": False,
        "why": "there is no embedder yet",
        "trained": DAY_1.isoformat(),
        "embedder": embedder_id(output),
        **{f"test_{level}": round(test[level], 4) for level in LEVELS},
        "images_per_second": history(shop, DAY_1)["epochs"][-1]["images_per_second"],
        "parameters": found["parameters"],
        "backbone": "resnet",
        "suspects": pq.read_metadata(output / "suspects.parquet").num_rows,
        "labels_confirmed": 0,
        "labels_rejected": 0,
        "mlflow_run": run_of_day.info.run_id,
        "parity_cosine": found["parity_cosine"],
    }
    assert 0.9999 <= found["parity_cosine"] <= 1.0001  # of Keras and the exported graph
    assert set(file_digests(output)) == {
        "classes.json", "embedder.onnx", "evaluation.json", "history.json", "model.keras",
        "origin.json", "suspects.csv", "suspects.parquet", "suspects.png", "taps.json",
        "trained_on.parquet",
    }  # fmt: skip
    assert not list((shop.root / "checkpoints").iterdir())


def test_the_photos_it_was_trained_on_are_written_down(shop: Settings) -> None:
    table = pq.read_table(Partition(shop, "train", DAY_1).output / "trained_on.parquet")
    rows = [(row["pixel_key"], row["leaf"]) for row in table.to_pylist()]
    assert rows == sorted(pairs(shop, DAY_1))
    assert Partition(shop, "train", DAY_1).done().rows == len(rows)


def test_mlflow_has_curves_levels_and_pictures(shop: Settings) -> None:
    (found,) = training_runs(shop)
    tracker, run_id = client(shop), found.info.run_id
    epochs = history(shop, DAY_1)["epochs"]
    assert len(epochs) == 2
    curves = {"loss": [epoch["loss"] for epoch in epochs]}
    for level in LEVELS:
        curves[f"val_{level}"] = [epoch["validation"][level] for epoch in epochs]
    for name, values in curves.items():
        points = tracker.get_metric_history(run_id, name)
        assert [(point.step, point.value) for point in points] == list(enumerate(values))
    test = {f"test_{level}": value for level, value in history(shop, DAY_1)["test"].items()}
    assert {name: found.data.metrics[name] for name in test} == test
    assert found.info.status == "FINISHED"
    assert found.data.params["epochs"] == "2"
    assert found.data.params["pixel_spec"] == shop.preprocess.pixel_spec
    assert (found.data.tags["ds"], found.info.run_name) == (str(DAY_1), f"train {DAY_1}")
    names = sorted(artifact.path for artifact in tracker.list_artifacts(run_id))
    pictures = ["confusion.png", "curves.png", "evaluation.png", "neighbours_by_layer.png"]
    assert names == sorted([*pictures, "evaluation.json", "suspects.csv", "suspects.png"])
    folder = Path(found.info.artifact_uri.removeprefix("file://"))
    assert [(folder / name).read_bytes()[:4] for name in pictures] == [PNG] * len(pictures)


def test_a_few_changed_photos_keep_the_embedder(two_days: Settings) -> None:
    old, new = pairs(two_days, DAY_1), pairs(two_days, DAY_2)
    share = round(1 - len(old & new) / max(len(old), len(new)), 4)
    assert 0 < share < two_days.train.retrain_above
    assert facts(two_days, DAY_2) == {
        "kept": True,
        "changed_share": share,
        **{name: facts(two_days, DAY_1)[name] for name in ("trained", "embedder", "mlflow_run")},
    }
    outputs = [Partition(two_days, "train", ds).output for ds in (DAY_1, DAY_2)]
    assert file_digests(outputs[0]) == file_digests(outputs[1])
    assert len(training_runs(two_days)) == 1


def test_an_old_embedder_stays_while_nothing_changes(shop_copy: CopyShop) -> None:
    settings = shop_copy(train=Train(**RECIPE, max_age_days=1, retrain_above=0))
    row = read_catalogue(settings, DAY_1).items.slice(0, 1)
    feed = settings.root / "feed.parquet"
    pq.write_table(row.select(["item_id", "image", "category", "updated_at"]), feed)
    import_feed(settings, DAY_2, feed)
    run_steps(settings, DAY_2, ("ingest", "preprocess", "train"))
    assert facts(settings, DAY_2) == {
        **{name: facts(settings, DAY_1)[name] for name in ("trained", "embedder", "mlflow_run")},
        "kept": True,
        "changed_share": 0.0,
    }


def test_another_recipe_trains_again(retrained: Settings) -> None:
    found = facts(retrained, DAY_2)
    assert {name: found[name] for name in ("kept", "why", "trained")} == {
        "kept": False,
        "why": "the recipe changed",
        "trained": DAY_2.isoformat(),
    }
    assert found["embedder"] != facts(retrained, DAY_1)["embedder"]
    assert [len(history(retrained, ds)["epochs"]) for ds in (DAY_1, DAY_2)] == [2, 1]


@pytest.mark.slow
def test_every_option_at_once(shop_copy: CopyShop) -> None:
    options = {
        "sizes": (0.5, 1.0), "mix": 0.5, "averaging": 0.9, "robustness": 0.3, "shallow": True,
        "attributes": ("brand", "colour"), "metric": {"epochs": 1},
        "taps": ("stage1*0.5", "shallow", "embedding"), "projection": 0.25,
    }  # fmt: skip
    settings = shop_copy(train=Train(**{**RECIPE, **options}))
    report = run(settings, DAY_1)
    output = Partition(settings, "train", DAY_1).output
    epochs = history(settings, DAY_1)["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [0, 1, 2]
    assert set(epochs[-1]["validation"]) == {*LEVELS, "attribute_brand", "attribute_colour"}
    classes = json.loads((output / "classes.json").read_bytes())
    assert set(classes["attributes"]) == {"brand", "colour"}
    # 8 of stage1, 16 of the shallow branch, and a quarter of the neck's 16 + 16.
    assert Embedder(output / "embedder.onnx").dimensions == 8 + 16 + 8
    spaces = {score["space"] for score in evaluation(output)}
    assert spaces == {
        "colour histogram", "pixel components", "before the metric stage", "embedding",
        "stem", "stage1", "stage2", "shallow",
    }  # fmt: skip
    run_id = report.details["mlflow_run"]
    names = {artifact.path for artifact in client(settings).list_artifacts(run_id)}
    assert {"neighbours_by_layer.png", "neighbours_metric_stage.png"} <= names


def test_a_warm_start_goes_on_from_the_day_before(two_days_copy: CopyShop) -> None:
    options = {"start": "warm", "warm_epochs": 1, "retrain_above": 0.0}
    settings = two_days_copy(train=Train(**RECIPE, **options))
    report = run(settings, DAY_2)
    assert report.details["kept"] is False
    assert report.details["why"] == "the recipe changed"
    assert report.details["trained"] == DAY_2.isoformat()
    (first,) = history(settings, DAY_2)["epochs"]
    former = history(settings, DAY_1)["epochs"]
    assert first["loss"] < former[0]["loss"]  # the first one's of a network that knew nothing


def evaluation(output: Path) -> list[dict[str, Any]]:
    return list(json.loads((output / "evaluation.json").read_bytes())["scores"])


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({}, ""),
        ({"retrain_above": 0.0}, "{share:.1%} of the training photos changed"),
        ({"max_age_days": 1}, "the embedder was 1 days old"),
    ],
)
def test_policy_trains_again(two_days: Settings, policy: dict[str, Any], why: str) -> None:
    settings = two_days.model_copy(update={"train": Train(**RECIPE, **policy)})
    photos = _training_photos(read_catalogue(settings, DAY_2))
    former = Partition(settings, "train", DAY_1)
    share = facts(settings, DAY_2)["changed_share"]
    found, reason = _reason_to_train(settings, DAY_2, former, photos)
    assert (round(found, 4), reason) == (share, why.format(share=found))


@pytest.mark.slow
def test_a_killed_training_goes_on_where_it_was(shop: Settings, shop_copy: CopyShop) -> None:
    """Killed after the first of two epochs; ends like the training that nobody killed."""
    settings = shop_copy()
    forget(settings, DAY_1, "train")
    before = {run_of_day.info.run_id for run_of_day in training_runs(settings)}
    process = start_step(settings, "train", DAY_1)
    while process.poll() is None and not [
        *settings.root.glob("checkpoints/*/classifier/history.json")
    ]:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert finish(process).returncode == -signal.SIGKILL
    assert Partition(settings, "train", DAY_1).report() is None
    (checkpoint,) = (settings.root / "checkpoints").glob("*/classifier/history.json")
    epochs = json.loads(checkpoint.read_bytes())["epochs"]
    assert len(epochs) == 1

    report = run(settings, DAY_1)
    (mine,) = [r for r in training_runs(settings) if r.info.run_id not in before]
    assert report.details["mlflow_run"] == mine.info.run_id
    assert history(settings, DAY_1)["epochs"][: len(epochs)] == epochs
    points = client(settings).get_metric_history(mine.info.run_id, "loss")
    assert sorted({point.step for point in points}) == [0, 1]
    for level in LEVELS:
        name = f"test_{level}"
        assert report.details[name] == pytest.approx(facts(shop, DAY_1)[name], abs=SAME)
    assert not checkpoint.parent.parent.exists()
