"""Random changes to training photos: shapes, repeatability, and what each range does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.augment import Augmentation, augment, cutmix, plain_ground
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


@settings(max_examples=30)
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


@settings(max_examples=60)
@given(n=st.integers(1, 6), side=st.integers(1, 24), seed=st.integers(0, 2**32))
def test_cutmix_pastes_one_square_of_another_photo(n: int, side: int, seed: int) -> None:
    batch = photos(n, side, seed=1)
    kept_batch = batch.copy()
    mixed, other, kept = cutmix(batch, np.random.default_rng(seed))
    np.testing.assert_array_equal(batch, kept_batch)
    assert sorted(other) == list(range(n))
    foreign = np.arange(n) != other
    changed = (mixed != batch).any(axis=3)
    assert not changed[~foreign].any()
    size = round(side * np.sqrt(1 - kept))
    assert kept == pytest.approx(1 - (size / side) ** 2)
    for number in np.flatnonzero(foreign & (size > 0)):
        differs = changed[number]
        rows, columns = np.nonzero(differs)
        assert max(np.ptp(rows), np.ptp(columns)) < size
        np.testing.assert_array_equal(mixed[number][differs], batch[other[number]][differs])


def test_cutmix_keeps_every_share_with_the_same_chance() -> None:
    batch = photos(2, 64)
    kept = [cutmix(batch, np.random.default_rng(seed))[2] for seed in range(600)]
    assert np.mean(kept) == pytest.approx(0.51, abs=0.04)
    assert np.histogram(kept, 4, (0, 1))[0] == pytest.approx([150] * 4, abs=50)


# The ground.


def studio(ground: tuple[int, int, int], *, noise: int = 0, side: int = 20) -> Pixels:
    """A red square on plain ground, a little left of the middle."""
    photo = np.random.default_rng(0).integers(-noise, noise + 1, (side, side, 3)) + ground
    photo[6:14, 4:12] = (200, 30, 30)
    return np.clip(photo, 0, 255).astype(np.uint8)


PRODUCT = np.zeros((20, 20), bool)
PRODUCT[6:14, 4:12] = True
EDGES = {"top": np.s_[:2], "bottom": np.s_[-2:], "left": np.s_[:, :2], "right": np.s_[:, -2:]}


@pytest.mark.parametrize(
    ("ground", "noise"), [((255, 255, 255), 0), ((240, 240, 235), 6), ((40, 90, 60), 6)]
)
def test_plain_ground_is_all_but_the_product(ground: tuple[int, int, int], noise: int) -> None:
    np.testing.assert_array_equal(plain_ground(studio(ground, noise=noise)), ~PRODUCT)


def test_padding_is_ground_too() -> None:
    photo = studio((120, 120, 120))
    photo[:2] = 255
    np.testing.assert_array_equal(plain_ground(photo), ~PRODUCT)


@pytest.mark.parametrize("side", EDGES)
def test_a_product_may_be_cut_by_one_side_whichever_it_is(side: str) -> None:
    street = photos(1, 20)[0]
    photo = studio((255, 255, 255))
    photo[EDGES[side]] = street[EDGES[side]] // 2
    expected = ~PRODUCT
    expected[EDGES[side]] = False
    np.testing.assert_array_equal(plain_ground(photo), expected)
    for edge in EDGES.values():
        photo[edge] = street[edge]
    assert not plain_ground(photo).any()
    assert not plain_ground(street).any()


@settings(max_examples=40)
@given(st.integers(0, 1000), st.integers(0, 8), st.integers(0, 8), st.integers(8, 20))
def test_ground_is_the_same_from_every_side(seed: int, top: int, left: int, size: int) -> None:
    photo = studio((250, 250, 250), noise=4)
    patch = photo[top : top + size, left : left + size]
    patch[:] = np.random.default_rng(seed).integers(0, 256, patch.shape, dtype=np.uint8)
    expected = plain_ground(photo)
    np.testing.assert_array_equal(plain_ground(photo[:, ::-1]), expected[:, ::-1])
    np.testing.assert_array_equal(plain_ground(photo[::-1]), expected[::-1])
    np.testing.assert_array_equal(plain_ground(photo.swapaxes(0, 1)), expected.T)


def test_another_ground_leaves_the_product_and_photos_of_the_street() -> None:
    street = photos(1, 20)[0]
    batch = np.stack([studio((255, 255, 255)), street] * 200)
    found = draw(batch, Augmentation(**{**vars(STILL), "ground": 0.5}))
    np.testing.assert_array_equal(found[1::2], batch[1::2])
    np.testing.assert_array_equal(found[:, PRODUCT], batch[:, PRODUCT])
    changed = (found[::2] != batch[::2]).any(axis=(1, 2, 3))
    assert changed.mean() == pytest.approx(0.5, abs=0.12)
