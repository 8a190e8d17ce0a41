"""Linear discriminant analysis from sums: what it evens out, and what it tells apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.discriminant import SHRINK, Array, Ids, LeafOdds, Scatter, fit_projection
from model.errors import BadInput
from model.reducer import unit


def photos(seed: int, n: int = 400, leaves: int = 5) -> tuple[Array, Ids]:
    """Leaves differ in the first six dimensions; the last four are larger, and only noise."""
    rng = np.random.default_rng(seed)
    leaf = rng.integers(0, leaves, n).astype(np.int32)
    centres = np.random.default_rng(0).normal(size=(leaves, 6))
    rows = [centres[leaf] + 0.4 * rng.normal(size=(n, 6)), 4 * rng.normal(size=(n, 4))]
    return np.hstack(rows).astype(np.float32), leaf


def precision(vectors: Array, leaf: Ids) -> float:
    """Share of each photo's five nearest that are of its leaf."""
    cosine = unit(vectors) @ unit(vectors).T
    np.fill_diagonal(cosine, -2)
    nearest = np.argsort(-cosine, axis=1)[:, :5]
    return float((leaf[nearest] == leaf[:, None]).mean())


def test_sums_of_four_photos() -> None:
    rows = np.array([[1, 0], [3, 0], [0, 2], [0, 6]], np.float32)
    scatter = Scatter.of(rows, np.array([0, 0, 2, 2], np.int32), 3)
    np.testing.assert_array_equal(scatter.counts, [2, 0, 2])
    np.testing.assert_array_equal(scatter.sums, [[4, 0], [0, 0], [0, 8]])
    np.testing.assert_array_equal(scatter.outer, [[10, 0], [0, 40]])
    np.testing.assert_array_equal(scatter.means, [[2, 0], [0, 0], [0, 4]])
    # Squares about the means are 2 and 8, with 4 - 2 degrees of freedom; their mean is 2.5.
    np.testing.assert_allclose(scatter.within, np.diag([1, 4]) + SHRINK * 2.5 * np.eye(2))


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(0, 60))
def test_sums_add_up_and_are_taken_away(seed: int, cut: int) -> None:
    rows, leaf = photos(seed, 60)
    whole = Scatter.of(rows, leaf, 5)
    first, second = (Scatter.of(rows[p], leaf[p], 5) for p in (slice(cut), slice(cut, None)))
    for found, wanted in ((first + second, whole), (whole - first, second)):
        np.testing.assert_allclose(found.counts, wanted.counts)
        np.testing.assert_allclose(found.sums, wanted.sums, atol=1e-9)
        np.testing.assert_allclose(found.outer, wanted.outer, atol=1e-9)


def test_the_projection_finds_the_leaf_behind_the_noise() -> None:
    """Fitted on some photos, it serves others: with half of the dimensions better than all."""
    components = fit_projection(Scatter.of(*photos(1), 5), 5)
    assert (components.shape, components.dtype) == ((10, 5), np.float32)
    rows, leaf = photos(2)
    assert precision(rows, leaf) < 0.45
    assert precision(rows @ components, leaf) > 0.65


def test_the_projection_evens_out_what_a_leaf_varies_in() -> None:
    rows, leaf = photos(3)
    scatter = Scatter.of(rows, leaf, 5)
    components = fit_projection(scatter, 10)
    variance = components.T @ scatter.within @ components
    np.testing.assert_allclose(variance, variance[0, 0] * np.eye(10), atol=1e-4 * variance[0, 0])
    strength = np.diag(components.T @ scatter.outer @ components)
    assert (np.diff(strength) < 0).all()
    assert np.linalg.norm(components, axis=0).max() == pytest.approx(1)


@pytest.mark.parametrize("given", ["one leaf", "one photo a leaf", "all equal", "zeros"])
def test_a_poor_shop_has_a_projection(given: str) -> None:
    rows, leaf = photos(4, 6)
    leaf = np.arange(6, dtype=np.int32) if given == "one photo a leaf" else leaf
    leaf = np.zeros(6, np.int32) if given == "one leaf" else leaf
    rows = rows[:1].repeat(6, axis=0) if given == "all equal" else rows
    rows = np.zeros_like(rows) if given == "zeros" else rows
    components = fit_projection(Scatter.of(rows, leaf, 6), 4)
    assert np.isfinite(components).all()
    np.testing.assert_allclose(np.linalg.norm(components, axis=0).max(), 1, atol=1e-5)


@settings(max_examples=30)
@given(st.integers(0, 1000))
def test_odds_tell_leaves_apart(seed: int) -> None:
    odds = LeafOdds.fit(Scatter.of(*photos(seed), 5))
    rows, leaf = photos(seed + 1)
    found = odds(rows)
    assert (found.shape, found.dtype) == ((400, 5), np.float32)
    np.testing.assert_allclose(found.sum(axis=1), np.ones(400), atol=1e-5)
    assert (found.argmax(axis=1) == leaf).mean() > 0.85


def test_odds_are_those_of_two_equal_bells() -> None:
    """In one dimension: log odds of x are x (m1 - m0) / v + (m0^2 - m1^2) / 2v + log(n1 / n0)."""
    rows = np.array([[-2], [0], [1], [2], [3], [6]], np.float32)
    scatter = Scatter.of(rows, np.array([0, 0, 1, 1, 1, 1], np.int32), 2)
    variance = (2 + 14) / 4 * (1 + SHRINK)
    found = LeafOdds.fit(scatter)(np.array([[0.5]], np.float32))[0]
    wanted = 0.5 * 4 / variance + (1 - 9) / (2 * variance) + np.log(2)
    assert np.log(found[1] / found[0]) == pytest.approx(wanted, abs=1e-5)


def test_a_leaf_without_photos_has_no_odds() -> None:
    rows, leaf = photos(5)
    found = LeafOdds.fit(Scatter.of(rows, leaf, 7))(rows)
    np.testing.assert_array_equal(found[:, 5:], np.zeros((400, 2)))


@pytest.mark.parametrize("dimensions", [0, 11])
def test_an_impossible_dimension_is_refused(dimensions: int) -> None:
    with pytest.raises(
        BadInput, match=f"Cannot reduce to {dimensions} dimensions. Expected 1 to 10"
    ):
        fit_projection(Scatter.of(*photos(6), 5), dimensions)


def test_nothing_and_no_numbers_are_refused() -> None:
    rows, leaf = photos(7, 3)
    with pytest.raises(BadInput) as caught:
        fit_projection(Scatter.of(rows[:0], leaf[:0], 5), 2)
    assert str(caught.value) == (
        "Cannot fit the projection. Expected at least one photo. Received: none."
    )
    rows[1, 2] = np.nan
    with pytest.raises(BadInput) as caught:
        Scatter.of(rows, leaf, 5)
    assert str(caught.value) == "An embedding holds NaN or infinity. Expected finite numbers."
