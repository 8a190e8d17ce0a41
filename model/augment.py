"""Random changes to training photos: zoom, shift, turn, mirror, light. Pillow and NumPy only.

Every draw comes from the generator that the caller passes, so a resumed epoch sees the same
photos as an uninterrupted one.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from model.pixels import PADDING, Pixels


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the changes; each is drawn evenly, per photo."""

    zoom: tuple[float, float] = (0.7, 1.15)  # share of the photo's side that stays visible
    turn_degrees: float = 12.0
    mirror: bool = True
    brightness: float = 0.25  # as a share of full scale, and the contrast alike
    colour: float = 0.08  # of each channel's gain; small, colour matters to shoppers
    erase: float = 0.25  # chance of a grey square over a part of the photo


def augment(photos: Pixels, rng: np.random.Generator, *, side: int, what: Augmentation) -> Pixels:
    """uint8 [n, s, s, 3] -> uint8 [n, side, side, 3]."""
    moved = np.stack([_move(photo, rng, side, what) for photo in photos])
    return _erase(_light(moved, rng, what), rng, what)


def _move(photo: Pixels, rng: np.random.Generator, side: int, what: Augmentation) -> Pixels:
    source = photo.shape[0]
    scale = source / side * rng.uniform(*what.zoom)
    angle = np.radians(rng.uniform(-what.turn_degrees, what.turn_degrees))
    mirror = -1 if what.mirror and rng.random() < 0.5 else 1
    a, b = scale * np.cos(angle) * mirror, scale * np.sin(angle)
    c, d = -scale * np.sin(angle) * mirror, scale * np.cos(angle)
    slack = abs(source - scale * side) / 2
    centre_x, centre_y = source / 2 + rng.uniform(-slack, slack, 2)
    half = side / 2
    matrix = (a, b, centre_x - (a + b) * half, c, d, centre_y - (c + d) * half)
    image = Image.fromarray(photo).transform(
        (side, side),
        Image.Transform.AFFINE,
        matrix,
        Image.Resampling.BILINEAR,
        fillcolor=PADDING,
    )
    return np.asarray(image)


def _light(photos: Pixels, rng: np.random.Generator, what: Augmentation) -> Pixels:
    n = len(photos)
    shift = rng.uniform(-what.brightness, what.brightness, (n, 1, 1, 1)) * 128
    contrast = 1 + rng.uniform(-what.brightness, what.brightness, (n, 1, 1, 1))
    gain = contrast * (1 + rng.uniform(-what.colour, what.colour, (n, 1, 1, 3)))
    offset = 128 + shift - 128 * contrast
    lit = photos * gain.astype(np.float32) + offset.astype(np.float32)
    return np.clip(lit, 0, 255).astype(np.uint8)


def _erase(photos: Pixels, rng: np.random.Generator, what: Augmentation) -> Pixels:
    side = photos.shape[1]
    for photo in np.flatnonzero(rng.random(len(photos)) < what.erase):
        size = int(side * rng.uniform(0.1, 0.35))
        top, left = rng.integers(0, side - size, 2)
        photos[photo, top : top + size, left : left + size] = 128
    return photos
