"""One contract for every engine: the same answers, limits and errors, before and after a move."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import BadInput
from model.reducer import unit
from serving.engines import load_index
from serving.exact import BLOCK_BYTES, ExactIndex
from serving.index import MISSING, Index, Rows, Vectors, merge
from serving.scann_index import MIN_VECTORS, ScannIndex

ENGINES: dict[str, Callable[[Vectors], Index]] = {"exact": ExactIndex, "scann": ScannIndex.build}
FORMS = {  # rows, dimensions -> what ScaNN builds
    "brute force": (1000, 16),
    "hashing, reordering": (25_000, 32),
    "tree, hashing, reordering": (110_000, 16),
}
RECALL = 0.9


def vectors(n: int, dimensions: int, seed: int = 0) -> Vectors:
    """Unit vectors in loose groups, as embeddings are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(300, dimensions))
    spread = 0.7 * rng.normal(size=(n, dimensions))
    return unit(centres[rng.integers(0, 300, n)] + spread)


@pytest.fixture(scope="module")
def built() -> dict[str, tuple[Vectors, ScannIndex]]:
    """An index of each form, built once."""
    found = {}
    for form, (n, dimensions) in FORMS.items():
        base = vectors(n, dimensions)
        found[form] = base, ScannIndex.build(base)
    return found


def equal(first: tuple[Rows, Vectors], second: tuple[Rows, Vectors]) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


def check_answer(base: Vectors, queries: Vectors, k: int, answer: tuple[Rows, Vectors]) -> None:
    """Shapes, types, order, and each score the product with the row it stands beside."""
    rows, scores = answer
    assert (rows.shape, scores.shape) == ((len(queries), k), (len(queries), k))
    assert (rows.dtype, scores.dtype) == (np.int32, np.float32)
    missing = rows == MISSING
    np.testing.assert_array_equal(np.isneginf(scores), missing)
    assert (rows >= MISSING).all()
    assert (rows < len(base)).all()
    for row, score, gone in zip(rows, scores, missing, strict=True):
        known = row[~gone]
        assert len(set(known.tolist())) == len(known)
        assert (np.diff(gone.astype(int)) >= 0).all()
        assert (np.diff(score[~gone]) <= 0).all()
    products = np.einsum("qd,qkd->qk", queries, base[rows])
    np.testing.assert_allclose(scores[~missing], products[~missing], atol=1e-5)


# Every engine.


@pytest.mark.parametrize(
    ("engine", "n"),
    [("exact", n) for n in (0, 1, 5, 16, 1000)] + [("scann", n) for n in (16, 17, 1000)],
)
def test_the_contract(engine: str, n: int, tmp_path: Path) -> None:
    base, queries = vectors(n, 16), vectors(7, 16, seed=1)
    index = ENGINES[engine](base)
    assert len(index) == n
    truth = ExactIndex(base)
    for k in (1, 10, n + 5):
        answer = index.search(queries, k)
        check_answer(base, queries, min(k, n), answer)
        np.testing.assert_allclose(answer[1], truth.search(queries, k)[1], atol=1e-5)
        check_answer(base, queries[:0], min(k, n), index.search(queries[:0], k))
    if n:
        own = index.search(base, 1)
        assert own[0][:, 0].tolist() == list(range(n))
        np.testing.assert_allclose(own[1], np.ones((n, 1)), atol=1e-5)
    index.save(tmp_path / "index")
    moved = shutil.move(tmp_path / "index", tmp_path / "elsewhere")
    again = load_index(Path(moved), index.description)
    assert (len(again), again.description) == (n, index.description)
    equal(again.search(queries, 10), index.search(queries, 10))


