"""Embeddings by content, and the reducer that is kept with its embedder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from conftest import CopyShop
from tiny_graph import write_mean_colours
from tiny_shop import DAY_1, DAY_2, forget, rewrite

from model.errors import BadInput
from model.quantise import quantise
from model.reducer import fit_pca
from pipelines import embed, reduce
from pipelines.catalogue import pixel_store, read_catalogue, read_shards
from pipelines.embed import embedder_path, embedding_store
from pipelines.reduce import read_reducer, space_id
from pipelines.settings import Embed, Preprocess, Reduce, Settings
from pipelines.step import Partition, Report, file_digest
from pipelines.tracking import client
from serving.embedder import Embedder


def done(settings: Settings, step: str, ds: Any) -> Report:
    return Partition(settings, step, ds).done()


def shards(settings: Settings, ds: Any) -> list[str]:
    return read_shards(Partition(settings, "preprocess", ds).output)


def all_embeddings(settings: Settings, ds: Any) -> Any:
    """Of every photo, in the order of their keys."""
    keys = sorted(set(read_catalogue(settings, ds).items["pixel_key"].to_pylist()))
    store, names = embedding_store(settings, ds)
    return store.view(names, keys)[:]


def test_embeddings_are_those_of_the_exported_graph(shop: Settings) -> None:
    train = Partition(shop, "train", DAY_1)
    store, names = embedding_store(shop, DAY_1)
    assert names == shards(shop, DAY_1)
    assert store.folder == shop.root / "embeddings" / train.done().details["embedder"]
    embedder = Embedder(train.output / "embedder.onnx")
    for name in names:
        keys, photos = pixel_store(shop.root, shop.pixel_spec).read(name)
        found, vectors = store.read(name)
        assert found == keys
        np.testing.assert_array_equal(vectors, embedder.embed(photos)[0])
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_the_report_of_embed(shop: Settings) -> None:
    report = done(shop, "embed", DAY_1)
    assert report.rows == done(shop, "preprocess", DAY_1).details["decoded"]
    assert report.details == {
        "embedder": done(shop, "train", DAY_1).details["embedder"],
        "dimensions": embedding_store(shop, DAY_1)[0].shape[0],
        "new_shards": len(shards(shop, DAY_1)),
        "kept_shards": 0,
        "precisions": "float32 int8",
    }


def test_the_next_day_embeds_only_its_new_shards(two_days: Settings) -> None:
    report = done(two_days, "embed", DAY_2)
    kept = len(shards(two_days, DAY_1))
    assert (report.rows, report.details["new_shards"], report.details["kept_shards"]) == (
        3, 1, kept,
    )  # fmt: skip
    store, names = embedding_store(two_days, DAY_2)
    assert names == shards(two_days, DAY_2)
    assert sorted(path.stem for path in store.folder.iterdir()) == sorted(names)


def test_a_broken_off_backfill_goes_on_with_what_is_missing(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    former = done(settings, "embed", DAY_1)
    forget(settings, DAY_1, "embed")
    store = embed.embedding_store
    names = shards(settings, DAY_1)
    folder = settings.root / "embeddings" / str(former.details["embedder"])
    lost, kept = names[:2], names[2:]
    inodes = {name: (folder / f"{name}.arrow").stat().st_ino for name in kept}
    digests = {name: file_digest(folder / f"{name}.arrow") for name in names}
    for name in lost:
        (folder / f"{name}.arrow").unlink()
    (folder / f".{lost[0]}.999").write_bytes(b"half a shard of a killed run")
    report = embed.run(settings, DAY_1)
    assert (report.details["new_shards"], report.details["kept_shards"]) == (2, len(kept))
    assert report.digest == former.digest
    assert {name: file_digest(folder / f"{name}.arrow") for name in names} == digests
    assert {name: (folder / f"{name}.arrow").stat().st_ino for name in kept} == inodes
    assert store(settings, DAY_1)[1] == names


def test_a_new_embedder_fills_every_shard_and_leaves_the_old_ones(retrained: Settings) -> None:
    report = done(retrained, "embed", DAY_2)
    assert (report.details["new_shards"], report.details["kept_shards"]) == (
        len(shards(retrained, DAY_2)), 0,
    )  # fmt: skip
    old, new = (embedding_store(retrained, ds)[0].folder for ds in (DAY_1, DAY_2))
    assert old != new
    assert {path.name for path in old.iterdir()} == {path.name for path in new.iterdir()}


def test_the_int8_form_is_calibrated_on_training_photos(shop: Settings, tmp_path: Path) -> None:
    catalogue = read_catalogue(shop, DAY_1)
    items = catalogue.items.filter(pc.equal(catalogue.items["split"], "train"))
    keys = sorted(set(items["pixel_key"].to_pylist()))
    photos = catalogue.pixels.view(catalogue.shards, keys)[:]
    assert 200 < len(photos) <= shop.embed.calibration_photos
    quantise(embedder_path(shop, DAY_1, "float32"), photos, tmp_path / "again.onnx")
    path = embedder_path(shop, DAY_1, "int8")
    assert path.parent == Partition(shop, "embed", DAY_1).output
    assert path.read_bytes() == (tmp_path / "again.onnx").read_bytes()
    assert Embedder(path).precision == "int8"


def test_the_int8_form_stays_with_its_embedder(two_days: Settings, retrained: Settings) -> None:
    """Its ranges are those of the day it was made on, or queries would move every day."""
    first, second = (embedder_path(two_days, ds, "int8") for ds in (DAY_1, DAY_2))
    assert file_digest(first) == file_digest(second)
    inputs = [done(two_days, "embed", ds).inputs for ds in (DAY_1, DAY_2)]
    assert inputs[0]["calibrated_on"] == inputs[1]["calibrated_on"]
    assert file_digest(embedder_path(retrained, DAY_2, "int8")) != file_digest(first)


def test_other_precisions_embed_nothing_again(shop_copy: CopyShop) -> None:
    settings = shop_copy(embed=Embed(precisions=("float32", "bfloat16")))
    report = embed.run(settings, DAY_1)
    assert (report.reused, report.rows, report.details["new_shards"]) == (False, 0, 0)
    assert report.details["precisions"] == "float32 bfloat16"
    assert Embedder(embedder_path(settings, DAY_1, "bfloat16")).precision == "bfloat16"
    with pytest.raises(BadInput) as caught:
        embedder_path(settings, DAY_1, "int8")
    assert str(caught.value) == f"`embed` made no int8 embedder for {DAY_1}. Run it again."


def mean_colours(folder: Path) -> None:
    """Another network in the place of the embedder: one that has nothing to quantise."""
    (folder / "embedder.onnx").unlink()
    write_mean_colours(folder / "embedder.onnx", 32)


def test_a_network_without_an_int8_form_serves_in_float32(shop_copy: CopyShop) -> None:
    settings = shop_copy(embed=Embed(calibration_photos=8))
    rewrite(settings, "train", DAY_1, mean_colours)
    assert embed.run(settings, DAY_1).details["precisions"] == "float32"
    with pytest.raises(BadInput) as caught:
        embedder_path(settings, DAY_1, "int8")
    assert str(caught.value) == (
        "Cannot make an int8 embedder of this graph. Expected convolutions after the first. "
        "Received none. Take int8 out of `embed.precisions`."
    )


def test_the_reducer_is_the_pca_of_the_day(shop: Settings) -> None:
    embeddings = all_embeddings(shop, DAY_1)
    wanted, found = fit_pca([embeddings], 12), read_reducer(shop, DAY_1)
    np.testing.assert_allclose(found.components, wanted.components, atol=1e-5)
    report = done(shop, "reduce", DAY_1)
    output = Partition(shop, "reduce", DAY_1).output
    curve = json.loads((output / "curve.json").read_bytes())
    (point,) = curve["points"]
    assert report.details == {
        "kept": False,
        "method": "pca",
        "from": 12,
        "to": 12,
        "explained": round(float(found.explained.sum()), 5),
        "reducer": file_digest(output / "reducer.npz")[:16],
        "compression": 1.0,
        "loss": round(point["loss"], 4),
        "recall": round(point["recall"], 4),
        "floor": round(point["floor"], 4),
    }
    assert report.rows == len(embeddings)
    assert (curve["width"], point["method"], point["dimensions"]) == (12, "pca", 12)
    assert point["recall"] == 1


def test_the_reducer_stays_with_its_embedder(two_days: Settings) -> None:
    first, second = (done(two_days, "reduce", ds) for ds in (DAY_1, DAY_2))
    assert second.details == {**first.details, "kept": True}
    assert (second.rows, second.digest) == (0, first.digest)
    assert space_id(two_days, DAY_1) == space_id(two_days, DAY_2)


def test_a_new_embedder_gets_a_new_reducer(retrained: Settings) -> None:
    report = done(retrained, "reduce", DAY_2)
    assert (report.details["kept"], report.rows) == (False, len(all_embeddings(retrained, DAY_2)))
    assert report.details["reducer"] != done(retrained, "reduce", DAY_1).details["reducer"]


def test_more_dimensions_than_there_are_are_refused(shop_copy: CopyShop) -> None:
    with pytest.raises(BadInput) as caught:
        reduce.run(shop_copy(reduce=Reduce(dimensions=17)), DAY_1)
    assert str(caught.value) == (
        "Cannot reduce to 17 dimensions. Expected 1 to 12, the width of the embedding. "
        "Lower `reduce.dimensions`, or set it to `auto`."
    )


def test_dimensions_are_chosen_by_the_curve(shop_copy: CopyShop) -> None:
    settings = shop_copy(reduce=Reduce(dimensions="auto", method="auto", max_loss=0.05))
    details = reduce.run(settings, DAY_1).details
    output = Partition(settings, "reduce", DAY_1).output
    points = json.loads((output / "curve.json").read_bytes())["points"]
    assert {point["method"] for point in points} == {"pca", "whiten", "truncate"}
    chosen = [
        point
        for point in points
        if (point["method"], point["dimensions"]) == (details["method"], details["to"])
    ]
    assert [(point["keeps_quality"], point["keeps_neighbours"]) for point in chosen] == [
        (True, True)
    ]
    assert details["compression"] == round(12 / details["to"], 2)
    assert read_reducer(settings, DAY_1).components.shape == (12, details["to"])
    tracker = client(settings)
    run = tracker.get_run(details["mlflow_run"])
    assert run.data.tags["step"] == "reduce"
    assert run.data.params["chosen"] == f"{details['method']} {details['to']}"
    assert run.data.metrics["dimensions"] == details["to"]
    names = {artifact.path for artifact in tracker.list_artifacts(run.info.run_id)}
    assert names == {"curve.json", "curve.png"}
    # The same rule on the same photos is no new choice; another rule is.
    assert reduce.run(settings, DAY_1).reused
    gate = settings.gate.model_copy(update={"min_recall": 1.0})
    strict = settings.model_copy(update={"gate": gate})
    again = reduce.run(strict, DAY_1)
    assert (again.reused, again.details["to"]) == (False, 12)


def test_the_space_changes_with_each_of_its_parts(
    shop: Settings, retrained: Settings, shop_copy: CopyShop
) -> None:
    fewer = shop_copy(reduce=Reduce(dimensions=8))
    reduce.run(fewer, DAY_1)
    spec = Preprocess(pixel_spec="decode|orient|resize(48)|pad")
    spaces = {
        "as it was": space_id(shop, DAY_1),
        "pixel spec": space_id(shop.model_copy(update={"preprocess": spec}), DAY_1),
        "embedder": space_id(retrained, DAY_2),
        "reducer": space_id(fewer, DAY_1),
    }
    assert len(set(spaces.values())) == len(spaces)
    assert {len(space) for space in spaces.values()} == {16}
    again = shop_copy("again")
    assert space_id(again, DAY_1) == spaces["as it was"]


def test_what_embed_wrote_names_its_shards(shop: Settings) -> None:
    path = Partition(shop, "embed", DAY_1).output / "embeddings.json"
    assert json.loads(path.read_bytes()) == {
        "embedder": done(shop, "train", DAY_1).details["embedder"],
        "dimensions": Embedder(embedder_path(shop, DAY_1, "float32")).dimensions,
        "shards": shards(shop, DAY_1),
        "not_made": {},
    }
