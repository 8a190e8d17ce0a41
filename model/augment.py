"""Random changes to training photos: ground, zoom, shift, turn, mirror, light.

Pillow and NumPy only, in the order of the words above. A studio shot on plain ground gets, half
of the time, a piece of another photo as its ground: without it the network tells studio from
street before it tells a shoe from a hat.

Every draw comes from the generator that the caller passes, so a resumed epoch sees the same
photos as an uninterrupted one.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from model.ground import plain_ground
from model.pixels import PADDING, Pixels


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the changes; each is drawn evenly, per photo."""

    ground: float = 0.5  # chance that a plain ground is replaced
    zoom: tuple[float, float] = (0.7, 1.15)  # share of the photo's side that stays visible
    turn_degrees: float = 12.0
    mirror: bool = True
    brightness: float = 0.25  # as a share of full scale, and the contrast alike
    colour: float = 0.08  # of each channel's gain; small, colour matters to shoppers
    erase: float = 0.25  # chance of a grey square over a part of the photo


def augment(photos: Pixels, rng: np.random.Generator, *, side: int, what: Augmentation) -> Pixels:
    """uint8 [n, s, s, 3] -> uint8 [n, side, side, 3]."""
    placed = _ground(photos, rng, what)
    moved = np.stack([_move(photo, rng, side, what) for photo in placed])
    return _erase(light(moved, rng, what), rng, what)


def cutmix(photos: Pixels, rng: np.random.Generator) -> tuple[Pixels, npt.NDArray[np.int64], float]:
    """Paste a square of another photo of the batch into each (Yun et al. 2019, arXiv 1905.04899).

    uint8 [n, s, s, 3] -> the photos, int64 [n] whose square it is, and the area a photo keeps.
    The area is drawn evenly; the square lies wholly inside.
    """
    side = photos.shape[1]
    size = int(side * np.sqrt(rng.random()))
    top, left = rng.integers(0, side - size + 1, 2)
    other = rng.permutation(len(photos))
    square = np.s_[:, top : top + size, left : left + size]
    mixed = photos.copy()
    mixed[square] = photos[other][square]
    return mixed, other, 1 - (size / side) ** 2


def _ground(photos: Pixels, rng: np.random.Generator, what: Augmentation) -> Pixels:
    """Replace the ground of some photos that have a plain one."""
    placed, side = photos.copy(), photos.shape[1]
    for number in np.flatnonzero(rng.random(len(photos)) < what.ground):
        mask = plain_ground(photos[number])
        other = photos[rng.integers(len(photos))]
        # Pieces of the middle: a product's pattern, where a corner would be plain ground again.
        size = int(rng.integers(side // 5, side // 2))
        top, left = rng.integers(side // 5, side - side // 5 - size, 2)
        piece = Image.fromarray(other[top : top + size, left : left + size])
        filled = np.asarray(piece.resize((side, side), Image.Resampling.BILINEAR))
        np.copyto(placed[number], filled, where=mask[..., None])
    return placed


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


def light(photos: Pixels, rng: np.random.Generator, what: Augmentation) -> Pixels:
    n, _, width, _ = photos.shape
    shift = rng.uniform(-what.brightness, what.brightness, (n, 1, 1)) * 128
    contrast = 1 + rng.uniform(-what.brightness, what.brightness, (n, 1, 1))
    gain = contrast * (1 + rng.uniform(-what.colour, what.colour, (n, 1, 3)))
    offset = 128 + shift - 128 * contrast
    # Whole rows: NumPy is five times slower over an axis of three.
    lit = photos.reshape(n, -1, width * 3) * np.tile(gain.astype(np.float32), width)
    lit += offset.astype(np.float32)
    return np.clip(lit, 0, 255, out=lit).astype(np.uint8).reshape(photos.shape)


def _erase(photos: Pixels, rng: np.random.Generator, what: Augmentation) -> Pixels:
    side = photos.shape[1]
    for photo in np.flatnonzero(rng.random(len(photos)) < what.erase):
        size = int(side * rng.uniform(0.1, 0.35))
        top, left = rng.integers(0, side - size, 2)
        photos[photo, top : top + size, left : left + size] = 128
    return photos
