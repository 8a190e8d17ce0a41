"""Boxes around a product, as fractions of the square that a photo is letterboxed into.

A box is left, top, right, bottom; 0 and 1 are the edges of the square of `pixels.to_pixels`. In
this form a box does not depend on the pixel spec, and boxes of all photos compare.
"""

import math

import numpy as np
import numpy.typing as npt

from model.errors import BadInput
from model.pixels import Box, Size

Boxes = npt.NDArray[np.float32]  # [n, 4]: left, top, right, bottom

EDGES = 4
MIN_SHARE = 0.02  # of the photo's longer side; a found box that is thinner is no find


def iou(one: Boxes, other: Boxes) -> npt.NDArray[np.float64]:
    """Intersection over union of each pair, float64 [n], 0 where both are empty.

    Raises BadInput unless both are [n, 4].
    """
    if one.shape != other.shape or one.shape[1:] != (EDGES,):
        raise BadInput(
            f"These boxes are no pairs. Expected two arrays [n, {EDGES}]. "
            f"Received: {one.shape} and {other.shape}."
        )
    both = np.concatenate(
        [np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])], axis=1
    )
    inside = _area(both)
    union = _area(one) + _area(other) - inside
    return np.divide(inside, union, out=np.zeros(len(union)), where=union > 0)


def to_square(box: Box, size: Size) -> Boxes:
    """A box in pixels of the upright photo -> float32 [4] of the square, clipped to the photo."""
    width, height = size
    edges = np.array([box.x, box.y, box.x + box.width, box.y + box.height], np.float64)
    edges = np.clip(edges, 0, [width, height, width, height])
    return np.asarray(0.5 + (edges - _middle(size)) / max(size), np.float32)


def to_photo(edges: Boxes, size: Size) -> Box | None:
    """A box [4] of the square -> pixels of the upright photo; None where it is no box in it."""
    if not np.isfinite(edges).all():
        return None
    left, top, right, bottom = (edges.astype(np.float64) - 0.5) * max(size) + _middle(size)
    left, right = max(left, 0.0), min(right, size[0])
    top, bottom = max(top, 0.0), min(bottom, size[1])
    if min(right - left, bottom - top) < MIN_SHARE * max(size):
        return None
    x, y = math.floor(left), math.floor(top)
    return Box(x, y, math.ceil(right) - x, math.ceil(bottom) - y)


def whole(size: Size) -> Boxes:
    """The photo itself, float32 [4]."""
    return to_square(Box(0, 0, *size), size)


def centre(size: Size, share: float) -> Boxes:
    """The middle of the photo, `share` of its width and of its height, float32 [4]."""
    return np.asarray(0.5 + share * (whole(size) - np.float32(0.5)), np.float32)


def _middle(size: Size) -> npt.NDArray[np.float64]:
    return np.array([*size, *size], np.float64) / 2


def _area(boxes: Boxes) -> npt.NDArray[np.float64]:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return np.asarray(np.prod(sides, axis=1, dtype=np.float64))
