"""The reducers: components about the origin, the same in blocks as at once."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import BadInput
from model.reducer import (
    METHODS,
    Array,
    Method,
    Reducer,
    fit_pca,
    fit_reducer,
    second_moment,
    unit,
)

EMPTY_2 = np.empty((0, 2), np.float32)


def rows(n: int, width: int, seed: int, rank: int | None = None) -> Array:
    """Unit vectors whose directions differ in strength by 2, so that each stands for itself."""
    rng = np.random.default_rng(seed)
    inner = min(width, rank or width)
    strength = 2.0 ** -np.arange(inner)
    turn = np.linalg.qr(rng.normal(size=(width, width)))[0][:inner]
    return unit((rng.normal(size=(n, inner)) * strength) @ turn)


SIZES = {
    "n": st.integers(1, 60),
    "shape": st.integers(1, 10).flatmap(lambda d: st.tuples(st.just(d), st.integers(1, d))),
    "seed": st.integers(0, 2**32 - 1),
}


@settings(max_examples=100)
@given(**SIZES, rank=st.integers(1, 10), method=st.sampled_from(METHODS))
def test_components_are_orthogonal(
    n: int, shape: tuple[int, int], seed: int, rank: int, method: Method
) -> None:
    """Also with fewer rows than dimensions, and of a lower rank than is asked for."""
    width, dimensions = shape
    moment = second_moment([rows(n, width, seed, rank)])
    reducer = fit_reducer(moment, dimensions, method)
    assert reducer.components.shape == (width, dimensions)
    assert (reducer.components.dtype, reducer.explained.dtype) == (np.float32, np.float32)
    length = np.linalg.norm(reducer.components, axis=0)
    gram = (reducer.components / length).T @ (reducer.components / length)
    np.testing.assert_allclose(gram, np.eye(dimensions), atol=1e-5)
    if method != "whiten":
        np.testing.assert_allclose(length, np.ones(dimensions), atol=1e-5)
    assert (np.diff(reducer.explained) <= 1e-6).all()
    assert 0 <= reducer.explained.sum() <= 1 + 1e-5


@settings(max_examples=60)
@given(**SIZES, cuts=st.lists(st.integers(0, 60), max_size=5))
def test_blocks_equal_one_pass(n: int, shape: tuple[int, int], seed: int, cuts: list[int]) -> None:
    """Compared as projections: where eigenvalues are equal, any basis of their plane is right."""
    width, dimensions = shape
    data = rows(n + width, width, seed)
    whole = fit_pca([data], dimensions)
    parts = fit_pca(np.split(data, sorted(min(cut, len(data)) for cut in cuts)), dimensions)
    np.testing.assert_allclose(parts.explained, whole.explained, atol=1e-6)
    np.testing.assert_allclose(
        parts.components @ parts.components.T, whole.components @ whole.components.T, atol=1e-6
    )


def test_blocks_equal_one_pass_component_by_component() -> None:
    data = rows(5000, 12, 3)
    whole = fit_pca([data], 6)
    parts = fit_pca((data[start : start + 317] for start in range(0, 5000, 317)), 6)
    np.testing.assert_allclose(parts.components, whole.components, atol=1e-6)
    np.testing.assert_allclose(parts(data), whole(data), atol=1e-6)


def test_components_are_the_singular_vectors_about_the_origin() -> None:
    data = rows(400, 8, 5)
    values, vectors = np.linalg.svd(data.astype(np.float64), full_matrices=False)[1:]
    reducer = fit_pca([data], 4)
    overlap = np.abs(np.einsum("dk,kd->k", reducer.components, vectors[:4]))
    np.testing.assert_allclose(overlap, np.ones(4), atol=1e-6)
    np.testing.assert_allclose(reducer.explained, (values**2 / (values**2).sum())[:4], atol=1e-6)


@settings(max_examples=60)
@given(**SIZES)
def test_the_largest_entry_of_a_component_is_positive(
    n: int, shape: tuple[int, int], seed: int
) -> None:
    width, dimensions = shape
    components = fit_pca([rows(n, width, seed)], dimensions).components
    largest = components[np.abs(components).argmax(axis=0), np.arange(components.shape[1])]
    assert (largest > 0).all()


def test_the_sign_does_not_depend_on_that_of_the_data() -> None:
    data = rows(200, 6, 9)
    first, second = (fit_pca([sign * data], 6) for sign in (1, -1))
    np.testing.assert_array_equal(first.components, second.components)


def test_all_dimensions_keep_every_angle() -> None:
    data = rows(50, 8, 11)
    reduced = fit_pca([data], 8)(data)
    np.testing.assert_allclose(reduced @ reduced.T, data @ data.T, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(reduced, axis=1), np.ones(50), atol=1e-6)


def test_data_in_a_plane_needs_two_dimensions() -> None:
    data = rows(30, 7, 13, rank=2)
    reducer = fit_pca([data], 5)
    np.testing.assert_allclose(reducer.explained[2:], np.zeros(3), atol=1e-6)
    np.testing.assert_allclose(
        reducer(data) @ reducer(data).T, data @ data.T, atol=1e-5
    )  # fmt: skip


def test_a_reducer_comes_back_from_disk(tmp_path: Path) -> None:
    reducer = fit_pca([rows(40, 6, 1)], 3)
    reducer.save(tmp_path / "reducer.npz")
    loaded = Reducer.load(tmp_path / "reducer.npz")
    np.testing.assert_array_equal(loaded.components, reducer.components)
    np.testing.assert_array_equal(loaded.explained, reducer.explained)
    data = rows(5, 6, 2)
    np.testing.assert_array_equal(loaded(data), reducer(data))


def test_nothing_and_zeros_have_a_place() -> None:
    reducer = fit_pca([EMPTY_2, np.array([[3.0, 4.0]], np.float32), EMPTY_2], 1)
    np.testing.assert_allclose(reducer.components, [[0.6], [0.8]], atol=1e-6)
    assert reducer(EMPTY_2).shape == (0, 1)
    np.testing.assert_array_equal(reducer(np.zeros((2, 2), np.float32)), np.zeros((2, 1)))
    flat = fit_pca([np.zeros((4, 3), np.float32)], 2)
    np.testing.assert_array_equal(flat.explained, [0.0, 0.0])
    np.testing.assert_allclose(flat.components.T @ flat.components, np.eye(2), atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_must_be_finite(value: float) -> None:
    data = rows(20, 4, 1)
    data[7, 2] = value
    with pytest.raises(BadInput) as caught:
        fit_pca([rows(5, 4, 0), data], 2)
    message = "An embedding holds NaN or infinity. Expected finite numbers."
    assert str(caught.value) == message


@pytest.mark.parametrize("blocks", [[], [EMPTY_2, EMPTY_2]])
def test_there_must_be_something_to_fit(blocks: list[Array]) -> None:
    with pytest.raises(BadInput) as caught:
        second_moment(blocks)
    assert str(caught.value) == (
        "Cannot fit the reducer. Expected at least one embedding. Received: none."
    )


@pytest.mark.parametrize("dimensions", [-1, 0, 5, 500])
def test_an_impossible_dimension_is_refused(dimensions: int) -> None:
    with pytest.raises(BadInput) as caught:
        fit_pca([np.eye(4, dtype=np.float32)], dimensions)
    assert str(caught.value) == (
        f"Cannot reduce to {dimensions} dimensions. Expected 1 to 4, the width of the embedding. "
        f"Lower `reduce.dimensions`, or set it to `auto`."
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_first_components_are_those_of_a_smaller_fit(method: Method) -> None:
    moment = second_moment([rows(300, 8, 4)])
    part, fitted = fit_reducer(moment, 8, method).first(3), fit_reducer(moment, 3, method)
    np.testing.assert_array_equal(part.components, fitted.components)
    np.testing.assert_array_equal(part.explained, fitted.explained)


def test_truncation_keeps_the_strongest_axes() -> None:
    data = unit(np.random.default_rng(2).normal(size=(200, 4)) * [1, 4, 2, 8])
    reducer = fit_reducer(second_moment([data]), 2, "truncate")
    np.testing.assert_array_equal(reducer.components, np.eye(4)[:, [3, 1]])
    np.testing.assert_allclose(reducer(data), unit(data[:, [3, 1]]), atol=1e-6)
    share = (data**2).sum(axis=0) / (data**2).sum()
    np.testing.assert_allclose(reducer.explained, share[[3, 1]], atol=1e-6)


def test_whitening_evens_out_the_directions() -> None:
    data = rows(4000, 5, 6)
    moment = second_moment([data])
    white = data @ fit_reducer(moment, 3, "whiten").components
    strength = np.sort(np.linalg.eigvalsh(moment))[::-1]
    floor = 0.01 * strength.mean()
    np.testing.assert_allclose(
        second_moment([white]), np.diag(strength[:3] / (strength[:3] + floor)), atol=1e-4
    )


def test_whitening_does_not_blow_up_what_is_not_there() -> None:
    white = fit_reducer(second_moment([rows(200, 6, 3, rank=2)]), 6, "whiten")
    length = np.linalg.norm(white.components, axis=0)
    assert length.max() / length.min() < 25


@pytest.mark.parametrize("shape", [(3, 5), (3, 7), (6,), (1, 3, 6)])
def test_embeddings_of_another_width_are_refused(shape: tuple[int, ...]) -> None:
    reducer = fit_pca([rows(40, 6, 1)], 3)
    with pytest.raises(BadInput) as caught:
        reducer(np.ones(shape, np.float32))
    assert str(caught.value) == (
        f"Wrong embeddings for this reducer. Expected [n, 6]. Received: {shape}."
    )


@given(st.integers(0, 5), st.integers(1, 5), st.integers(0, 100), st.floats(1e-6, 1e6))
def test_unit_keeps_directions(n: int, width: int, seed: int, scale: float) -> None:
    data = np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)
    found = unit(data * np.float32(scale))
    assert (found.shape, found.dtype) == ((n, width), np.float32)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), np.ones(n), atol=1e-5)
    np.testing.assert_allclose(found, unit(data), atol=1e-5)
