"""Search among allowed rows: the exact answer where it can be had, and k answers always."""

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BadInput
from model.reducer import unit
from serving.exact import ExactIndex
from serving.filtered import Filtered, Mask
from serving.index import MISSING, Index, Rows, Vectors
from serving.scann_index import ScannIndex

N, D, Q = 25_000, 16, 40


def drawn(seed: int, n: int, d: int = D) -> Vectors:
    return unit(np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32))


def mask(seed: int, n: int, share: float) -> Mask:
    return np.random.default_rng(seed).random(n) < share


def expected(vectors: Vectors, allowed: Mask, queries: Vectors, k: int) -> tuple[Rows, Vectors]:
    """By definition: every score, the forbidden ones at the bottom."""
    scores = np.where(allowed, queries @ vectors.T, -np.inf)
    rows = np.argsort(-scores, axis=1, kind="stable")[:, : min(k, allowed.sum())]
    return rows.astype(np.int32), np.take_along_axis(scores, rows, axis=1)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 400),
    share=st.sampled_from([0.0, 0.01, 0.1, 0.5, 0.9, 1.0]),
    k=st.integers(1, 50),
)
def test_over_an_exact_index_both_ways_are_exact(seed: int, n: int, share: float, k: int) -> None:
    vectors, queries, allowed = drawn(seed, n), drawn(seed + 1, 3), mask(seed, n, share)
    filtered = Filtered(ExactIndex(vectors), vectors, allowed)
    rows, scores = expected(vectors, allowed, queries, k)
    for found in (filtered.search(queries, k), *ways(filtered, queries, k)):
        np.testing.assert_array_equal(found[0], rows)
        np.testing.assert_allclose(found[1], scores, atol=1e-6)
        assert (found[0].dtype, found[1].dtype) == (np.int32, np.float32)


def ways(filtered: Filtered, queries: Vectors, k: int) -> list[tuple[Any, Any]]:
    """Each way alone; over-fetching tells which queries it left short."""
    k = min(k, len(filtered))
    if not k:
        return []
    rows, scores, short = filtered._fetched(queries, k)
    exact = filtered._exactly(queries, k)
    rows[short], scores[short] = exact[0][short], exact[1][short]
    return [exact, (rows, scores)]


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    return drawn(0, N)


@pytest.fixture(scope="module")
def hashed(vectors: Vectors) -> ScannIndex:
    """ScaNN that hashes: its answers are not exact."""
    index = ScannIndex.build(vectors)
    assert index.description["form"] == "ah=2,float32"
    return index


@pytest.mark.parametrize(
    ("share", "exact"), [(0.0002, True), (0.002, True), (0.01, True), (0.3, False), (1.0, False)]
)
def test_an_approximate_index_gives_k_allowed_rows_and_nearly_the_best(
    vectors: Vectors, hashed: ScannIndex, share: float, exact: bool
) -> None:
    allowed, queries, k = mask(1, N, share), drawn(2, Q), 10
    filtered = Filtered(hashed, vectors, allowed)
    rows, scores = filtered.search(queries, k)
    wanted, _ = expected(vectors, allowed, queries, k)
    assert filtered.is_exact(min(k, len(filtered))) is exact
    assert rows.shape == wanted.shape == (Q, min(k, allowed.sum()))
    check(rows, scores, vectors, allowed, queries)
    found = recall(wanted, rows)
    unfiltered = recall(np.argsort(-(queries @ vectors.T))[:, :k], hashed.search(queries, k)[0])
    assert found == 1 if exact else found >= unfiltered - 0.02


def recall(wanted: npt.NDArray[Any], rows: Rows) -> float:
    return float(np.mean([np.isin(*pair).mean() for pair in zip(wanted, rows, strict=True)]))


def check(rows: Rows, scores: Vectors, vectors: Vectors, allowed: Mask, queries: Vectors) -> None:
    """Allowed, each once, best first, with their true scores."""
    assert allowed[rows].all()
    assert all(len(set(row)) == len(row) for row in rows.tolist())
    assert (np.diff(scores, axis=1) <= 0).all()
    true = np.einsum("qd,qkd->qk", queries, vectors[rows])
    np.testing.assert_allclose(scores, true, atol=2e-3)  # ScaNN rounds


def test_a_filter_that_excludes_what_is_near_still_gives_k(
    vectors: Vectors, hashed: ScannIndex
) -> None:
    """The worst case: half of the rows are allowed, and they are the far half."""
    query = drawn(3, 1)
    allowed = (vectors @ query[0]) < np.median(vectors @ query[0])
    filtered = Filtered(hashed, vectors, allowed)
    assert not filtered.is_exact(10)
    assert filtered._fetched(query, 10)[2].tolist() == [True]  # nothing near it is allowed
    rows, scores = filtered.search(query, 10)
    wanted, _ = expected(vectors, allowed, query, 10)
    np.testing.assert_array_equal(rows, wanted)
    check(rows, scores, vectors, allowed, query)


class Silent:
    """An index that finds nothing."""

    def __init__(self, n: int) -> None:
        self.n = n

    @property
    def description(self) -> dict[str, object]:
        return {}

    def __len__(self) -> int:
        return self.n

    def search(self, queries: Vectors, k: int) -> tuple[Rows, Vectors]:
        shape = (len(queries), k)
        return np.full(shape, MISSING, np.int32), np.full(shape, -np.inf, np.float32)

    def save(self, folder: Any) -> None:
        raise NotImplementedError


def test_what_the_index_does_not_find_is_searched_exactly(vectors: Vectors) -> None:
    index: Index = Silent(N)
    allowed, queries = np.ones(N, bool), drawn(4, 5)
    rows, _ = Filtered(index, vectors, allowed).search(queries, 10)
    np.testing.assert_array_equal(rows, expected(vectors, allowed, queries, 10)[0])


def test_no_row_is_allowed_and_no_query_is_asked(vectors: Vectors, hashed: ScannIndex) -> None:
    nothing = Filtered(hashed, vectors, np.zeros(N, bool)).search(drawn(5, 2), 10)
    assert (nothing[0].shape, nothing[1].shape) == ((2, 0), (2, 0))
    unasked = Filtered(hashed, vectors, np.ones(N, bool)).search(drawn(5, 0), 10)
    assert (unasked[0].shape, unasked[1].shape) == ((0, 10), (0, 10))


@pytest.mark.parametrize(
    ("allowed", "received"),
    [
        (np.ones(9, bool), "bool [9] and 10 vectors"),
        (np.ones(10, np.int8), "int8 [10] and 10 vectors"),
        (np.ones((10, 1), bool), "bool [10, 1] and 10 vectors"),
    ],
)
def test_a_filter_of_another_index_is_refused(allowed: npt.NDArray[Any], received: str) -> None:
    vectors = drawn(6, 10)
    message = (
        f"This filter is not of this index. Expected bool [10] and as many vectors. "
        f"Received: {received}."
    )
    with pytest.raises(BadInput, match=f"^{re.escape(message)}$"):
        Filtered(ExactIndex(vectors), vectors, allowed)


def test_bad_queries_are_refused_as_by_any_index(vectors: Vectors, hashed: ScannIndex) -> None:
    filtered = Filtered(hashed, vectors, np.ones(N, bool))
    with pytest.raises(BadInput, match="Invalid `k`"):
        filtered.search(drawn(0, 1), 0)
    with pytest.raises(BadInput, match="Wrong query shape"):
        filtered.search(drawn(0, 1, d=D + 1), 1)
