"""What serves, asked with the gate's queries: its answers, and how many of ours are others."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawn_shop import DAY_1, DAY_2, add_day, build, draw_shop, serve
from hypothesis import given
from hypothesis import strategies as st
from tiny_shop import copy_shop, rewrite

from pipelines.catalogue import Catalogue, read_catalogue
from pipelines.champion_answers import Champion, ask_champion, champion_before, churn
from pipelines.index import read_arrow
from pipelines.queries import Queries, read_queries
from pipelines.settings import Preprocess, Settings
from pipelines.step import Partition
from pipelines.verdict import Rival

BASE = 1626  # items of the drawn shop's index


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two days of the same catalogue; the first one's bundle serves."""
    settings = draw_shop(tmp_path_factory.mktemp("drawn") / "root")
    build(settings)
    serve(settings)
    catalogue = read_catalogue(settings, DAY_1)
    photos = catalogue.pixels.view(catalogue.shards, catalogue.items["pixel_key"].to_pylist())[:]
    add_day(settings, DAY_2, catalogue.items.to_pylist(), photos, "all")
    return settings


def ask(settings: Settings, queries: Queries | None = None) -> Champion | None:
    catalogue = read_catalogue(settings, DAY_2)
    return ask_champion(settings, DAY_2, catalogue, queries or queries_of(settings, catalogue))


def queries_of(settings: Settings, catalogue: Catalogue) -> Queries:
    items = read_arrow(Partition(settings, "index", DAY_1).output / "items.arrow")
    return read_queries(catalogue, items.slice(BASE), DAY_2)


def test_its_answers_and_how_many_are_right(shop: Settings) -> None:
    queries = queries_of(shop, read_catalogue(shop, DAY_2))
    found = ask(shop)
    assert found is not None
    assert found.asked.tolist() == list(range(len(queries)))
    assert found.ids.shape == (len(queries), 10)
    wanted = queries.items["category"].to_pylist()
    shares = [
        np.mean([item.startswith(leaf.replace(" > ", "-")) for item in row])
        for row, leaf in zip(found.ids.tolist(), wanted, strict=True)
    ]
    np.testing.assert_allclose(found.right, shares)
    assert found.right.mean() > 0.9


def test_an_item_does_not_answer_itself(shop: Settings) -> None:
    """What is held out today may have been in the champion's index."""
    catalogue = read_catalogue(shop, DAY_2)
    items = read_arrow(Partition(shop, "index", DAY_1).output / "items.arrow")
    queries = read_queries(catalogue, items.slice(0, 50), DAY_2)
    found = ask(shop, queries)
    assert found is not None
    own = np.array(queries.items["item_id"].to_pylist())
    assert not (found.ids == own[:, None]).any()
    assert found.ids.shape[1] == 10
    assert (found.ids != "").all()


def test_categories_are_those_of_today(shop: Settings, tmp_path: Path) -> None:
    """A category that was renamed since the champion was made is no loss."""
    settings = copy_shop(shop, tmp_path / "root")

    def renamed(folder: Path) -> None:
        table = pq.read_table(folder / "items.parquet")
        (folder / "items.parquet").unlink()
        pq.write_table(in_cold_times(table), folder / "items.parquet")

    rewrite(settings, "ingest", DAY_2, renamed)
    queries = queries_of(shop, read_catalogue(shop, DAY_2))
    now = ask(settings, Queries(in_cold_times(queries.items), queries.slices))
    before = ask(shop)
    assert now is not None
    assert before is not None
    np.testing.assert_array_equal(now.right, before.right)


def in_cold_times(items: pa.Table) -> pa.Table:
    names = [name.replace("Winter", "Cold") for name in items["category"].to_pylist()]
    return items.set_column(items.column_names.index("category"), "category", [names])


def test_nobody_is_asked_where_nothing_can_answer(shop: Settings, tmp_path: Path) -> None:
    catalogue = read_catalogue(shop, DAY_2)
    queries = queries_of(shop, catalogue)
    assert champion_before(shop.root, DAY_1) is None
    assert ask_champion(shop, DAY_1, catalogue, queries) is None
    nobody = Queries(queries.items.slice(0, 0), {})
    assert ask_champion(shop, DAY_2, catalogue, nobody) is None
    other = shop.model_copy(
        update={"preprocess": Preprocess(pixel_spec="decode|orient|resize(32)|pad")}
    )
    assert ask_champion(other, DAY_2, catalogue, queries) is None
    lost = copy_shop(shop, tmp_path / "root")
    shutil.rmtree(lost.root / "bundles")
    assert ask(lost) is None


def test_a_slice_is_compared_where_both_have_its_leaf() -> None:
    ours = np.array([1.0, 0.5, np.nan, 0.5, 0.9, 0.0])
    champion = Champion(
        asked=np.array([0, 1, 2, 3, 5]),
        ids=np.full((5, 1), "a"),
        right=np.array([1.0, 1.0, 1.0, np.nan, 0.5]),
    )
    queries = Queries(
        pa.table({"item_id": list("abcdef")}),
        {"wild": np.array([0, 0, 1, 1, 1, 0], bool), "new": np.array([1, 1, 0, 0, 0, 0], bool)},
    )
    assert champion.rivals(queries, ours, 200) == (
        Rival("all", 3, 0.5, 0.8333, -0.1667),  # no loss in 1 of 27 draws: too few
        Rival("new", 2, 0.75, 1.0, 0.0),
    )


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 10))
def test_churn_is_the_share_of_other_answers(seed: int, queries: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    ours, theirs = (
        np.stack([rng.choice(30, k, replace=False) for _ in range(queries)]).astype(str)
        for _ in range(2)
    )
    shared = [len(set(one) & set(other)) for one, other in zip(ours, theirs, strict=True)]
    assert churn(ours, theirs) == pytest.approx(1 - sum(shared) / (queries * k))
    assert churn(ours, ours[:, ::-1]) == 0
    assert churn(ours[:0], theirs[:0]) == 0
