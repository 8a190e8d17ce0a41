"""What is searched of a photo: a box that is given, one that is found, or all of it."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import LEAVES, SIDE, add_localiser, draw_photo

from engine.shop import ids, name
from model.errors import BadImage, Damaged
from model.pixels import Box
from serving.bundle import verify
from serving.engine import Engine, Searched


def localised(root: Path, digest: str, edges: tuple[float, ...], **given: int) -> Engine:
    """The engine of the bundle with a localiser that always finds these edges."""
    changed = add_localiser(root, digest, edges, **given)
    return Engine(verify(root / "bundles" / changed, changed), threads=1)


def test_a_box_changes_the_answer(engine: Engine) -> None:
    photo = Image.new("RGB", (480, 240), (250, 250, 250))
    for place, number in ((0, 20), (240, 33)):
        photo.paste(Image.open(io.BytesIO(draw_photo(number))), (place, 0))
    data = io.BytesIO()
    photo.save(data, "PNG")
    left, right = (
        engine.search(data.getvalue(), 1, box)
        for box in (Box(0, 0, 240, 240), Box(240, 0, 240, 240))
    )
    assert (ids(left), ids(right)) == ([name(20)], [name(33)])
    assert [answer.category[0]["path"] for answer in (left, right)] == [
        LEAVES[20 % len(LEAVES)][0],
        LEAVES[33 % len(LEAVES)][0],
    ]
    with pytest.raises(BadImage) as caught:
        engine.search(data.getvalue(), 1, Box(480, 0, 10, 10))
    assert caught.value.reason == "box_outside_image"


def street(*numbers: int) -> bytes:
    """Products side by side on a ground that is not plain."""
    chance = np.random.default_rng(0)
    ground = chance.integers(0, 256, (240, 240 * len(numbers), 3), np.uint8)
    photo = Image.fromarray(ground)
    for place, number in enumerate(numbers):
        product = Image.open(io.BytesIO(draw_photo(number))).crop((10, 10, 230, 230))
        photo.paste(product, (240 * place + 10, 10))
    data = io.BytesIO()
    photo.save(data, "PNG")
    return data.getvalue()


LEFT, RIGHT = (0.0, 0.25, 0.5, 0.75), (0.5, 0.25, 1.0, 0.75)  # of a photo twice as wide as high


@pytest.mark.parametrize(("edges", "box"), [(LEFT, (0, 0, 240, 240)), (RIGHT, (240, 0, 240, 240))])
def test_the_found_box_is_searched_as_if_it_had_been_given(
    root: Path, digest: str, edges: tuple[float, ...], box: tuple[int, ...]
) -> None:
    engine = localised(root, digest, edges)
    photo = street(20, 33)
    found, given = engine.search(photo, 5), engine.search(photo, 5, Box(*box))
    assert found.searched == Searched("found", Box(*box), (480, 240))
    assert given.searched == Searched("given", Box(*box), (480, 240))
    assert (found.hits, found.category) == (given.hits, given.category)


def test_the_whole_photo_is_searched_when_asked_and_without_a_localiser(
    root: Path, digest: str, engine: Engine
) -> None:
    photo, other = street(20, 33), localised(root, digest, LEFT)
    asked, without = other.search(photo, 5, "whole"), engine.search(photo, 5)
    assert asked.searched == without.searched == Searched("whole", Box(0, 0, 480, 240), (480, 240))
    assert asked.hits == without.hits == engine.search(photo, 5, Box(0, 0, 480, 240)).hits
    assert asked.hits != other.search(photo, 5).hits


def test_a_product_on_plain_ground_is_searched_whole(root: Path, digest: str) -> None:
    engine = localised(root, digest, (0.4, 0.4, 0.6, 0.6))
    answer = engine.search(draw_photo(8), 1)
    assert answer.searched == Searched("whole", Box(0, 0, 240, 240), (240, 240))
    assert ids(answer) == [name(8)]


@pytest.mark.parametrize("edges", [(np.nan,) * 4, (0.6, 0.2, 0.4, 0.8), (0.0, 0.0, 1.0, 0.1)])
def test_where_nothing_is_found_the_whole_photo_is_searched(
    root: Path, digest: str, edges: tuple[float, ...]
) -> None:
    """No number, no area, or none of it in the photo."""
    answer = localised(root, digest, edges).search(street(20, 33), 1)
    assert answer.searched == Searched("whole", Box(0, 0, 480, 240), (480, 240))


@pytest.mark.parametrize(
    ("edges", "side", "received"), [(LEFT, 64, r"64 and \[4\]"), (LEFT[:3], SIDE, r"32 and \[3\]")]
)
def test_a_localiser_of_another_pixel_spec_is_refused(
    root: Path, digest: str, edges: tuple[float, ...], side: int, received: str
) -> None:
    with pytest.raises(
        Damaged,
        match=rf"^The localiser is not of this pixel spec\. Expected images of side 32 and 4 "
        rf"edges\. Found: {received}\. Build the bundle again\.$",
    ):
        localised(root, digest, edges, side=side)


def test_an_item_is_searched_by_its_vector_alone(engine: Engine) -> None:
    assert engine.similar("item-001", 1).searched is None
