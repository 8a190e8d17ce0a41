"""Changes folded into an index: the same rows are found as if it had been built anew."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_effort import vectors

from model.errors import BadInput
from pipelines.fold import Rows, Wear, can_fold, fold
from serving.engines import build_index
from serving.scann_index import ScannIndex

FORMS = ("ah=2,float32", "tree=30,avq=2.5,ah=2,float32", "tree=30,ah=2,bfloat16")


def rows(names: list[str], seed: int = 0) -> Rows:
    """Each name has a photo and a vector of its own, whatever the others are."""
    drawn = vectors(4000, seed)
    photos = [f"{name} in {seed}" for name in names]
    chosen = drawn[[int(name) for name in names]]
    return Rows(pa.array(names, pa.string()), pa.array(photos, pa.string()), chosen)


def ids(rows: Rows) -> np.ndarray:
    return np.array(rows.ids.to_pylist())


def scann(form: str, base: Rows) -> ScannIndex:
    index = build_index(base.vectors, f"scann:{form}")
    assert isinstance(index, ScannIndex)
    return index


def check(index: ScannIndex, order: np.ndarray, today: Rows) -> None:
    """Every row is at one place, and is found there by its own vector."""
    assert sorted(order.tolist()) == list(range(len(today)))
    assert len(index) == len(today)
    most = index.with_effort({"leaves_to_search": 30, "reorder": 100})
    found, scores = most.search(today.vectors, 1)
    same = ids(today)[order[found[:, 0]]] == ids(today)
    assert same.mean() > 0.99  # codes of four bits may take the one for its twin
    assert scores[same].min() > 0.97


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("gone", "new"), [(0, 0), (40, 0), (0, 40), (60, 25), (25, 60), (600, 0), (0, 900)]
)
def test_every_row_is_where_it_should_be(form: str, gone: int, new: int) -> None:
    names = [str(number) for number in range(1000)]
    former = rows(names)
    today = rows([*names[gone:][::-1], *(str(number) for number in range(1000, 1000 + new))])
    other = rows(today.ids.to_pylist(), seed=5)
    today = Rows(
        today.ids,
        pa.concat_arrays([other.photos[:70], today.photos[70:]]),
        np.concatenate([other.vectors[:70], today.vectors[70:]]),
    )
    folded = fold(scann(form, former), former, today)
    assert folded.changed == min(70, 1000 - gone) + max(gone, new)
    check(folded.index, folded.order, today)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_day_after_any_other(data: st.DataObject) -> None:
    """Three days, each with any of the items, some of them with other photos."""
    some = st.lists(st.integers(0, 120), min_size=40, max_size=90, unique=True)
    former = rows([str(number) for number in data.draw(some)])
    index = scann("ah=2,float32", former)
    for seed in (1, 2):
        names = [str(number) for number in data.draw(some)]
        today = rows(names, data.draw(st.sampled_from([0, seed])))
        folded = fold(index, former, today)
        check(folded.index, folded.order, today)
        index = folded.index
        order = pa.array(folded.order)
        former = Rows(today.ids.take(order), today.photos.take(order), today.vectors[folded.order])


def test_recall_is_that_of_an_index_built_anew() -> None:
    names = [str(number) for number in range(4000)]
    former = rows(names[:3900])
    today = rows(names[100:])
    folded = fold(scann("tree=60,avq=2.5,ah=2,bfloat16", former), former, today)
    anew = scann("tree=60,avq=2.5,ah=2,bfloat16", today)
    queries = vectors(500, seed=9)
    truth = -np.sort(-(queries @ today.vectors.T), axis=1)[:, 9:10] - 1e-4
    effort = {"leaves_to_search": 10, "reorder": 60}
    recalls = []
    for index, order in ((folded.index, folded.order), (anew, np.arange(len(today)))):
        found = order[index.with_effort(effort).search(queries, 10)[0]]
        recalls.append((np.einsum("qd,qkd->qk", queries, today.vectors[found]) >= truth).mean())
    assert recalls[0] == pytest.approx(recalls[1], abs=0.02)
    assert recalls[1] > 0.8


def test_a_folded_index_is_saved_and_loaded(tmp_path: Path) -> None:
    former, today = rows([str(n) for n in range(500)]), rows([str(n) for n in range(20, 540)])
    folded = fold(scann("tree=20,ah=2,bfloat16", former), former, today)
    folded.index.save(tmp_path)
    again = ScannIndex.load(tmp_path, folded.index.description)
    for one, other in zip(
        again.search(today.vectors, 5), folded.index.search(today.vectors, 5), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_two_partitions_a_vector_are_not_changed() -> None:
    former = rows([str(number) for number in range(300)])
    index = scann("tree=20,soar=1.5,ah=2,float32", former)
    with pytest.raises(BadInput) as caught:
        fold(index, former, former)
    assert str(caught.value) == (
        "Cannot change single vectors of this index. Expected a form without `soar`. Received: "
        "`tree=20,soar=1.5,ah=2,float32`. Build it anew."
    )


@pytest.mark.parametrize(
    ("engine", "form", "can"),
    [
        ("exact", "matrix product", False),
        ("faiss", "HNSW32", False),
        ("scann", "brute,float32", False),
        ("scann", "tree=20,soar=1.5,ah=2,float32", False),
        ("scann", "tree=20,ah=2,float32", True),
        ("scann", "tree=20,avq=2.5,ah=2,bfloat16", True),
        ("scann", "ah=2,int8", False),
    ],
)
def test_which_can_be_folded_into(engine: str, form: str, can: bool) -> None:
    assert can_fold({"engine": engine, "form": form}) is can


def test_wear() -> None:
    index = scann("tree=20,ah=2,float32", rows([str(number) for number in range(1000)]))
    fresh = Wear.of(index)
    assert fresh == Wear(0, index.unevenness)
    assert fresh.uneven > 0
    assert not fresh.too_much(index)
    assert not Wear(200, fresh.uneven).too_much(index)
    assert Wear(201, fresh.uneven).too_much(index)
    assert Wear(0, fresh.uneven / 2 - 0.02).too_much(index)


def test_partitions_grow_uneven_when_all_that_is_new_is_alike() -> None:
    base = rows([str(number) for number in range(1000)])
    index = scann("tree=20,ah=2,float32", base)
    before = index.unevenness
    crowd = np.repeat(base.vectors[:1], 400, axis=0)
    assert index.added(crowd).unevenness > 1.25 * before + 0.01
