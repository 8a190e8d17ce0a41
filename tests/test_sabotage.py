"""Every way that we know to break an index without an error, and what the gate says of it.

The good shop passes twenty times of twenty: drawn anew, held out anew, embedded and built anew.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from drawn_shop import (
    DAY_1,
    DAY_2,
    LEAVES,
    RARE,
    add_day,
    ask,
    build,
    draw_shop,
    gated,
    serve,
    write_embedder,
)
from tiny_shop import copy_shop, rewrite

from model.errors import BadInput, SpaceMismatch
from model.reducer import fit_pca
from pipelines import embed, index, reduce
from pipelines.catalogue import read_catalogue
from pipelines.embed import embedding_store
from pipelines.index import read_arrow, write_arrow
from pipelines.reduce import REDUCER
from pipelines.settings import Reduce, Settings
from pipelines.step import Partition
from serving.engines import build_index, engine_of

Edit = Callable[[Path], None]

BASE, ITEMS = 1626, 1806  # of the drawn shop; a tenth is held out
MIXED_UP = (
    r"(\d+) rows of the index do not have the vector of their item's photo: ids, photos and "
    r"vectors are out of step"
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A shop up to its index. Read only."""
    settings = draw_shop(tmp_path_factory.mktemp("drawn") / "root")
    build(settings)
    return settings


@pytest.fixture
def shop(good: Settings, tmp_path: Path) -> Settings:
    return copy_shop(good, tmp_path / "root")


def failures(settings: Settings, edit: Edit) -> list[str]:
    """What the gate says of the index as `edit` leaves it."""
    rewrite(settings, "index", DAY_1, edit)
    return list(ask(settings)[2].failures)


def one_of(said: list[str], pattern: str) -> re.Match[str]:
    """The only failure that is the whole pattern."""
    (found,) = [match for failure in said if (match := re.fullmatch(pattern, failure))]
    return found


def edit_index(
    folder: Path,
    *,
    items: Callable[[Any], Any] = lambda items: items,
    vectors: Callable[[Any], Any] = lambda vectors: vectors,
    indexed: Callable[[Any], Any] = lambda base: base,
) -> None:
    """Write other items, other vectors, and an engine over other vectors still."""
    facts = json.loads((folder / "index.json").read_bytes())
    table = read_arrow(folder / "items.arrow")
    rows = items(np.arange(len(table)))
    new = vectors(np.load(folder / "vectors.npy")[rows])
    base = int((rows < facts["base"]).sum())
    for path in (folder / "items.arrow", folder / "vectors.npy", folder / "index.json"):
        path.unlink()
    for path in (folder / "index").iterdir():
        path.unlink()
    engine = build_index(indexed(new[:base].copy()), engine_of(facts["description"]))
    engine.save(folder / "index")
    write_arrow(table.take(rows), folder / "items.arrow")
    np.save(folder / "vectors.npy", new)
    facts |= {"base": base, "description": engine.description}
    (folder / "index.json").write_text(json.dumps(facts))


def rename(folder: Path, names: Callable[[list[str]], list[str]]) -> None:
    """Other ids for the same rows: what no search can notice."""
    table = read_arrow(folder / "items.arrow")
    place = table.column_names.index("item_id")
    renamed = table.set_column(place, "item_id", [names(table["item_id"].to_pylist())])
    (folder / "items.arrow").unlink()
    write_arrow(renamed, folder / "items.arrow")


@pytest.mark.parametrize("seed", range(20))
def test_a_good_shop_passes_twenty_times_of_twenty(tmp_path: Path, seed: int) -> None:
    verdict = gated(draw_shop(tmp_path / "root", seed=seed))
    assert verdict.failures == ()
    assert [row.slice for row in verdict.slices if row.judged] == [
        "all", "held-out", "wild", "category Summer", "category Winter", "filter 1 %",
    ]  # fmt: skip


def test_shuffled_ids(shop: Settings) -> None:
    def edit(folder: Path) -> None:
        rename(folder, lambda names: np.random.default_rng(0).permutation(names).tolist())

    said = failures(shop, edit)
    assert int(one_of(said, MIXED_UP)[1]) > 0.9 * ITEMS
    one_of(said, r"slice `all`: recall@10 is at least 0\.0.*, expected 0\.95 .*")


def test_two_ids_that_changed_places(shop: Settings) -> None:
    """Of one product even: no figure of search could tell."""

    def edit(folder: Path) -> None:
        rename(folder, lambda names: [names[1], names[0], *names[2:]])

    assert failures(shop, edit) == [MIXED_UP.replace(r"(\d+)", "2")]


