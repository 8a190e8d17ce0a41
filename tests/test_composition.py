"""Studio shots in disorder: what is cut out, and whether the box is where the product is."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from model.composition import Disorder, compose, cut_out
from model.pixels import PADDING, Pixels

SIDE = 64
PRODUCT = (200, 30, 40)
ALONE = Disorder(litter=0, over=0.0, blur=0.0, outside=0.0)


def studio(box: tuple[int, int, int, int] = (20, 12, 43, 51), fade: int = 0) -> Pixels:
    """A red square on a pale ground whose light fades by `fade` levels to the corners."""
    place = np.linspace(-1, 1, SIDE)
    x, y = np.meshgrid(place, place)
    light = (240 - fade * (x * x + y * y) / 2).astype(np.uint8)
    photo = Image.fromarray(np.stack([light] * 3, axis=2))
    ImageDraw.Draw(photo).rectangle(box, fill=PRODUCT)
    return np.asarray(photo)


def grounds(seed: int = 0) -> Pixels:
    """Blue, so that red is only the product."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 60, (4, SIDE, SIDE, 3), np.uint8)
    pixels[..., 2] = rng.integers(120, 255, (4, SIDE, SIDE), np.uint8)
    return pixels


@pytest.mark.parametrize("fade", [0, 30, 60])
def test_a_product_is_cut_out_of_an_even_and_a_fading_ground(fade: int) -> None:
    cut = cut_out(studio(fade=fade))
    assert cut is not None
    assert (cut.mode, cut.size) == ("RGBA", (24, 40))
    assert cut.getpixel((12, 20)) == (*PRODUCT, 255)


@pytest.mark.parametrize(
    "photo",
    [
        pytest.param(np.full((SIDE, SIDE, 3), 240, np.uint8), id="nothing"),
        pytest.param(studio((0, 12, 40, 50)), id="cut by the edge"),
        pytest.param(studio((3, 3, 60, 60)), id="no ground"),
        pytest.param(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8), id="x"),
        pytest.param(np.full((SIDE, SIDE, 3), PADDING, np.uint8), id="padding"),
    ],
)
def test_there_is_no_product_to_cut_out(photo: Pixels) -> None:
    assert cut_out(photo) is None


@pytest.mark.parametrize("seed", range(20))
def test_the_box_is_where_the_product_is_seen(seed: int) -> None:
    cut = cut_out(studio())
    assert cut is not None
    photo, box = compose([cut], 0, grounds(), np.random.default_rng(seed), ALONE)
    assert (photo.shape, photo.dtype, box.shape, box.dtype) == (
        (SIDE, SIDE, 3), np.uint8, (4,), np.float32,
    )  # fmt: skip
    red = photo[..., 0].astype(int) - photo[..., 2] > 40
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    seen = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / SIDE
    np.testing.assert_allclose(box, seen, atol=2.1 / SIDE)


def test_the_same_draw_gives_the_same_photo_and_another_another() -> None:
    cut = cut_out(studio())
    assert cut is not None
    one, again, other = (
        compose([cut, cut], 1, grounds(), np.random.default_rng(seed), Disorder())
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one[0], again[0])
    np.testing.assert_array_equal(one[1], again[1])
    assert (one[0] != other[0]).any()


@pytest.mark.parametrize("seed", range(20))
def test_every_box_lies_in_the_square_and_has_an_area(seed: int) -> None:
    cut = cut_out(studio())
    assert cut is not None
    _, box = compose([cut], 0, grounds(), np.random.default_rng(seed), Disorder())
    assert 0 <= box[0] < box[2] <= 1
    assert 0 <= box[1] < box[3] <= 1