@pytest.mark.parametrize("n", [0, 1, MIN_VECTORS - 1])
def test_scann_refuses_what_it_cannot_train_on(n: int) -> None:
    with pytest.raises(BadInput) as caught:
        ScannIndex.build(vectors(n, 8))
    assert str(caught.value) == (
        f"Too few vectors for ScaNN. Expected at least 16. Received: {n}. Use the exact engine."
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scann_refuses_to_index_what_is_no_number(value: float) -> None:
    base = vectors(20, 8)
    base[3, 3] = value
    with pytest.raises(BadInput) as caught:
        ScannIndex.build(base)
    assert str(caught.value) == (
        "The vectors to index hold NaN or infinity. Expected finite numbers."
    )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("k", [0, -3])
def test_k_is_at_least_one(engine: str, k: int) -> None:
    index = ENGINES[engine](vectors(20, 8))
    with pytest.raises(BadInput) as caught:
        index.search(vectors(2, 8), k)
    assert str(caught.value) == f"Invalid `k`. Expected at least 1. Received: {k}."


def queries_with(value: float) -> Vectors:
    queries = vectors(3, 8)
    queries[1, 2] = value
    return queries


NOT_FINITE = "A query vector holds NaN or infinity. Expected finite numbers."
NO_DIRECTION = "A query vector is all zeros. It has no direction, so nothing is near it."


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (queries_with(np.nan), NOT_FINITE),
        (queries_with(np.inf), NOT_FINITE),
        (queries_with(-np.inf), NOT_FINITE),
        (np.zeros((1, 8), np.float32), NO_DIRECTION),
        (np.stack([vectors(1, 8)[0], np.zeros(8, np.float32)]), NO_DIRECTION),
        (vectors(2, 7), "Wrong query shape. Expected [queries, 8]. Received: (2, 7)."),
        (vectors(1, 8)[0], "Wrong query shape. Expected [queries, 8]. Received: (8,)."),
        (vectors(2, 8)[None], "Wrong query shape. Expected [queries, 8]. Received: (1, 2, 8)."),
        (
            np.empty((0, 7), np.float32),
            "Wrong query shape. Expected [queries, 8]. Received: (0, 7).",
        ),
    ],
)
def test_queries_without_an_answer_are_refused(engine: str, queries: Vectors, message: str) -> None:
    index = ENGINES[engine](vectors(20, 8))
    with pytest.raises(BadInput) as caught:
        index.search(queries, 5)
    assert str(caught.value) == message


@pytest.mark.parametrize("engine", ENGINES)
def test_queries_in_any_layout_are_welcome(engine: str) -> None:
    base, queries = vectors(100, 8), vectors(6, 8, seed=2)
    index = ENGINES[engine](base)
    expected = index.search(queries, 5)
    equal(index.search(np.asfortranarray(queries), 5), expected)
    equal(index.search(queries.astype(np.float64), 5), expected)
    equal(index.search(np.repeat(queries, 2, axis=0)[::2], 5), expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_duplicates_are_all_found(engine: str) -> None:
    base = np.concatenate([vectors(200, 8), np.repeat(vectors(1, 8, seed=5), 30, axis=0)])
    rows, scores = ENGINES[engine](base).search(base[-1:], 30)
    assert sorted(rows[0].tolist()) == list(range(200, 230))
    np.testing.assert_allclose(scores, np.ones((1, 30)), atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_searching_changes_neither_queries_nor_answers(engine: str) -> None:
    index, queries = ENGINES[engine](vectors(500, 8)), vectors(9, 8, seed=3)
    kept = queries.copy()
    expected = index.search(queries, 4)
    np.testing.assert_array_equal(queries, kept)
    equal(index.search(queries, 4), expected)


def test_another_engine_is_refused(tmp_path: Path) -> None:
    for description, received in (({"engine": "faiss"}, "'faiss'"), ({}, "None")):
        with pytest.raises(BadInput) as caught:
            load_index(tmp_path, description)
        assert str(caught.value) == (
            f"Unknown index engine. Expected `exact` or `scann`. Received: {received}."
        )


# The exact engine.


@settings(max_examples=50)
@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 70), st.integers(0, 1000))
def test_exact_equals_sorting_everything(n: int, q: int, k: int, seed: int) -> None:
    base, queries = vectors(n, 5, seed), vectors(q, 5, seed + 1)
    rows, scores = ExactIndex(base).search(queries, k)
    check_answer(base, queries, min(k, n), (rows, scores))
    expected = -np.sort(-(queries @ base.T), axis=1)[:, :k]
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_exact_takes_the_first_of_equals() -> None:
    base = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0)
    rows, scores = ExactIndex(base).search(np.array([[0.6, 0.8, 0.0]], np.float32), 6)
    assert rows.tolist() == [[2, 3, 0, 1, 4, 5]]
    assert scores[0].tolist() == pytest.approx([0.8, 0.8, 0.6, 0.6, 0, 0])


def test_exact_searches_block_by_block() -> None:
    base = vectors(40_000, 4)
    block = BLOCK_BYTES // (4 * len(base))
    queries = vectors(block + 3, 4, seed=1)
    rows, scores = ExactIndex(base).search(queries, 3)
    edge = slice(block - 2, block + 3)
    alone = ExactIndex(base).search(queries[edge], 3)
    np.testing.assert_array_equal(rows[edge], alone[0])
    np.testing.assert_allclose(scores[edge], alone[1], atol=1e-6)


