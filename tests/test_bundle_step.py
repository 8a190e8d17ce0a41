"""One sealed folder of everything that answers a query, or none."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from conftest import CopyShop
from onnx import numpy_helper
from tiny_shop import DAY_1, DAY_2, forget, rewrite

from model.errors import Damaged, Refused
from model.reducer import unit
from pipelines import bundle
from pipelines.bundle import bundle_digest
from pipelines.catalogue import read_taxonomy
from pipelines.index import SERVED, read_arrow
from pipelines.reduce import space_id
from pipelines.release import roll_back
from pipelines.settings import Settings
from pipelines.step import Partition, file_digest, files_below
from serving.bundle import CATEGORIES, LOCALISER, Bundle, verify
from serving.champion import self_test
from serving.embedder import Embedder
from serving.engine import Engine
from serving.shown import COLUMN

pytestmark = pytest.mark.filterwarnings("ignore:.*[Ss]tage.*:FutureWarning")  # MLflow's, on stages


def sealed(settings: Settings, ds: Any) -> Bundle:
    digest = bundle_digest(settings, ds)
    return verify(settings.root / "bundles" / digest, digest)


def stored(settings: Settings) -> list[str]:
    return sorted(path.name for path in (settings.root / "bundles").iterdir())


def test_the_manifest_says_where_everything_comes_from(shop: Settings) -> None:
    found = sealed(shop, DAY_1)
    manifest = dict(found.manifest)
    train = Partition(shop, "train", DAY_1).done().details
    index = json.loads((Partition(shop, "index", DAY_1).output / "index.json").read_bytes())
    verdict = (Partition(shop, "gate", DAY_1).output / "verdict.json").read_bytes()
    files = manifest.pop("files")
    created = manifest.pop("created")
    cosines = {name: manifest.pop(name) for name in ("parity_cosine", "precision_cosine")}
    assert manifest == {
        "schema_version": 2,
        "ds": DAY_1.isoformat(),
        "space_id": space_id(shop, DAY_1),
        "pixel_spec": shop.preprocess.pixel_spec,
        "embedder": train["embedder"],
        "precision": json.loads(verdict)["precision"],
        "trained": train["trained"],
        "mlflow_run": train["mlflow_run"],
        "index": index["description"],
        "counts": {"base": index["base"], "held_out": index["held_out"]},
        "live_sequence": 0,
        "verdict": json.loads(verdict),
    }
    assert 0.9999 <= cosines["parity_cosine"] <= 1.0001
    assert 0.99 <= cosines["precision_cosine"] <= 1.0001
    assert created.endswith("+00:00")
    assert {name.split("/")[0] for name in files} == {
        "embedder.onnx", "index", "items.arrow", "localiser.onnx", "taxonomy.json", "transform",
        "vectors.npy", "verdict.json",
    }  # fmt: skip
    assert Partition(shop, "bundle", DAY_1).done().details == {
        "bundle": found.digest,
        "space_id": space_id(shop, DAY_1),
        "precision": manifest["precision"],
        **cosines,
        "megabytes": round(sum(p.stat().st_size for p in files_below(found.folder)) / 1e6, 2),
    }


def test_the_bundle_answers(shop: Settings) -> None:
    """Every item finds itself first by its photo, through the fused graph."""
    engine = Engine(sealed(shop, DAY_1))
    self_test(engine)
    rows = engine.items.table.slice(0, 20).to_pylist()
    for row in rows:
        hits = engine.search((shop.root / row["image"]).read_bytes(), 3, "whole").hits
        assert hits[0]["score"] > 0.98
    assert tuple(engine.items.table.column_names) == (*SERVED, COLUMN)
    index = read_arrow(Partition(shop, "index", DAY_1).output / "items.arrow")
    assert engine.items.table["item_id"].to_pylist() == index["item_id"].to_pylist()


def test_the_bundle_can_be_moved(shop: Settings, tmp_path: Path) -> None:
    found = sealed(shop, DAY_1)
    place = str(shop.root.resolve()).encode()
    named = [path.name for path in files_below(found.folder) if place in path.read_bytes()]
    assert named == []
    moved = tmp_path / "elsewhere"
    found.folder.rename(moved)
    try:
        self_test(Engine(verify(moved, found.digest)))
    finally:
        moved.rename(found.folder)


def test_a_bundle_of_an_older_embedder_has_the_leaves_it_knows(two_days: Settings) -> None:
    """The second day brought a leaf that the network has never seen."""
    first, second = (read_taxonomy(two_days, ds).leaves for ds in (DAY_1, DAY_2))
    assert len(second) == len(first) + 1
    assert sealed(two_days, DAY_2).taxonomy.leaves == first
    self_test(Engine(sealed(two_days, DAY_2)))


def test_other_days_and_other_recipes_are_other_bundles(
    two_days: Settings, retrained: Settings
) -> None:
    digests = {
        bundle_digest(two_days, DAY_1),
        bundle_digest(two_days, DAY_2),
        bundle_digest(retrained, DAY_2),
    }
    assert len(digests) == 3
    assert set(stored(retrained)) == digests


def test_nothing_new_seals_nothing_new(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    before = stored(settings)
    assert bundle.run(settings, DAY_1).reused
    assert stored(settings) == before


def test_one_other_byte_is_another_bundle(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    former = sealed(settings, DAY_1)

    def reworded(folder: Path) -> None:
        text = (folder / "verdict.json").read_text()
        (folder / "verdict.json").unlink()
        (folder / "verdict.json").write_text(text.replace('"k": 10', '"k":  10'))

    rewrite(settings, "gate", DAY_1, reworded)
    bundle.run(settings, DAY_1)
    found = sealed(settings, DAY_1)
    assert found.digest != former.digest
    files = former.manifest["files"]
    changed = {name for name, digest in found.manifest["files"].items() if files[name] != digest}
    assert changed == {"verdict.json"}


def test_a_sealed_bundle_does_not_change_with_the_steps(shop_copy: CopyShop) -> None:
    """It shares the bytes of the outputs, and outlives them."""
    settings = shop_copy()
    forget(settings, DAY_1, "index", "gate", "preprocess")
    digest = str(Partition(settings, "register", DAY_1).done().details["bundle"])
    self_test(Engine(verify(settings.root / "bundles" / digest, digest)))


def test_an_index_of_other_vectors_is_never_bundled(shop_copy: CopyShop) -> None:
    """The gate passed once; then the vectors are no longer those of the embedder."""
    settings = shop_copy()

    def turned(folder: Path) -> None:
        vectors = np.load(folder / "vectors.npy")
        (folder / "vectors.npy").unlink()
        np.save(folder / "vectors.npy", unit(vectors + np.float32(0.05)))

    rewrite(settings, "index", DAY_1, turned)
    before = stored(settings)
    former = Partition(settings, "bundle", DAY_1).done()
    with pytest.raises(Refused) as caught:
        bundle.run(settings, DAY_1)
    assert str(caught.value).startswith(
        "The fused float32 embedder does not give the vectors of the index. Expected a cosine of "
        "at least 0.9999. Received: 0.9"
    )
    assert stored(settings) == before
    assert Partition(settings, "bundle", DAY_1).done() == former


def choose(settings: Settings, precision: str) -> None:
    """As if the gate had found this one the fastest."""

    def chosen(folder: Path) -> None:
        (folder / "chosen").write_text(precision)

    report = rewrite(settings, "gate", DAY_1, chosen)
    details = {**report.details, "precision": precision}
    path = Partition(settings, "gate", DAY_1).folder / "report.json"
    path.write_text(report.model_copy(update={"details": details}).model_dump_json())


def test_the_precision_that_the_gate_chose_is_bundled_alone(shop_copy: CopyShop) -> None:
    cosines = {}
    for precision in ("float32", "int8"):
        settings = shop_copy(precision)
        choose(settings, precision)
        bundle.run(settings, DAY_1)
        found = sealed(settings, DAY_1)
        assert found.manifest["precision"] == precision
        graphs = [name for name in found.manifest["files"] if name.endswith(".onnx")]
        assert graphs == ["embedder.onnx", "localiser.onnx"]
        assert Embedder(found.folder / "embedder.onnx").precision == precision
        self_test(Engine(found))
        cosines[precision] = found.manifest["precision_cosine"]
    assert 0.99 < cosines["int8"] < cosines["float32"]


def test_another_network_in_eight_bits_is_never_bundled(shop_copy: CopyShop) -> None:
    """The float32 one is that of the index; the one that would serve is not."""
    settings = shop_copy()

    def of_noise(folder: Path) -> None:
        rng = np.random.default_rng(0)
        path = folder / "embedder.int8.onnx"
        model = onnx.load(path)
        for value in model.graph.initializer:
            if value.data_type == onnx.TensorProto.INT8 and value.dims:
                weights = numpy_helper.to_array(value)
                noise = rng.integers(-127, 128, weights.shape, np.int8)
                value.CopyFrom(numpy_helper.from_array(noise, value.name))
        path.unlink()
        onnx.save(model, path)

    rewrite(settings, "embed", DAY_1, of_noise)
    choose(settings, "int8")
    with pytest.raises(Refused) as caught:
        bundle.run(settings, DAY_1)
    assert str(caught.value).startswith(
        "The fused int8 embedder does not give the vectors of the index. Expected a cosine of at "
        "least 0.99. Received: "
    )


def test_a_bundle_says_which_live_changes_it_has(shop_copy: CopyShop) -> None:
    """Also where none of them changed an item: the feed was newer, and they must not come back."""
    settings = shop_copy()
    former = sealed(settings, DAY_1)
    ingest = Partition(settings, "ingest", DAY_1)
    report = ingest.done()
    later = report.model_copy(update={"details": {**report.details, "live_sequence": 7}})
    (ingest.folder / "report.json").write_text(later.model_dump_json())
    assert not bundle.run(settings, DAY_1).reused
    found = sealed(settings, DAY_1)
    assert (former.manifest["live_sequence"], found.manifest["live_sequence"]) == (0, 7)
    assert found.manifest["files"] == former.manifest["files"]


def test_a_bundle_has_the_categories_that_the_shop_has_fixed(shop_copy: CopyShop) -> None:
    """As those of its day, also where nothing else changed; without a taxonomy file, none."""
    settings = shop_copy()
    assert sealed(settings, DAY_1).categories is None
    for fixed in (["Home", "Home > Lamps"], ["Home"]):

        def fix(folder: Path, paths: list[str] = fixed) -> None:
            (folder / CATEGORIES).unlink(missing_ok=True)
            (folder / CATEGORIES).write_text(json.dumps(paths))

        fix.__qualname__ = f"fix {fixed}"  # which edit it is
        rewrite(settings, "ingest", DAY_1, fix)
        assert not bundle.run(settings, DAY_1).reused
        assert sealed(settings, DAY_1).categories == frozenset(fixed)
        assert bundle.run(settings, DAY_1).reused


def test_a_damaged_bundle_is_made_again_or_refused(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    found = sealed(settings, DAY_1)
    path = found.folder / "items.arrow"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-1] + b"\x07")
    with pytest.raises(Damaged, match=r"The file items\.arrow of bundle"):
        sealed(settings, DAY_1)
    forget(settings, DAY_1, "bundle")
    bundle.run(settings, DAY_1)
    self_test(Engine(sealed(settings, DAY_1)))


def test_the_statistics_of_the_day_travel_along(shop: Settings) -> None:
    output = Partition(shop, "preprocess", DAY_1).output
    found = sealed(shop, DAY_1)
    names = [path.relative_to(output) for path in files_below(output / "transform")]
    assert names
    for name in names:
        assert file_digest(found.folder / name) == file_digest(output / name)


def test_prices_and_stock_are_those_of_the_feed(shop: Settings) -> None:
    columns = ["item_id", "title", "brand", "category", "price", "currency", "in_stock"]
    path = Partition(shop, "ingest", DAY_1).output / "items.parquet"
    feed = {row["item_id"]: row for row in pq.read_table(path, columns=columns).to_pylist()}
    served = Engine(sealed(shop, DAY_1)).items.table.select(columns).to_pylist()
    assert served == [feed[row["item_id"]] for row in served]


def flip(path: Path, also: Path) -> None:
    """A bit of a file that both share; not in the session's own, of which they are links."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    for each in (path, also):
        each.unlink()
    path.write_bytes(data)
    os.link(path, also)


