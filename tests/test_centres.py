"""Centres in two levels: as many as asked for, each where vectors are."""

from collections.abc import Iterator

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_index import vectors

from model.reducer import unit
from serving.centres import _shares, centres


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)


@pytest.mark.parametrize("lists", [1, 2, 7, 64, 200])
def test_there_are_as_many_as_asked_for_and_of_unit_length(lists: int) -> None:
    found = centres(vectors(2000, 16), lists)
    assert (found.shape, found.dtype) == ((lists, 16), np.float32)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), np.ones(lists), atol=1e-4)


def test_two_levels_are_nearly_as_near_as_one() -> None:
    sample = vectors(4000, 16)
    plain = faiss.Kmeans(16, 100, niter=6, spherical=True, max_points_per_centroid=1000)
    plain.train(sample)
    one, two = (
        (sample @ each.T).max(axis=1).mean() for each in (plain.centroids, centres(sample, 100))
    )
    assert two >= 0.95 * one  # random directions have no clusters: the worst case


def test_each_cluster_gets_a_centre() -> None:
    places = vectors(20, 16)
    noise = 0.02 * vectors(2000, 16, seed=1)
    sample = unit(np.repeat(places, 100, axis=0) + noise)
    nearest = (places @ centres(sample, 200).T).max(axis=1)
    assert nearest.min() > 0.99


def test_the_same_sample_has_the_same_centres() -> None:
    sample = vectors(1000, 8)
    np.testing.assert_array_equal(centres(sample, 50), centres(sample, 50))


@settings(max_examples=100)
@given(st.lists(st.integers(0, 500), min_size=1, max_size=30), st.integers(1, 200))
def test_shares_are_all_of_the_lists_and_never_more_than_members(
    sizes: list[int], lists: int
) -> None:
    lists = min(lists, sum(sizes))
    if lists:
        shares = _shares(np.array(sizes), lists)
        assert sum(shares) == lists
        assert all(share <= size for share, size in zip(shares, sizes, strict=True))


@settings(max_examples=50)
@given(st.lists(st.integers(1, 500), min_size=1, max_size=30), st.integers(1, 200))
def test_shares_are_by_size(sizes: list[int], lists: int) -> None:
    """No group is a whole list behind its part unless it is full."""
    lists = min(lists, sum(sizes))
    shares = np.array(_shares(np.array(sizes), lists))
    part = np.array(sizes) / sum(sizes) * lists
    assert (np.abs(shares - part) < 1).all()