# ScaNN, by form.


@pytest.mark.parametrize("form", FORMS)
def test_each_form_finds_the_exact_neighbours(
    built: dict[str, tuple[Vectors, ScannIndex]], form: str
) -> None:
    base, index = built[form]
    n, dimensions = FORMS[form]
    facts = {"engine": "scann", "n": n, "dimensions": dimensions, "form": form}
    if form.startswith("tree"):
        facts |= {"leaves": 331, "leaves_to_search": 16}
    assert index.description == facts
    queries = vectors(200, dimensions, seed=1)
    answer = index.search(queries, 10)
    check_answer(base, queries, 10, answer)
    _, truth = ExactIndex(base).search(queries, 10)
    assert (answer[1] >= truth[:, -1:] - 1e-4).mean() >= RECALL


@pytest.mark.parametrize("form", FORMS)
def test_each_form_answers_the_same_after_a_move(
    built: dict[str, tuple[Vectors, ScannIndex]], form: str, tmp_path: Path
) -> None:
    base, index = built[form]
    queries = vectors(50, base.shape[1], seed=2)
    index.save(tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    again = load_index(tmp_path / "there", index.description)
    equal(again.search(queries, 10), index.search(queries, 10))
    names = {path.suffix for path in (tmp_path / "there").rglob("*")}
    assert names <= {".npy", ".pb", ".pbtxt"}  # nothing of ours, and no pickle


@pytest.mark.parametrize("form", FORMS)
def test_a_short_answer_ends_with_missing(
    built: dict[str, tuple[Vectors, ScannIndex]], form: str
) -> None:
    base, index = built[form]
    queries = vectors(2, base.shape[1], seed=3)
    rows, scores = index.search(queries, len(base) + 1)
    check_answer(base, queries, len(base), (rows, scores))
    short = (rows == MISSING).any(axis=1)
    assert short.tolist() == [form.startswith("tree")] * 2


def test_more_effort_finds_more(built: dict[str, tuple[Vectors, ScannIndex]]) -> None:
    base, index = built["tree, hashing, reordering"]
    queries = vectors(200, base.shape[1], seed=4)
    _, truth = ExactIndex(base).search(queries, 10)
    least, most = (
        (index.with_effort(leaves).search(queries, 10)[1] >= truth[:, -1:] - 1e-4).mean()
        for leaves in (1, 331)
    )
    assert least < most
    assert index.with_effort(7).description == {**index.description, "leaves_to_search": 7}
    assert index.description["leaves_to_search"] == 16


# Merging two answers.


@settings(max_examples=50)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 12), st.integers(0, 1000))
def test_a_merge_equals_one_search_over_both(n: int, m: int, k: int, seed: int) -> None:
    both, queries = vectors(n + m, 6, seed), vectors(4, 6, seed + 1)
    first = ExactIndex(both[:n]).search(queries, k)
    rows, scores = ExactIndex(both[n:]).search(queries, k)
    found = merge(first, (rows + np.int32(n), scores), k)
    check_answer(both, queries, min(k, n + m), found)
    np.testing.assert_allclose(found[1], ExactIndex(both).search(queries, k)[1], atol=1e-6)


def test_a_merge_puts_missing_last() -> None:
    first = np.array([[4, 2, MISSING]], np.int32), np.array([[0.9, 0.5, -np.inf]], np.float32)
    second = np.array([[7]], np.int32), np.array([[0.7]], np.float32)
    rows, scores = merge(first, second, 4)
    assert rows.tolist() == [[4, 7, 2, MISSING]]
    np.testing.assert_allclose(scores, np.array([[0.9, 0.7, 0.5, -np.inf]], np.float32))


# Importing ScaNN beside TensorFlow.

SEARCH = """
import sys
import numpy as np
from serving.scann_index import ScannIndex
base = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
assert ScannIndex.build(base).search(base, 1)[0].shape == (50, 1)
"""
WITHOUT = SEARCH + 'assert not [name for name in sys.modules if name.startswith("tensorflow")]'
BEFORE = SEARCH + "import tensorflow as tf\nassert int(tf.constant(3) + 4) == 7"
AFTER = f"import tensorflow as tf\n{SEARCH}\nassert sys.modules['tensorflow'] is tf\n{BEFORE}"


@pytest.mark.parametrize("script", [WITHOUT, BEFORE, AFTER], ids=["without", "before", "after"])
def test_scann_is_imported_with_before_and_after_tensorflow(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
