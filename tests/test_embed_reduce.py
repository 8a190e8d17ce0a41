"""Embeddings by content, and the reducer that is kept with its embedder."""

import json
from typing import Any

import numpy as np
from conftest import CopyShop
from tiny_shop import DAY_1, DAY_2, forget

from model.pca import fit_pca
from pipelines import embed, reduce
from pipelines.catalogue import pixel_store, read_catalogue, read_shards
from pipelines.embed import embedding_store
from pipelines.reduce import read_reducer, space_id
from pipelines.settings import Preprocess, Reduce, Settings
from pipelines.step import Partition, Report, file_digest
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
        "dimensions": 16,
        "new_shards": len(shards(shop, DAY_1)),
        "kept_shards": 0,
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


def test_the_reducer_is_the_pca_of_the_day(shop: Settings) -> None:
    embeddings = all_embeddings(shop, DAY_1)
    wanted, found = fit_pca([embeddings], 12), read_reducer(shop, DAY_1)
    np.testing.assert_allclose(found.components, wanted.components, atol=1e-5)
    report = done(shop, "reduce", DAY_1)
    path = Partition(shop, "reduce", DAY_1).output / "reducer.npz"
    assert report.details == {
        "kept": False,
        "from": 16,
        "to": 12,
        "explained": round(float(found.explained.sum()), 5),
        "reducer": file_digest(path)[:16],
    }
    assert report.rows == len(embeddings)


def test_the_reducer_stays_with_its_embedder(two_days: Settings) -> None:
    first, second = (done(two_days, "reduce", ds) for ds in (DAY_1, DAY_2))
    assert second.details == {**first.details, "kept": True}
    assert (second.rows, second.digest) == (0, first.digest)
    assert space_id(two_days, DAY_1) == space_id(two_days, DAY_2)


def test_a_new_embedder_gets_a_new_reducer(retrained: Settings) -> None:
    report = done(retrained, "reduce", DAY_2)
    assert (report.details["kept"], report.rows) == (False, len(all_embeddings(retrained, DAY_2)))
    assert report.details["reducer"] != done(retrained, "reduce", DAY_1).details["reducer"]


def test_more_dimensions_than_there_are_keep_all(shop_copy: CopyShop) -> None:
    settings = shop_copy(reduce=Reduce(dimensions=500))
    report = reduce.run(settings, DAY_1)
    assert {name: report.details[name] for name in ("kept", "to", "explained")} == {
        "kept": False,
        "to": 16,
        "explained": 1.0,
    }


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
        "dimensions": 16,
        "shards": shards(shop, DAY_1),
    }
