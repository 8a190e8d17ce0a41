"""The two-stage index keeps the contract of the engines, its files, and what it promises."""

import gc
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
from test_index import equal, vectors

from model.errors import BadInput
from model.reducer import unit
from serving.exact import ExactIndex
from serving.index import MISSING, Rows, Vectors
from serving.two_stage import (
    CHUNK,
    FILES,
    MIN_VECTORS,
    Plan,
    TwoStageIndex,
)

D = 16
PRECISION = 0.02  # of a score: half a step of a byte in each of 16 dimensions, at worst


def blocks(base: Vectors, size: int = 700) -> Iterator[Vectors]:
    return (base[start : start + size] for start in range(0, len(base), size))


def built(base: Vectors, folder: Path, plan: Plan | None = None) -> TwoStageIndex:
    return TwoStageIndex.build(blocks(base), base, folder, plan or Plan.of(len(base)))


def thorough(base: Vectors, folder: Path) -> TwoStageIndex:
    """Every list scanned, so that only the codes can lose anything."""
    index = built(base, folder)
    return index.with_effort({"probes": index.plan.lists, "candidates": 200})


def check(base: Vectors, queries: Vectors, k: int, answer: tuple[Rows, Vectors]) -> None:
    """The contract of every engine, with scores as precise as a record."""
    rows, scores = answer
    assert (rows.dtype, scores.dtype) == (np.int32, np.float32)
    found = rows != MISSING
    products = np.einsum("qd,qkd->qk", queries, base[rows])
    np.testing.assert_allclose(scores[found], products[found], atol=PRECISION)
    assert (np.diff(scores, axis=1)[found[:, 1:]] <= 0).all()


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """OpenMP's threads wait for each other at every step of k-means, on cores that others need."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Vectors, TwoStageIndex]:
    base = vectors(5000, D)
    return base, thorough(base, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Vectors, TwoStageIndex]:
    base = vectors(100_000, D)
    return base, built(base, tmp_path_factory.mktemp("large"))


@pytest.mark.parametrize("n", [1000, 1001, 5000])
def test_the_contract(n: int, tmp_path: Path) -> None:
    base, queries = vectors(n, D), vectors(7, D, seed=1)
    index = thorough(base, tmp_path / "index")
    assert len(index) == n
    truth = ExactIndex(base)
    for k in (1, 10):
        answer = index.search(queries, k)
        assert answer[0].shape == (7, k)
        check(base, queries, k, answer)
        np.testing.assert_allclose(answer[1], truth.search(queries, k)[1], atol=PRECISION)
        empty = index.search(queries[:0], k)
        assert (empty[0].shape, empty[1].shape) == ((0, k), (0, k))
    own = index.search(base, 1)
    assert (own[0][:, 0] == np.arange(n)).mean() > 0.99
    index.save(tmp_path / "copy")
    moved = shutil.move(tmp_path / "copy", tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "index")
    again = TwoStageIndex.load(Path(moved), index.description)
    assert (len(again), again.description) == (n, index.description)
    equal(again.search(queries, 10), index.search(queries, 10))


@pytest.mark.parametrize("n", [0, 1, 5, MIN_VECTORS - 1])
def test_too_few_vectors_are_refused(n: int, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        built(vectors(n, D), tmp_path)
    assert str(caught.value) == (
        f"Too few vectors to train on. Expected at least 1000. Received: {n}. Use the exact engine."
    )
    assert list(tmp_path.iterdir()) == []


def test_a_hundred_thousand(large: tuple[Vectors, TwoStageIndex]) -> None:
    base, index = large
    queries = vectors(300, D, seed=1)
    assert index.description == {
        "engine": "two-stage",
        "form": "lists=1024,code=2",
        "n": 100_000,
        "dimensions": D,
        "effort": {"probes": 8, "candidates": 100},
    }
    _, truth = ExactIndex(base).search(queries, 10)
    reached = []
    for probes, candidates in ((1, 40), (16, 100), (256, 400)):
        effort = {"probes": probes, "candidates": candidates}
        rows, _ = index.with_effort(effort).search(queries, 10)
        products = np.einsum("qd,qkd->qk", queries, base[rows])
        reached.append(float((products >= truth[:, -1:] - 1e-4).mean()))
    assert reached[0] < reached[1] < reached[2]
    assert reached[2] >= 0.97
    assert index.bytes_per_item < D // 4 + D + 8 + 8 + 20


def test_k_above_n_ends_with_missing(small: tuple[Vectors, TwoStageIndex]) -> None:
    base, index = small
    queries = vectors(2, D, seed=3)
    rows, scores = index.with_effort({"probes": 1, "candidates": 10}).search(queries, len(base) + 1)
    assert rows.shape == (2, len(base))
    gone = rows == MISSING
    assert gone.any(axis=1).all()
    np.testing.assert_array_equal(np.isneginf(scores), gone)
    assert (np.diff(gone.astype(int), axis=1) >= 0).all()
    everything = index.search(queries, len(base) + 1)[0]
    assert sorted(everything[0].tolist()) == list(range(len(base)))


def test_duplicates_are_all_found(tmp_path: Path) -> None:
    base = np.concatenate([vectors(2000, D), np.repeat(vectors(1, D, seed=5), 30, axis=0)])
    rows, scores = thorough(base, tmp_path).search(base[-1:], 30)
    assert sorted(rows[0].tolist()) == list(range(2000, 2030))
    np.testing.assert_allclose(scores, np.ones((1, 30)), atol=PRECISION)


def test_one_vector_again_and_again(tmp_path: Path) -> None:
    base = np.repeat(vectors(1, D), 1500, axis=0)
    rows, scores = built(base, tmp_path).search(base[:1], 5)
    assert len(set(rows[0].tolist())) == 5
    np.testing.assert_allclose(scores, np.ones((1, 5)), atol=PRECISION)


@pytest.mark.parametrize("k", [0, -3])
def test_k_is_at_least_one(small: tuple[Vectors, TwoStageIndex], k: int) -> None:
    with pytest.raises(BadInput) as caught:
        small[1].search(vectors(2, D), k)
    assert str(caught.value) == f"Invalid `k`. Expected at least 1. Received: {k}."


def queries_with(value: float) -> Vectors:
    queries = vectors(3, D)
    queries[1, 2] = value
    return queries


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (queries_with(np.nan), "A query vector holds NaN or infinity. Expected finite numbers."),
        (queries_with(np.inf), "A query vector holds NaN or infinity. Expected finite numbers."),
        (
            np.zeros((1, D), np.float32),
            "A query vector is all zeros. It has no direction, so nothing is near it.",
        ),
        (vectors(2, 7), f"Wrong query shape. Expected [queries, {D}]. Received: (2, 7)."),
        (vectors(1, D)[0], f"Wrong query shape. Expected [queries, {D}]. Received: ({D},)."),
    ],
)
def test_queries_without_an_answer_are_refused(
    small: tuple[Vectors, TwoStageIndex], queries: Vectors, message: str
) -> None:
    with pytest.raises(BadInput) as caught:
        small[1].search(queries, 5)
    assert str(caught.value) == message


def test_queries_in_any_layout_and_number(small: tuple[Vectors, TwoStageIndex]) -> None:
    index, queries = small[1], vectors(2 * CHUNK + 3, D, seed=2)
    expected = index.search(queries, 5)
    equal(index.search(np.asfortranarray(queries), 5), expected)
    equal(index.search(queries.astype(np.float64), 5), expected)
    one_by_one = [index.search(query[None], 5) for query in queries]
    np.testing.assert_array_equal(np.concatenate([rows for rows, _ in one_by_one]), expected[0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_not_indexed(value: float, tmp_path: Path) -> None:
    base = vectors(1200, D)
    base[1100, 3] = value
    with pytest.raises(BadInput) as caught:
        TwoStageIndex.build(blocks(base), base[:1000], tmp_path, Plan(lists=8))
    assert str(caught.value) == (
        "The vectors to index hold NaN or infinity. Expected finite numbers."
    )


def test_what_is_not_of_unit_length_is_not_indexed(tmp_path: Path) -> None:
    base = vectors(1200, D)
    with pytest.raises(BadInput) as caught:
        built(base * np.float32(2), tmp_path)
    assert str(caught.value) == (
        "The vectors to index are not of unit length. Expected squared lengths within 0.001 of 1. "
        "Received one that is 3 off. Normalise them first."
    )


def test_dimensions_that_codes_cannot_share_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        built(vectors(1000, 15), tmp_path)
    assert str(caught.value) == (
        "Vectors of 15 dimensions cannot be cut into codes for 2. Expected a multiple. "
        "Use `two-stage:lists=25,code=1`."
    )
    assert len(built(vectors(1000, 15), tmp_path, Plan(lists=8, dimensions_per_code=1))) == 1000


def test_the_same_vectors_make_the_same_files(tmp_path: Path) -> None:
    base = vectors(3000, D)
    for name in ("one", "two"):
        built(base, tmp_path / name)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_one_of_vectors_that_are_all_there_leaves_no_files(tmp_path: Path) -> None:
    base = vectors(2000, D)
    index = TwoStageIndex.of(base).with_effort({"probes": 8, "candidates": 50})
    folder = index._folder
    assert folder.is_dir()
    index.save(tmp_path)
    expected, description = index.search(base[:20], 5), index.description
    del index
    gc.collect()
    assert not folder.exists()
    again = TwoStageIndex.load(tmp_path, description)
    equal(again.search(base[:20], 5), expected)


@pytest.mark.parametrize("text", ["", "lists", "lists=0", "lists=8,code=0", "lists=8,codes=2"])
def test_what_is_no_plan(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        Plan.parse(text)
    assert str(caught.value) == (
        f"Not a form of the two-stage index. Expected such as `lists=4096` or "
        f"`lists=4096,code=1`. Received: `{text}`."
    )
    assert Plan.parse(str(Plan(lists=7, dimensions_per_code=1))) == Plan(7, 1)


def test_a_plan_grows_with_the_shop() -> None:
    sizes = (1, 1000, 100_000, 1_000_000, 10_000_000, 50_000_000)
    assert [Plan.of(n).lists for n in sizes] == [1, 25, 1024, 4096, 16384, 32768]
    assert replace(Plan.of(1_000_000), probes=3).sample == 98_304


def test_unit_vectors_only_need_to_be_so_in_float32(tmp_path: Path) -> None:
    base = unit(vectors(1000, D).astype(np.float16).astype(np.float32))
    assert len(built(base, tmp_path)) == 1000
