"""Which photos have a plain ground, where the light fades, the photo is not square, or wild."""

import numpy as np
import pytest
from PIL import Image

from model.ground import is_plain, plain_ground, smooth_ground
from model.pixels import PADDING, Pixels

SIDE = 64


def letterboxed(photo: Pixels) -> Pixels:
    canvas = Image.new("RGB", (SIDE, SIDE), PADDING)
    image = Image.fromarray(photo)
    canvas.paste(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
    return np.asarray(canvas)


def studio(width: int, height: int, fade: int = 0) -> Pixels:
    """A dark square in the middle half of a pale ground."""
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    light = (235 - fade * (x * x + y * y) / 2).astype(np.uint8)
    photo = np.stack([light] * 3, axis=2)
    photo[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = (30, 60, 90)
    return photo


def street(width: int, height: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (64, 48), (40, 64)])
@pytest.mark.parametrize("fade", [0, 40, 80])
def test_studio_shots_are_plain_whatever_their_shape(width: int, height: int, fade: int) -> None:
    photo = letterboxed(studio(width, height, fade))
    assert is_plain(photo, (10 * width, 10 * height)) or fade > 40
    product = ~smooth_ground(photo)
    rows, columns = np.flatnonzero(product.any(axis=1)), np.flatnonzero(product.any(axis=0))
    assert (len(columns), len(rows)) == (width // 2, height // 2)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (64, 40), (40, 64)])
def test_the_padding_of_a_wild_photo_is_no_plain_ground(width: int, height: int) -> None:
    """Most of such a square's border can be padding."""
    assert not is_plain(letterboxed(street(width, height)), (width, height))


def test_a_photo_that_is_not_square_has_a_ground() -> None:
    ground = plain_ground(studio(40, 24))
    assert ground.shape == (24, 40)
    assert (~ground).sum() == 20 * 12


def test_padding_alone_has_no_smooth_ground() -> None:
    assert not smooth_ground(np.full((SIDE, SIDE, 3), PADDING, np.uint8)).any()
