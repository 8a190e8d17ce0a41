"""Random changes to training photos: shapes, repeatability, and what each range does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.augment import Augmentation, augment, plain_ground
from model.pixels import Pixels

STILL = Augmentation(
    ground=0.0,
    zoom=(1.0, 1.0),
    turn_degrees=0.0,
    mirror=False,
    brightness=0.0,
    colour=0.0,
    erase=0.0,
)


def photos(n: int, side: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def draw(
    batch: Pixels, what: Augmentation, *, seed: int | list[int] = 0, side: int | None = None
) -> Pixels:
    rng = np.random.default_rng(seed)
    return augment(batch, rng, side=side or batch.shape[1], what=what)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 4),
    source=st.integers(8, 40),
    side=st.integers(8, 40),
    seed=st.integers(0, 2**32),
)
def test_every_draw_is_a_batch_of_pixels(n: int, source: int, side: int, seed: int) -> None:
    batch = photos(n, source)
    kept = batch.copy()
    found = draw(batch, Augmentation(), seed=seed, side=side)
    assert (found.shape, found.dtype) == ((n, side, side, 3), np.uint8)
    np.testing.assert_array_equal(batch, kept)


def test_the_generator_decides_everything() -> None:
    batch = photos(6, 32)
    once, twice, other = (draw(batch, Augmentation(), seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(once, twice)
    assert not np.array_equal(once, other)


def test_read_only_photos_are_welcome() -> None:
    batch = photos(2, 16)
    batch.setflags(write=False)
    assert draw(batch, Augmentation(erase=1.0)).shape == (2, 16, 16, 3)


@pytest.mark.parametrize("side", [8, 17, 64])
def test_without_ranges_nothing_changes(side: int) -> None:
    """Exactly: pixel centres fall on pixel centres, and light is a product with 1."""
    batch = photos(5, side)
    np.testing.assert_array_equal(draw(batch, STILL), batch)


def test_a_mirror_swaps_left_and_right_of_half_the_photos() -> None:
    batch = photos(200, 9)
    found = draw(batch, Augmentation(**{**vars(STILL), "mirror": True}))
    same = (found == batch).all(axis=(1, 2, 3))
    mirrored = (found == batch[:, :, ::-1]).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(mirrored, ~same)
    assert 70 <= mirrored.sum() <= 130


def test_zoom_shows_a_share_of_the_side() -> None:
    """At half the side a ramp is half as steep; at twice the side the rest is white."""
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None] * 4, (64, 64))
    batch = np.repeat(np.stack([ramp] * 20)[..., None], 3, axis=3)
    found = draw(batch, Augmentation(**{**vars(STILL), "zoom": (0.5, 0.5)})).astype(int)
    steps = np.diff(found[:, :, 32, 0], axis=1)
    np.testing.assert_array_equal(found, found[:, :, :1, :1].repeat(64, 2).repeat(3, 3))
    assert steps.mean() == pytest.approx(2, abs=0.1)
    wide = draw(photos(3, 64), Augmentation(**{**vars(STILL), "zoom": (2.0, 2.0)}))
    assert ((wide == 255).all(axis=3).mean(axis=(1, 2)) > 0.6).all()


def test_a_turn_keeps_the_middle_and_fills_the_corners_with_white() -> None:
    batch = np.zeros((30, 33, 33, 3), np.uint8)
    found = draw(batch, Augmentation(**{**vars(STILL), "turn_degrees": 30.0}), seed=1)
    assert (found[:, 16, 16] == 0).all()
    assert (found[:, 12:21, 12:21] == 0).all()
    assert (found == 255).any(axis=(1, 2, 3)).mean() > 0.8


@pytest.mark.parametrize(("what", "grey"), [("brightness", True), ("colour", False)])
def test_light_moves_by_its_range_alone(what: str, grey: bool) -> None:
    batch = np.full((300, 8, 8, 3), 128, np.uint8)
    found = draw(batch, Augmentation(**{**vars(STILL), what: 0.25})).astype(int)
    shades = found[:, 0, 0]
    np.testing.assert_array_equal(found, np.broadcast_to(shades[:, None, None], found.shape))
    assert bool((shades == shades[:, :1]).all()) is grey
    assert shades.min() >= 95
    assert shades.max() <= 160
    assert shades.min() < 100 < 155 < shades.max()


def test_erasing_draws_one_grey_square_over_its_share_of_the_photos() -> None:
    batch = np.zeros((400, 32, 32, 3), np.uint8)
    found = draw(batch, Augmentation(**{**vars(STILL), "erase": 0.25}))
    assert set(np.unique(found)) == {0, 128}
    hit = found.any(axis=(1, 2, 3))
    assert hit.mean() == pytest.approx(0.25, abs=0.07)
    for photo in found[hit]:
        rows, columns = np.nonzero(photo[..., 0])
        size = int(rows.max() - rows.min()) + 1
        square = photo[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert square.shape == (size, size, 3)
        assert (square == 128).all()
        assert (photo == 128).sum() == 3 * size * size
        assert 3 <= size <= 11
    np.testing.assert_array_equal(draw(batch, STILL), batch)
    everywhere = draw(batch, Augmentation(**{**vars(STILL), "erase": 1.0}))
    assert everywhere.any(axis=(1, 2, 3)).all()


def test_a_plain_ground_is_replaced_and_the_product_stays() -> None:
    plain = np.full((20, 20, 3), 240, np.uint8)
    plain[6:14, 6:14] = (200, 30, 40)
    striped = np.tile(np.array([[0, 0, 0], [90, 160, 60]], np.uint8), (20, 10, 1))
    mask = plain_ground(plain)
    assert mask.sum() == 20 * 20 - 8 * 8
    assert not mask[6:14, 6:14].any()
    assert not plain_ground(striped).any()
    batch = np.stack([plain, striped])
    found = draw(batch, Augmentation(**{**vars(STILL), "ground": 1.0}), seed=4)
    np.testing.assert_array_equal(found[1], striped)
    np.testing.assert_array_equal(found[0, 6:14, 6:14], plain[6:14, 6:14])
    assert (found[0][mask] != 240).any()
