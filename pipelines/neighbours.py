"""A sheet of queries and their neighbours: the picture that shows what search finds."""

from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, ImageOps

from model.pixels import to_rgb

TILE, GAP, MARGIN, CAPTION = 132, 14, 36, 34
INK, GREY, LINE = (28, 32, 38), (120, 126, 134), (224, 227, 231)
SAME_PRODUCT, SAME_LEAF, OTHER = (24, 128, 92), (42, 111, 151), (196, 110, 40)
SCALE = 2  # drawn at twice the size, for sharp text on today's screens


@dataclass(frozen=True)
class Tile:
    """A photo and what stands below it."""

    photo: Image.Image
    caption: str
    note: str = ""
    colour: tuple[int, int, int] = GREY


@dataclass(frozen=True)
class Row:
    """A query and its hits, best first."""

    query: Tile
    hits: list[Tile]


def draw_neighbours(rows: list[Row], title: str, subtitle: str) -> Image.Image:
    """The query stands left, its neighbours right of the line."""
    columns = 1 + max(len(row.hits) for row in rows)
    width = 2 * MARGIN + columns * TILE + columns * GAP
    height = 2 * MARGIN + 64 + len(rows) * (TILE + CAPTION + GAP)
    sheet = Image.new("RGB", (width * SCALE, height * SCALE), "white")
    draw = ImageDraw.Draw(sheet)
    _text(draw, (MARGIN, MARGIN - 8), title, 22, INK)
    _text(draw, (MARGIN, MARGIN + 22), subtitle, 12, GREY)
    _legend(draw, width)
    for number, row in enumerate(rows):
        top = MARGIN + 64 + number * (TILE + CAPTION + GAP)
        _tile(sheet, draw, (MARGIN, top), row.query)
        line = MARGIN + TILE + GAP
        draw.line(_scaled(line, top, line, top + TILE), fill=LINE, width=SCALE)
        for place, hit in enumerate(row.hits):
            _tile(sheet, draw, (MARGIN + 2 * GAP + (place + 1) * TILE + place * GAP, top), hit)
    return sheet


def _tile(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, corner: tuple[int, int], tile: Tile
) -> None:
    x, y = corner
    side = TILE * SCALE
    photo = ImageOps.pad(to_rgb(tile.photo), (side, side), color="white")
    mask = Image.new("L", photo.size, 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, side - 1, side - 1), 8 * SCALE, fill=255)
    sheet.paste(photo, (x * SCALE, y * SCALE), mask)
    box = _scaled(x, y, x + TILE, y + TILE)
    draw.rounded_rectangle(box, 8 * SCALE, outline=LINE, width=SCALE)
    _text(draw, (x + 1, y + TILE + 4), _fit(tile.caption, 11), 11, INK)
    _text(draw, (x + 1, y + TILE + 18), _fit(tile.note, 10), 10, tile.colour)


def _legend(draw: ImageDraw.ImageDraw, width: int) -> None:
    x = width - MARGIN - 280
    words = ((SAME_PRODUCT, "same product"), (SAME_LEAF, "same category"), (OTHER, "other"))
    for colour, word in words:
        draw.ellipse(_scaled(x, MARGIN + 24, x + 9, MARGIN + 33), fill=colour)
        _text(draw, (x + 14, MARGIN + 21), word, 12, GREY)
        x += 28 + round(_font(12).getlength(word) / SCALE)


def _text(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    size: int,
    colour: tuple[int, int, int],
) -> None:
    draw.text((at[0] * SCALE, at[1] * SCALE), text, font=_font(size), fill=colour)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * SCALE)


def _fit(text: str, size: int) -> str:
    """Cut to the width of a tile."""
    font, shown = _font(size), text
    while shown and font.getlength(shown) > TILE * SCALE:
        shown = shown[:-1]
    return text if shown == text else shown[:-1].rstrip() + "…"


def _scaled(*values: int) -> tuple[int, ...]:
    return tuple(value * SCALE for value in values)