def test_shuffled_vectors(shop: Settings) -> None:
    def edit(folder: Path) -> None:
        edit_index(folder, vectors=np.random.default_rng(0).permutation)

    one_of(failures(shop, edit), MIXED_UP)


def test_half_of_the_items_missing(shop: Settings) -> None:
    said = failures(shop, lambda folder: edit_index(folder, items=lambda rows: rows[::2]))
    found = one_of(
        said,
        r"(\d+) items of the catalogue are not in the index: (\d+) of `[^`]+`, \d+ of `[^`]+`, "
        r"\d+ of `[^`]+` and \d+ other categories",
    )
    assert int(found[1]) == ITEMS // 2


def test_half_of_the_vectors_missing_from_the_engine(shop: Settings) -> None:
    def half(base: Any) -> Any:
        first = base[: len(base) // 2]
        return np.concatenate([first, first, first[:1]])[: len(base)]

    said = failures(shop, lambda folder: edit_index(folder, indexed=half))
    coverage = one_of(said, r"coverage is (0\.\d+), expected 0\.995")
    assert 0.4 < float(coverage[1]) < 0.7
    one_of(said, r"\d+ items cannot be found by their own photo: .*")
    one_of(said, r"slice `category Winter`: recall@10 is at least .*")


def test_an_engine_of_fewer_vectors_than_items(shop: Settings) -> None:
    with pytest.raises(BadInput) as caught:
        failures(shop, lambda folder: edit_index(folder, indexed=lambda base: base[:900]))
    assert str(caught.value) == (
        f"The index of {DAY_1} is of other rows than its items. Expected {BASE} in the index and "
        f"{ITEMS} vectors. Received 900 and {ITEMS}. Run `python -m pipelines.index --ds {DAY_1}` "
        f"again."
    )


def test_too_few_dimensions(tmp_path: Path) -> None:
    """As a PCA of 16 is for a large shop: faithful to itself, and far from the full space."""
    settings = draw_shop(tmp_path / "root", reduce=Reduce(dimensions=8))
    said = gated(settings).failures
    found = one_of(
        list(said),
        r"slice `all`: recall@10 is at least (.*), expected 0\.95 \(reducer loses (.*), "
        r"float32 0\.000, engine 0\.000\)",
    )
    assert float(found[1]) < 0.9
    assert float(found[2]) > 0.1


def test_queries_of_another_embedder(shop: Settings) -> None:
    """Its file was replaced, and nothing else: stored vectors and spaces still agree."""

    def replaced(folder: Path) -> None:
        (folder / "embedder.onnx").unlink()
        write_embedder(folder / "embedder.onnx", "left")

    rewrite(shop, "train", DAY_1, replaced)
    assert list(ask(shop)[2].failures) == [
        "256 of 256 photos embedded again have another vector than the stored one: the embeddings "
        "are of another embedder"
    ]


def test_an_index_of_a_former_space_is_not_even_asked(shop: Settings) -> None:
    add_again(shop, DAY_1, "left")
    for step in (embed, reduce):
        step.run(shop, DAY_1)
    with pytest.raises(SpaceMismatch, match=r"The index was built in space \w+, the embedder of"):
        ask(shop)


def test_an_index_of_a_former_space_that_says_it_is_of_this_one(shop: Settings) -> None:
    former = np.load(Partition(shop, "index", DAY_1).output / "vectors.npy")
    add_again(shop, DAY_1, "left")
    build(shop)
    said = failures(shop, lambda folder: edit_index(folder, vectors=lambda _: former))
    one_of(said, MIXED_UP)
    one_of(said, r"slice `all`: recall@10 .*")


def add_again(settings: Settings, ds: Any, sees: str) -> None:
    """The same catalogue for `ds`, and another embedder."""
    items = read_catalogue(settings, DAY_1)
    photos = items.pixels.view(items.shards, items.items["pixel_key"].to_pylist())[:]
    add_day(settings, ds, items.items.to_pylist(), photos, sees)


def test_a_category_missing_from_the_index(shop: Settings) -> None:
    leaf = np.array(of_index(shop, "category"))
    said = failures(
        shop, lambda folder: edit_index(folder, items=lambda rows: rows[leaf != LEAVES[7]])
    )
    one_of(said, r"150 items of the catalogue are not in the index: 150 of `Summer > Leaf 1`")


def test_a_rare_category_missing_from_the_engine(shop: Settings) -> None:
    """Too small to move any mean: all items are there, and six of them cannot be found."""
    lost = np.array(of_index(shop, "category"))[:BASE] == RARE

    def without(base: Any) -> Any:
        base[lost] = base[0]
        return base

    said = failures(shop, lambda folder: edit_index(folder, indexed=without))
    assert said == ["6 items cannot be found by their own photo: 6 of `Summer > Rare`"]


def test_duplicated_rows(shop: Settings) -> None:
    def edit(folder: Path) -> None:
        edit_index(folder, items=lambda rows: np.concatenate([rows[:100], rows]))

    assert failures(shop, edit) == ["100 rows of the index repeat an item that has another"]


def test_duplicated_rows_in_place_of_others(shop: Settings) -> None:
    def edit(folder: Path) -> None:
        edit_index(folder, items=lambda rows: np.where((rows >= 100) & (rows < 200), 0, rows))

    said = failures(shop, edit)
    one_of(said, r"100 rows of the index repeat an item that has another")
    one_of(said, r"100 items of the catalogue are not in the index: .*")


def test_items_that_are_gone_from_the_catalogue(shop: Settings) -> None:
    def fewer(folder: Path) -> None:
        table = pq.read_table(folder / "items.parquet")
        kept = [item != "Summer-Leaf 3-07-1" for item in table["item_id"].to_pylist()]
        (folder / "items.parquet").unlink()
        pq.write_table(table.filter(kept), folder / "items.parquet")

    rewrite(shop, "ingest", DAY_1, fewer)
    assert list(ask(shop)[2].failures) == ["1 rows of the index are of no item of the catalogue"]


@pytest.mark.parametrize("share", [0.01, 0.5])
def test_zeroed_vectors(shop: Settings, share: float) -> None:
    def zeroed(vectors: Any) -> Any:
        vectors[: int(share * len(vectors))] = 0
        return vectors

    said = failures(shop, lambda folder: edit_index(folder, vectors=zeroed))
    assert int(one_of(said, MIXED_UP)[1]) == int(share * ITEMS)
    one_of(said, r"coverage is 0\.\d+, expected 0\.995")


def test_a_reducer_of_the_new_season_loses_the_old_one(shop: Settings) -> None:
    """Its directions are those in which summer's photos differ."""

    def of_summer(folder: Path) -> None:
        items = read_catalogue(shop, DAY_1).items.to_pylist()
        keys = [row["pixel_key"] for row in items if row["category"].startswith("Summer")]
        store, shards = embedding_store(shop, DAY_1)
        (folder / REDUCER).unlink()
        fit_pca([store.view(shards, keys)[:]], 18).save(folder / REDUCER)

    rewrite(shop, "reduce", DAY_1, of_summer)
    index.run(shop, DAY_1)
    said = list(ask(shop)[2].failures)
    found = one_of(
        said,
        r"slice `category Winter`: recall@10 is at least (.*), expected 0\.90 \(reducer loses "
        r"(.*), float32 0\.000, engine 0\.000\)",
    )
    assert float(found[2]) > 0.05
    assert not any("category Summer" in failure for failure in said)


def test_an_embedder_of_the_new_season_forgot_the_old_one(shop: Settings) -> None:
    """The index is faithful to it, so only what serves now tells that winter is lost."""
    serve(shop)
    add_again(shop, DAY_2, "right")
    build(shop, DAY_2)
    verdict = ask(shop, DAY_2)[2]
    assert all(row.lower_bound > row.bound for row in verdict.slices if row.judged)
    found = one_of(
        list(verdict.failures),
        r"slice `category Winter`: (.*) of the answers are of the query's category, (.*) with the "
        r"bundle that serves now; expected at most 0\.10 less",
    )
    assert float(found[1]) < 0.4
    assert float(found[2]) > 0.7
    assert not any("category Summer" in failure for failure in verdict.failures)


def test_the_same_embedder_again_loses_nothing(shop: Settings) -> None:
    serve(shop)
    add_again(shop, DAY_2, "all")
    build(shop, DAY_2)
    bench, asked, verdict = ask(shop, DAY_2)
    assert verdict.failures == ()
    assert {row.gain_at_most for row in verdict.answers.rivals} == {0.0}
    churn = bench.churn(asked)
    assert (churn["against_champion"], churn["noise"], churn["net"]) == (0.0, 0.0, 0.0)
    assert churn["recall"] == churn["recall_again"] == verdict.slices[0].recall


def of_index(settings: Settings, column: str) -> list[Any]:
    items = read_arrow(Partition(settings, "index", DAY_1).output / "items.arrow")
    return list(items[column].to_pylist())
