"""The two honest baselines: colours by hand, components against a plain SVD."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.baselines import (
    BINS,
    COMPONENTS,
    THUMBNAIL,
    cielab,
    colour_histogram,
    fit_pixel_components,
)
from model.errors import BadInput


def photos(n: int, side: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), np.uint8)


def plain(*colours: tuple[int, int, int], side: int = 6) -> np.ndarray:
    return np.broadcast_to(
        np.array(colours, np.uint8)[:, None, None], (len(colours), side, side, 3)
    )


def test_lightness_and_hues_are_those_of_the_standard() -> None:
    """Of the sRGB corners, as colour tables print them."""
    corners = [[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    table = [
        [0, 0, 0],
        [100, 0, 0],
        [53.24, 80.09, 67.20],
        [87.74, -86.18, 83.18],
        [32.30, 79.19, -107.86],
    ]
    np.testing.assert_allclose(cielab(np.array(corners, float)), table, atol=0.03)


def test_a_histogram_of_one_colour_is_one_bin() -> None:
    found = colour_histogram(plain((200, 30, 30), (30, 30, 200)))
    assert (found.shape, found.dtype) == ((2, np.prod(BINS)), np.float32)
    assert np.sort(found, axis=1)[:, -2:].tolist() == [[0.0, 1.0]] * 2
    assert float(found[0] @ found[1]) == 0.0


def test_greys_differ_in_lightness_alone() -> None:
    """A grey on the edge between two bins would be in either, by rounding."""
    greys = colour_histogram(plain(*((level, level, level) for level in range(256))))
    used = np.unique(greys.argmax(axis=1))
    assert len(used) == BINS[0]
    assert len({np.unravel_index(one, BINS)[1:] for one in used}) == 1


def test_the_cosine_is_the_bhattacharyya_coefficient() -> None:
    """Three quarters red against one quarter red share sqrt(3)/4 + sqrt(3)/4."""
    pair = plain((200, 30, 30), (200, 30, 30), side=4).copy()
    pair[0, 3:], pair[1, 1:] = (30, 30, 200), (30, 30, 200)
    one, other = colour_histogram(pair)
    assert float(one @ other) == pytest.approx(np.sqrt(3) / 2, abs=1e-6)


@settings(max_examples=20)
@given(st.integers(1, 5), st.integers(1, 12), st.integers(0, 1000))
def test_only_colours_count(n: int, side: int, seed: int) -> None:
    pixels = photos(n, side, seed)
    found = colour_histogram(pixels)
    shuffled = np.random.default_rng(seed).permutation(pixels.reshape(n, -1, 3), axis=1)
    np.testing.assert_array_equal(found, colour_histogram(shuffled.reshape(pixels.shape)))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(found[:1], colour_histogram(pixels[:1]))


def test_components_are_those_of_a_singular_value_decomposition() -> None:
    pixels = photos(12)
    found = fit_pixel_components(pixels)(pixels)
    flat = pixels.reshape(12, -1) / 255
    left, strength, _ = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    expected = left[:, :11] * strength[:11]  # twelve photos about their mean span eleven
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert (found.dtype, found.shape) == (np.float32, (12, 12))
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-4)


def test_there_are_no_more_components_than_asked_for() -> None:
    pixels = photos(COMPONENTS + 40, side=8)
    found = fit_pixel_components(pixels)
    assert found(pixels[:3]).shape == (3, COMPONENTS)
    gram = found.components.T @ found.components
    np.testing.assert_allclose(gram, np.eye(COMPONENTS), atol=1e-3)


@pytest.mark.parametrize("side", [THUMBNAIL + 1, 48, 64])
def test_a_larger_photo_is_averaged_over_equal_areas(side: int) -> None:
    """A flat photo stays flat, and a gradient keeps its mean."""
    ramp = np.zeros((2, side, side, 3), np.uint8)
    ramp[1] = np.linspace(0, 255, side).astype(np.uint8)[:, None, None]
    found = fit_pixel_components(ramp)
    small = 2 * found.mean.reshape(THUMBNAIL, THUMBNAIL, 3)  # of a black photo and the ramp
    assert small.mean() == pytest.approx(ramp[1].mean() / 255, abs=1e-5)
    assert (np.diff(small[:, 0, 0]) > 0).all()
    assert np.ptp(small, axis=1).max() < 1e-6


def test_photos_that_are_all_equal_have_no_components() -> None:
    pixels = plain((10, 200, 90), (10, 200, 90), (10, 200, 90))
    found = fit_pixel_components(pixels)
    np.testing.assert_array_equal(found(pixels), np.zeros((3, 3), np.float32))
    assert np.isfinite(found(photos(4, side=6))).all()


def test_one_photo_and_none() -> None:
    assert fit_pixel_components(photos(1))(photos(2)).shape == (2, 1)
    with pytest.raises(BadInput, match="at least one photo"):
        fit_pixel_components(photos(0))
