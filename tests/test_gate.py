"""The gate says yes to a good index and no to every broken one, and names what failed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CopyShop
from tiny_shop import DAY_1, DAY_2, forget, rewrite, run_steps

from model.errors import Refused, SpaceMismatch
from model.reducer import unit
from pipelines import bundle, gate
from pipelines.content_store import ContentStore
from pipelines.embed import embedding_store
from pipelines.gate import PAGE
from pipelines.index import read_arrow, write_arrow
from pipelines.reduce import space_id
from pipelines.settings import Embed, Gate, Reduce, Settings
from pipelines.step import Partition, Report
from pipelines.tracking import client, experiment_id
from serving.graph import can_compute
from serving.ledger import read_ledger
from serving.scann_index import ScannIndex

Edit = Callable[[Path], None]


def verdict(settings: Settings, ds: Any) -> dict[str, Any]:
    path = Partition(settings, "gate", ds).output / "verdict.json"
    return dict(json.loads(path.read_bytes()))


def runs(settings: Settings, passed: bool) -> list[Any]:
    tags = f"tags.step = 'gate' and tags.passed = '{passed}'"
    return list(client(settings).search_runs([experiment_id(settings)], tags))


def refusal(settings: Settings) -> str:
    with pytest.raises(Refused) as caught:
        gate.run(settings, DAY_1)
    return str(caught.value)


def base_of(folder: Path) -> int:
    return int(json.loads((folder / "index.json").read_bytes())["base"])


def replace_vectors(folder: Path, edit: Callable[[Any], Any]) -> None:
    """The base vectors after `edit`, and an index built of them."""
    vectors, base = np.load(folder / "vectors.npy"), base_of(folder)
    vectors[:base] = edit(vectors[:base])
    (folder / "vectors.npy").unlink()
    np.save(folder / "vectors.npy", vectors)
    for path in (folder / "index").iterdir():
        path.unlink()
    ScannIndex.build(vectors[:base]).save(folder / "index")


def shuffled_ids(folder: Path) -> None:
    items, base = read_arrow(folder / "items.arrow"), base_of(folder)
    order = np.arange(len(items))
    order[:base] = np.random.default_rng(0).permutation(base)
    (folder / "items.arrow").unlink()
    write_arrow(items.take(order), folder / "items.arrow")


def noisy_vectors(folder: Path) -> None:
    rng = np.random.default_rng(0)
    replace_vectors(folder, lambda base: unit(base + rng.normal(0, 0.5, base.shape)))


def half_of_the_index(folder: Path) -> None:
    """The engine was built of the first half twice, so the second half cannot be found."""
    base = base_of(folder)
    vectors = np.load(folder / "vectors.npy")
    for path in (folder / "index").iterdir():
        path.unlink()
    half = vectors[: base // 2]
    ScannIndex.build(np.concatenate([half, half, half[:1]])[:base]).save(folder / "index")


def rows_of_others(found: dict[str, Any]) -> None:
    row = found["slices"][0]
    assert found["failures"] == [
        f"slice `all`: recall@10 is at least {row['lower_bound']:.3f}, expected 0.95 (reducer "
        f"loses {row['reducer_loss']:.3f}, float32 0.000, engine {row['engine_loss']:.3f})",
        f"{found['wrong_vectors']} rows of the index do not have the vector of "
        f"their item's photo: ids, photos and vectors are out of step",
    ]
    assert row["recall"] < 0.3


def vectors_of_others(found: dict[str, Any]) -> None:
    assert found["wrong_vectors"] > 0
    assert any("out of step" in failure for failure in found["failures"])


def too_few(found: dict[str, Any]) -> None:
    assert found["coverage"] < 0.95
    assert f"coverage is {found['coverage']:.4f}, expected 0.995" in found["failures"]


NAMED: dict[Edit, Callable[[dict[str, Any]], None]] = {  # more: test_sabotage
    shuffled_ids: rows_of_others,
    noisy_vectors: vectors_of_others,
    half_of_the_index: too_few,
}


def test_a_good_index_passes(shop: Settings) -> None:
    report, found = Partition(shop, "gate", DAY_1).done(), verdict(shop, DAY_1)
    assert found["passed"] is True
    assert found["failures"] == []
    assert found["k"] == 10
    assert (found["coverage"], found["self_match"]) == (1.0, 1.0)
    assert found["space_id"] == space_id(shop, DAY_1)
    overall = found["slices"][0]
    assert found["churn"] == {
        "against_champion": None,
        "noise": 0.0,
        "net": None,
        "recall": overall["recall"],
        "recall_again": overall["recall"],
    }
    rows = ("missing_items", "unknown_items", "repeated_items", "wrong_vectors", "stale_photos")
    assert {name: found[name] for name in rows} == dict.fromkeys(rows, 0)
    assert (found["missing"], found["lost"], found["rivals"]) == ({}, {}, [])
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"] < 100
    assert report.details == {
        "passed": True,
        "recall": overall["recall"],
        "lower_bound": overall["lower_bound"],
        "precision": found["precision"],
        "p99_ms": found["latency_ms"]["p99"],
        "coverage": 1.0,
        "failures": [],
    }
    assert report.rows == overall["queries"]


def test_slices_are_by_kind_and_category(shop: Settings) -> None:
    index = Partition(shop, "index", DAY_1).done().details
    rows = {row["slice"]: row for row in verdict(shop, DAY_1)["slices"]}
    assert next(iter(rows)) == "all"
    assert rows["held-out"]["queries"] == index["held_out"]
    assert rows["all"]["queries"] == index["held_out"] + rows["wild"]["queries"]
    by_category = [row["queries"] for name, row in rows.items() if name.startswith("category ")]
    assert sum(by_category) == rows["all"]["queries"]
    for name, row in rows.items():
        assert row["judged"] is (name == "all")  # the others have fewer than 100 queries
        assert row["bound"] == (0.95 if name == "all" else 0.90)
        assert row["lower_bound"] <= row["recall"] <= 1
        lost = row["reducer_loss"] + row["precision_loss"] + row["engine_loss"]
        assert lost == pytest.approx(1 - row["recall"], abs=2e-4)


def test_every_precision_is_asked_and_the_fastest_serves(shop: Settings) -> None:
    found = verdict(shop, DAY_1)
    exact, int8 = found["precisions"]
    assert (exact["precision"], exact["cosine"], exact["passed"]) == ("float32", 1.0, True)
    assert {row["precision_loss"] for row in exact["slices"]} == {0.0}
    assert int8["precision"] == "int8"
    assert 0.98 < int8["cosine"] < 1
    for one, other in zip(exact["slices"], int8["slices"], strict=True):
        same = ("slice", "queries", "reducer_loss", "bound", "judged")
        assert [one[name] for name in same] == [other[name] for name in same]
    faster = int8["photos_per_second"] >= 1.1 * exact["photos_per_second"]
    served = int8 if faster and int8["passed"] else exact
    assert {name: found[name] for name in served} == {**served, "slices": found["slices"]}
    assert found["slices"] == served["slices"]


def test_a_precision_that_cannot_run_is_told(shop_copy: CopyShop) -> None:
    settings = shop_copy()

    def without_int8(folder: Path) -> None:
        (folder / "embedder.int8.onnx").unlink()

    rewrite(settings, "embed", DAY_1, without_int8)
    assert gate.run(settings, DAY_1).details["precision"] == "float32"
    assert verdict(settings, DAY_1)["precisions"][1] == {
        "precision": "int8",
        "passed": False,
        "failures": [f"`embed` made no int8 embedder for {DAY_1}. Run it again."],
        "photos_per_second": None,
        "cosine": None,
        "slices": [],
    }


@pytest.mark.skipif(not can_compute("bfloat16"), reason="a processor without bfloat16")
def test_bfloat16_is_asked_too(shop_copy: CopyShop) -> None:
    settings = shop_copy(embed=Embed(precisions=("bfloat16",)))
    run_steps(settings, DAY_1, ("embed", "index", "gate", "bundle"))
    exact, half = verdict(settings, DAY_1)["precisions"]
    assert (exact["precision"], half["precision"]) == ("float32", "bfloat16")
    assert 0.999 < half["cosine"] < 1
    assert [row["slice"] for row in half["slices"]] == [row["slice"] for row in exact["slices"]]


def test_the_second_day_is_compared_with_the_champion(two_days: Settings) -> None:
    found = verdict(two_days, DAY_2)
    names = [row["slice"] for row in found["slices"]]
    assert {"all", "held-out", "new"} <= set(names)
    assert found["churn"]["noise"] == 0.0
    assert 0 <= found["churn"]["against_champion"] < 0.1  # 3 of 297 items are others


def test_a_new_space_is_compared_with_the_champion_by_its_answers(retrained: Settings) -> None:
    assert 0.1 < verdict(retrained, DAY_2)["churn"]["against_champion"] <= 1


def test_mlflow_has_the_verdict(shop: Settings) -> None:
    (run,) = runs(shop, passed=True)
    found = verdict(shop, DAY_1)
    for row in found["slices"]:
        name = row["slice"].replace("&", "_")
        for figure in ("recall", "lower_bound", "reducer_loss", "precision_loss", "engine_loss"):
            assert run.data.metrics[f"{figure}/{name}"] == row[figure]
    for row in found["precisions"]:
        for figure in ("photos_per_second", "cosine"):
            assert run.data.metrics[f"{figure}/{row['precision']}"] == row[figure]
    assert run.data.tags["precision"] == found["precision"]
    assert run.data.metrics["coverage"] == 1.0
    assert run.data.metrics["latency_ms_p99"] == found["latency_ms"]["p99"]
    names = {artifact.path for artifact in client(shop).list_artifacts(run.info.run_id)}
    assert names == {"gate.html", "gate.png", "slices.json", "verdict.json"}
    page = client(shop).download_artifacts(run.info.run_id, "gate.html")
    assert Path(page).read_bytes() == (Partition(shop, "gate", DAY_1).output / PAGE).read_bytes()
    assert run.data.metrics["churn_noise"] == found["churn"]["noise"]
    assert run.data.metrics["bytes_per_item"] == found["bytes_per_item"]
    assert run.info.status == "FINISHED"


@pytest.mark.parametrize("edit", NAMED, ids=lambda edit: edit.__name__)
def test_a_broken_index_is_refused(shop_copy: CopyShop, edit: Edit) -> None:
    settings = shop_copy()
    rewrite(settings, "index", DAY_1, edit)
    message = refusal(settings)
    found = verdict(settings, DAY_1)
    assert found["passed"] is False
    NAMED[edit](found)
    assert message == (
        f"The gate refused the index of {DAY_1}: {'; '.join(found['failures'])}. Production is "
        f"unchanged. Look at {Partition(settings, 'gate', DAY_1).output / 'verdict.json'}."
    )
    page = (Partition(settings, "gate", DAY_1).output / PAGE).read_text()
    assert "This index may not serve." in page
    (run,) = runs(settings, passed=False)
    assert run.data.metrics["coverage"] == found["coverage"]
    assert refusal(settings) == message  # a second try changes nothing
    assert len(runs(settings, passed=False)) == 1
    with pytest.raises(Refused, match="there is nothing to bundle"):
        bundle.run(settings, DAY_1)


def test_too_few_dimensions_are_refused(shop_copy: CopyShop) -> None:
    settings = shop_copy(reduce=Reduce(dimensions=2))
    run_steps(settings, DAY_1, ("reduce", "index"))
    message = refusal(settings)
    row = verdict(settings, DAY_1)["slices"][0]
    assert message.startswith(
        f"The gate refused the index of {DAY_1}: slice `all`: recall@10 is at least "
    )
    assert row["reducer_loss"] > 0.1  # the engine is not at fault
    assert row["engine_loss"] < 0.01
    assert len(runs(settings, passed=False)) == 1
    assert [entry.bundle for entry in read_ledger(settings.root) if entry.serves] == [
        Partition(settings, "bundle", DAY_1).done().details["bundle"]
    ]


def other_embeddings(settings: Settings, name: str) -> None:
    """What another network of the same size would have made of the photos."""
    store, shards = embedding_store(settings, DAY_1)
    rng = np.random.default_rng(0)
    turn = rng.normal(size=store.shape * 2) * 3
    for shard in shards:
        keys, values = store.read(shard)
        other = ContentStore(store.folder.with_name(name), store.shape, store.dtype)
        other.write(shard, keys, unit(np.tanh(values @ turn)))


def test_embeddings_of_another_network_are_refused(shop_copy: CopyShop) -> None:
    """The index was built of the former ones, and nothing says so."""
    settings = shop_copy()
    other_embeddings(settings, embedding_store(settings, DAY_1)[0].folder.name)
    forget(settings, DAY_1, "gate")
    assert "slice `all`: recall@10" in refusal(settings)
    assert verdict(settings, DAY_1)["slices"][0]["recall"] < 0.9


def test_an_index_of_a_former_embedder_is_not_even_asked(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    other_embeddings(settings, "another")

    def of_another(folder: Path) -> None:
        facts = json.loads((folder / "embeddings.json").read_bytes())
        (folder / "embeddings.json").unlink()
        (folder / "embeddings.json").write_text(json.dumps({**facts, "embedder": "another"}))

    former = space_id(settings, DAY_1)
    rewrite(settings, "embed", DAY_1, of_another)
    forget(settings, DAY_1, "reduce")
    run_steps(settings, DAY_1, ("reduce",))
    with pytest.raises(SpaceMismatch) as caught:
        gate.run(settings, DAY_1)
    assert str(caught.value) == (
        f"The index was built in space {former}, the embedder of {DAY_1} is of "
        f"{space_id(settings, DAY_1)}. Run `python -m pipelines.index --ds {DAY_1}` first."
    )


def test_an_embedder_that_learned_nothing_is_refused(shop_copy: CopyShop) -> None:
    """Its index is a faithful one, so every other figure is good."""
    settings = shop_copy(gate=Gate(slice_queries=10))
    message = refusal(settings)
    found = verdict(settings, DAY_1)
    (failure,) = found["failures"]
    assert failure in message
    assert failure == (
        f"{found['leaf_precision']:.3f} of the answers are of the query's category, expected "
        f"{2 * found['leaf_chance']:.3f}: the embedder knows little more than chance"
    )


def test_looser_thresholds_ask_again(shop_copy: CopyShop) -> None:
    strict = shop_copy(reduce=Reduce(dimensions=4), gate=Gate(min_leaf_lift=0, min_recall=1.0))
    before = truths(strict)
    run_steps(strict, DAY_1, ("reduce", "index"))
    assert "expected 1.00" in refusal(strict)
    loose = strict.model_copy(update={"gate": Gate(min_leaf_lift=0, min_recall=0.1)})
    assert truths(strict) == before
    report: Report = gate.run(loose, DAY_1)
    assert (report.details["passed"], report.reused) == (True, False)
    assert truths(strict) == before  # neither another reducer nor other bounds touch the full space


def truths(settings: Settings) -> dict[str, int]:
    """Files of full-space truth, and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in (settings.root / "truth").iterdir()}
