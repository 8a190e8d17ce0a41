"""The sheet of queries and neighbours: its size, its places, its captions."""

import numpy as np
import pytest
from PIL import Image, ImageFont

from pipelines.neighbours import (
    CAPTION,
    GAP,
    MARGIN,
    OTHER,
    SAME_LEAF,
    SCALE,
    TILE,
    Row,
    Tile,
    _fit,
    draw_neighbours,
)

HEADING = 64


def tile(colour: str, caption: str = "a lamp", note: str = "0.91") -> Tile:
    return Tile(Image.new("RGB", (80, 60), colour), caption, note, SAME_LEAF)


def sheet(*hits: int, caption: str = "a lamp") -> Image.Image:
    """A row for each number of hits: red queries, blue hits."""
    rows = [Row(tile("red", caption), [tile("blue", caption)] * number) for number in hits]
    return draw_neighbours(rows, "Lamps", "and what looks like them")


@pytest.mark.parametrize("hits", [(1,), (8,), (8, 8, 8), (2, 5)])
def test_the_sheet_has_a_place_for_the_longest_row(hits: tuple[int, ...]) -> None:
    columns = 1 + max(hits)
    assert sheet(*hits).size == (
        SCALE * (2 * MARGIN + columns * (TILE + GAP)),
        SCALE * (2 * MARGIN + HEADING + len(hits) * (TILE + CAPTION + GAP)),
    )


def test_the_query_stands_left_of_its_hits() -> None:
    middle = SCALE * (MARGIN + HEADING + TILE // 2)
    row = np.asarray(sheet(2))[middle]
    first_hit = MARGIN + 2 * GAP + TILE + TILE // 2
    places = (MARGIN + TILE // 2, first_hit, first_hit + GAP + TILE)
    colours = [tuple(row[SCALE * place].tolist()) for place in places]
    assert colours == [(255, 0, 0), (0, 0, 255), (0, 0, 255)]


def test_the_same_rows_draw_the_same_bytes() -> None:
    assert sheet(3, 1).tobytes() == sheet(3, 1).tobytes()


def test_a_photo_of_any_mode_and_shape_is_drawn() -> None:
    shapes = [("L", (1, 500)), ("RGBA", (500, 1)), ("P", (7, 7)), ("CMYK", (30, 20))]
    hits = [Tile(Image.new(mode, size), mode, "", OTHER) for mode, size in shapes]
    assert draw_neighbours([Row(tile("red"), hits)], "", "").mode == "RGB"


def test_a_photo_of_16_bits_is_scaled_not_clipped() -> None:
    grey = Image.fromarray(np.full((50, 50), 128 * 257, np.uint16))
    drawn = draw_neighbours([Row(Tile(grey, "", "", OTHER), [])], "", "")
    middle = SCALE * (MARGIN + TILE // 2), SCALE * (MARGIN + HEADING + TILE // 2)
    assert drawn.getpixel(middle) == (128, 128, 128)


def test_a_long_caption_is_cut_to_the_width_of_a_tile() -> None:
    font = ImageFont.load_default(11 * SCALE)
    long = "a lamp with a very long name that no tile holds"
    cut = _fit(long, 11)
    assert cut == "a lamp with a very long…"
    assert long.startswith(cut[:-1])
    assert font.getlength(cut) <= 1.05 * TILE * SCALE
    assert _fit("a lamp", 11) == "a lamp"
    assert sheet(1, caption=long).size == sheet(1).size
