"""The plain ground of a studio shot: what is not the product, or nothing where there is no such."""

import numpy as np
import numpy.typing as npt

from model.pixels import PADDING, Pixels, Size

GROUND_LEVELS = 14  # of 255 that a plain ground may vary, per channel
GROUND_SHARE = 0.6  # of the border that must be of the ground's colour
BORDER = 0.06  # share of the photo's side along each edge that a surface is fitted to
FITS = 3  # each without the pixels that were far from the one before


def plain_ground(photo: Pixels) -> npt.NDArray[np.bool_]:
    """bool [height, width]: pixels of the ground; none where the border is not of one colour."""
    strips = photo[:2], photo[-2:], photo[:, :2], photo[:, -2:]
    border = np.concatenate([strip.reshape(-1, 3) for strip in strips])
    colour = np.partition(border, len(border) // 2, axis=0)[len(border) // 2]
    if _near(border, colour, GROUND_LEVELS).mean() < GROUND_SHARE:
        return np.zeros(photo.shape[:2], bool)
    padding = np.array(PADDING, np.uint8)
    return _near(photo, colour, GROUND_LEVELS) | _near(photo, padding, 0)


def _near(pixels: Pixels, colour: Pixels, levels: int) -> npt.NDArray[np.bool_]:
    """bool [...]: at most `levels` from `colour` in every channel."""
    far = np.maximum(pixels, colour) - np.minimum(pixels, colour)
    red, green, blue = (far[..., channel] <= levels for channel in range(3))
    return np.asarray(red & green & blue)


def is_plain(photo: Pixels, size: Size) -> bool:
    """Whether a letterboxed photo of this width and height is of a product on plain ground.

    Of a catalogue's own kind, that is: such photos are embedded and searched whole.
    """
    side = len(photo)
    width, height = (max(1, round(length * side / max(size))) for length in size)
    left, top = (side - width) // 2, (side - height) // 2
    # Not `smooth_ground`: it takes a table or a wall out of focus for a studio's.
    return bool(plain_ground(photo[top : top + height, left : left + width]).any())


def smooth_ground(photo: Pixels) -> npt.NDArray[np.bool_]:
    """bool [side, side], as `plain_ground`, of a ground whose light fades over the photo.

    Its colour is a quadratic surface through the pixels along the border. The white padding of a
    letterboxed photo belongs to it.
    """
    side = len(photo)
    place = np.linspace(-1, 1, side)
    x, y = (each.ravel() for each in np.meshgrid(place, place))
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=1)
    colours = photo.reshape(-1, 3)
    padding = _near(colours, np.array(PADDING, np.uint8), 0)
    inside = np.flatnonzero(~padding)
    reach = max(np.abs(x[inside]).max(initial=0), 1e-6), max(np.abs(y[inside]).max(initial=0), 1e-6)
    rim = np.maximum(np.abs(x) / reach[0], np.abs(y) / reach[1]) > 1 - 2 * BORDER
    border = np.flatnonzero(rim & ~padding)
    kept = border
    for _ in range(FITS):
        if len(kept) <= terms.shape[1]:
            return np.zeros(photo.shape[:2], bool)
        surface = terms @ np.linalg.lstsq(terms[kept], colours[kept].astype(float), rcond=None)[0]
        near = (np.abs(surface - colours) <= GROUND_LEVELS).all(axis=1)
        kept = border[near[border]]
    if len(kept) < GROUND_SHARE * len(border):
        return np.zeros(photo.shape[:2], bool)
    return np.asarray((near | padding).reshape(side, side))
