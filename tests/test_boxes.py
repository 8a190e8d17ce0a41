"""Boxes as fractions of the square: overlap, and there and back from pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.boxes import Boxes, centre, iou, to_photo, to_square, whole
from model.errors import BadInput
from model.pixels import Box

places = st.floats(0, 1, width=32)
sides = st.integers(8, 5000)


def box(edges: list[float]) -> Boxes:
    """Sorted, so that it has an area or none."""
    left, right = sorted(edges[:2])
    top, bottom = sorted(edges[2:])
    return np.array([[left, top, right, bottom]], np.float32)


boxes = st.lists(places, min_size=4, max_size=4).map(box)


@given(boxes, boxes)
def test_overlap_is_a_share_and_takes_no_sides(one: Boxes, other: Boxes) -> None:
    (share,) = iou(one, other)
    assert 0 <= share <= 1
    assert iou(other, one)[0] == share


@given(boxes)
def test_a_box_overlaps_itself_wholly(one: Boxes) -> None:
    x1, y1, x2, y2 = one[0].tolist()  # in float64, as the overlap: a tiny area is one too
    area = (x2 - x1) * (y2 - y1)
    assert iou(one, one)[0] == pytest.approx(1.0 if area > 0 else 0.0)


@given(boxes, boxes)
def test_overlap_is_that_of_counted_points(one: Boxes, other: Boxes) -> None:
    place = (np.arange(400) + 0.5) / 400
    x, y = np.meshgrid(place, place)
    first, second = (
        (x > b[0, 0]) & (x < b[0, 2]) & (y > b[0, 1]) & (y < b[0, 3]) for b in (one, other)
    )
    union = (first | second).sum()
    expected = (first & second).sum() / union if union else 0.0
    thin = min(*(one[0, 2:] - one[0, :2]), *(other[0, 2:] - other[0, :2]))
    if thin > 0.1:
        assert iou(one, other)[0] == pytest.approx(expected, abs=0.05)


def test_boxes_that_are_apart_turned_over_or_empty_overlap_nothing() -> None:
    one = np.array([[0, 0, 0.2, 0.2], [0.5, 0.5, 0.1, 0.1], [0.3, 0.3, 0.3, 0.3]], np.float32)
    other = np.array([[0.5, 0.5, 1, 1], [0, 0, 1, 1], [0.3, 0.3, 0.3, 0.3]], np.float32)
    np.testing.assert_array_equal(iou(one, other), np.zeros(3))


@pytest.mark.parametrize("other", [np.zeros((2, 4)), np.zeros((1, 5)), np.zeros(4)])
def test_what_are_no_pairs_is_refused(other: np.ndarray) -> None:
    with pytest.raises(BadInput, match=r"^These boxes are no pairs\. Expected two arrays \[n, 4\]"):
        iou(np.zeros((1, 4), np.float32), other)


@given(sides, sides, st.data())
def test_pixels_to_the_square_and_back(width: int, height: int, data: st.DataObject) -> None:
    """Where the box is not thinner than a found one may be, and to a pixel of rounding out."""
    least = max(1, int(0.02 * max(width, height)) + 2)
    wide = data.draw(st.integers(min(least, width), width))
    high = data.draw(st.integers(min(least, height), height))
    x, y = data.draw(st.integers(0, width - wide)), data.draw(st.integers(0, height - high))
    found = to_photo(to_square(Box(x, y, wide, high), (width, height)), (width, height))
    if min(wide, high) < least:
        return
    assert found is not None
    np.testing.assert_allclose(found, (x, y, wide, high), atol=2)
    assert found.x >= 0
    assert found.y >= 0
    assert found.x + found.width <= width
    assert found.y + found.height <= height


@given(sides, sides)
def test_the_whole_photo_is_all_of_its_longer_side(width: int, height: int) -> None:
    edges = whole((width, height))
    longer = (0, 2) if width >= height else (1, 3)
    np.testing.assert_allclose(edges[list(longer)], [0, 1], atol=1e-6)
    np.testing.assert_allclose(edges[:2] + edges[2:], [1, 1], atol=1e-6)
    assert to_photo(edges, (width, height)) is None or to_photo(edges, (width, height)) == Box(
        0, 0, width, height
    )


def test_a_box_beyond_the_photo_is_clipped_to_it() -> None:
    np.testing.assert_allclose(to_square(Box(-50, 50, 100, 900), (100, 100)), [0, 0.5, 0.5, 1])


def test_the_middle_has_its_share_of_both_sides() -> None:
    np.testing.assert_allclose(centre((200, 100), 0.5), [0.25, 0.375, 0.75, 0.625])


@pytest.mark.parametrize("edges", [[np.nan, 0, 1, 1], [0, 0, np.inf, 1], [0.6, 0, 0.4, 1],
                                   [0.2, 0.5, 0.8, 0.505], [0.0, 0.0, 1.0, 0.2]])  # fmt: skip
def test_what_is_no_box_in_the_photo_is_none(edges: list[float]) -> None:
    """No number, the wrong way round, too thin, or all in the padding of a wide photo."""
    assert to_photo(np.array(edges, np.float32), (400, 100)) is None
