"""The live index: changes are found, or gone, at once and as a whole."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import BadInput
from model.reducer import unit
from serving.engines import build_index
from serving.exact import ExactIndex
from serving.index import Index, Rows, Vectors
from serving.live_index import FIRST_ROOM, LiveIndex

D = 8
Mask = npt.NDArray[np.bool_]


def drawn(seed: int, n: int, d: int = D) -> Vectors:
    return unit(np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32))


def live(base: Vectors) -> LiveIndex:
    return LiveIndex(ExactIndex(base), base)


def expected(vectors: Vectors, there: Mask, queries: Vectors, k: int) -> tuple[Rows, Vectors]:
    """By definition: all scores, those of what is not there left out."""
    rows = np.flatnonzero(there).astype(np.int32)
    scores = queries @ vectors[rows].T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return rows[best], np.take_along_axis(scores, best, axis=1)


def same(found: tuple[Rows, Vectors], wanted: tuple[Rows, Vectors]) -> None:
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_allclose(found[1], wanted[1], atol=1e-6)
    assert (found[0].dtype, found[1].dtype) == (np.int32, np.float32)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 120),
    steps=st.lists(st.tuples(st.integers(0, 40), st.floats(0, 1)), max_size=6),
    k=st.integers(1, 30),
    share=st.none() | st.floats(0, 1),
)
def test_after_any_changes_the_answer_is_that_of_what_is_there(
    seed: int, n: int, steps: list[tuple[int, float]], k: int, share: float | None
) -> None:
    chance = np.random.default_rng(seed)
    vectors = drawn(seed, n)
    index, there = live(vectors), np.ones(n, bool)
    for count, dropped in steps:
        rows = np.flatnonzero(chance.random(len(there)) < dropped)
        new = drawn(int(chance.integers(2**32)), count)
        given_rows = index.change(new, drop=rows)
        np.testing.assert_array_equal(given_rows, np.arange(len(there), len(there) + count))
        there[rows] = False
        vectors, there = np.concatenate([vectors, new]), np.append(there, np.ones(count, bool))
    allowed = None if share is None else chance.random(len(there)) < share
    asked = drawn(seed + 1, 3)
    wanted = there if allowed is None else there & allowed
    same(index.search(asked, k, allowed), expected(vectors, wanted, asked, k))
    assert (len(index), index.rows) == (there.sum(), len(there))
    for row in range(len(there)):
        np.testing.assert_array_equal(index.vector(row), vectors[row])


def test_rows_newer_than_a_filter_are_left_out() -> None:
    base = drawn(0, 20)
    index = live(base)
    index.change(base[3:5])
    allowed = np.ones(21, bool)  # of the 22 rows
    rows, _ = index.search(base[4:5], 22, allowed)
    assert set(rows[0]) == set(range(21))


def test_every_neighbour_gone_and_the_next_ones_found() -> None:
    """More are gone around the query than were asked for beyond k: it asks again, wider."""
    near, far = np.repeat(drawn(1, 1), 100, axis=0), drawn(2, 400)
    vectors = np.concatenate([near, far])
    index = live(vectors)
    index.change(np.empty((0, D), np.float32), drop=range(100))
    there = np.arange(500) >= 100
    same(index.search(near[:1], 10), expected(vectors, there, near[:1], 10))


@pytest.mark.parametrize("engine", ["scann:tree=30,ah=2,float32", "faiss:HNSW16"])
def test_a_day_of_changes_is_found_as_well_as_in_an_index_built_anew(engine: str) -> None:
    base, new, asked = drawn(3, 5000), drawn(4, 250), drawn(5, 200)
    gone = np.random.default_rng(6).choice(5000, 250, replace=False)
    index = LiveIndex(build_index(base, engine), base)
    index.change(new, drop=gone)
    there = np.append(~np.isin(np.arange(5000), gone), np.ones(250, bool))
    vectors = np.concatenate([base, new])
    truth = expected(vectors, there, asked, 10)[0]
    renamed = np.flatnonzero(there).astype(np.int32)
    changed = recall(index.search(asked, 10)[0], truth)
    anew = recall(renamed[build_index(vectors[there], engine).search(asked, 10)[0]], truth)
    assert changed >= anew - 0.02


def recall(rows: Rows, truth: Rows) -> float:
    shares = [len(set(a) & set(b)) / len(b) for a, b in zip(rows, truth, strict=True)]
    return float(np.mean(shares))


def test_an_answer_knows_a_change_as_a_whole() -> None:
    """One item moves to a new row all the time; no answer has it twice, or not at all."""
    base = drawn(7, 50)
    index, ended = live(base), Event()
    marked = unit(np.ones((1, D), np.float32))
    index.change(marked)

    def search() -> set[int]:
        counts = set()
        while not ended.is_set():
            rows, scores = index.search(marked, 5)
            counts.add(int((scores[0] > 1 - 1e-5).sum()))
        return counts

    with ThreadPoolExecutor(3) as pool:
        searches = [pool.submit(search) for _ in range(3)]
        for row in range(50, 50 + 2 * FIRST_ROOM):
            index.change(marked, drop=[row])
        ended.set()
        assert [each.result() for each in searches] == [{1}] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda index: index.change(np.ones((2, D + 1), np.float32)),
            f"Wrong vectors for this index. Expected [m, {D}]. Received: [2, {D + 1}].",
        ),
        (
            lambda index: index.change(np.full((1, D), np.nan, np.float32)),
            "The vectors to index hold NaN or infinity. Expected finite numbers.",
        ),
        (
            lambda index: index.change(drawn(1, 1), drop=[3, 20]),
            "Cannot drop rows that are not there. Expected 0 to 19. Received: [3, 20].",
        ),
        (
            lambda index: LiveIndex(index.base, index.vectors[1:]),
            "The vectors are not those of the index. Expected 20. Received: 19.",
        ),
    ],
)
def test_bad_input_changes_nothing(change: Callable[[LiveIndex], object], message: str) -> None:
    base = drawn(0, 20)
    index: LiveIndex = live(base)
    held: Index = index.base
    with pytest.raises(BadInput, match=re.escape(message)):
        change(index)
    assert (index.base, index.rows, len(index), index.changes) == (held, 20, 20, 0)