def test_two_days_hold_once_what_they_have_alike(two_days: Settings) -> None:
    """Of one embedder; its precision is chosen anew each day."""
    one, two = (sealed(two_days, ds) for ds in (DAY_1, DAY_2))
    listed = one.manifest["files"]
    alike = {name for name, digest in two.manifest["files"].items() if listed.get(name) == digest}
    assert alike >= {LOCALISER, "taxonomy.json"}
    common = listed.keys() & two.manifest["files"].keys()
    assert alike == {n for n in common if (one.folder / n).samefile(two.folder / n)}


def test_a_bundle_that_comes_back_has_no_part_in_the_damage(two_days_copy: CopyShop) -> None:
    """A bit flips in the file that both days share; the artefact store has a whole one."""
    settings = two_days_copy()
    one, two = (sealed(settings, ds) for ds in (DAY_1, DAY_2))
    flip(one.folder / LOCALISER, two.folder / LOCALISER)
    for each in (one, two):
        with pytest.raises(Damaged, match=r"^The file localiser\.onnx of bundle"):
            verify(each.folder, each.digest)
    shutil.rmtree(one.folder)
    roll_back(settings, to=None, who="ada", why="a disk fault")
    assert verify(one.folder, one.digest) == one
    assert not (one.folder / LOCALISER).samefile(two.folder / LOCALISER)
    assert (one.folder / "taxonomy.json").samefile(two.folder / "taxonomy.json")  # which is whole
    with pytest.raises(Damaged):
        verify(two.folder, two.digest)
