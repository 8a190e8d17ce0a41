"""Parts to a cut-out: masks drawn at twice the size, lit, shadowed on one another, composed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipelines.sample.brand import glyph_outline
from pipelines.sample.sketch import Part, Point, Sketch
from pipelines.sample.surface import Patch, Style, paint
from pipelines.sample.texture import Field, blurred

SIZE = 288  # pixels a side of a product render; scenes shrink it, which smooths it once more
OVER = 2  # masks are drawn this many times larger
MARGIN = 0.05  # of the canvas, on every side
PAD = 10  # pixels around a part's patch, room for the shadow it casts
VISIBLE = 0.05  # opacity from which a pixel counts as drawn
SHADOW = 0.30  # darkest shadow of one part on another

Canvas = Field  # [4, SIZE, SIZE], red, green, blue, alpha, premultiplied


def _place(points: Sequence[Point], stretch: tuple[float, float]) -> NDArray[np.float64]:
    """Unit coordinates to pixels of the enlarged mask."""
    p = (np.asarray(points, dtype=np.float64) - 0.5) * stretch * (1 - 2 * MARGIN) + 0.5
    return p * (SIZE * OVER)


def _patch(part: Part, stretch: tuple[float, float]) -> Patch | None:
    """Draw a part's mask on the smallest patch that holds it."""
    fills = [_place(o, stretch) for o in part.fills]
    strokes = [_place(o, stretch) for o in part.strokes]
    holes = [_place(o, stretch) for o in part.holes]
    width = part.width * SIZE * OVER * (1 - 2 * MARGIN)
    points = np.concatenate(fills + strokes)
    low = np.floor((points.min(axis=0) - width / 2) / OVER).astype(int) - PAD
    high = np.ceil((points.max(axis=0) + width / 2) / OVER).astype(int) + PAD
    low, high = np.maximum(low, 0), np.minimum(high, SIZE)
    w, h = (int(n) for n in high - low)
    if w <= 0 or h <= 0:
        return None
    image = Image.new("L", (w * OVER, h * OVER))
    pen = ImageDraw.Draw(image)
    origin = low * OVER
    for outline in fills:
        pen.polygon([tuple(p) for p in (outline - origin).tolist()], fill=255)
    for path in strokes:
        line = [tuple(p) for p in (path - origin).tolist()]
        pen.line(line, fill=255, width=max(round(width), 1), joint="curve")
        for x, y in (line[0], line[-1]):
            pen.circle((x, y), width / 2, fill=255)
    for hole in holes:
        pen.polygon([tuple(p) for p in (hole - origin).tolist()], fill=0)
    mask = np.asarray(image.reduce(OVER), dtype=np.float32) / 255
    return Patch(mask, left=int(low[0]), top=int(low[1]), size=SIZE)


def _compose(canvas: Canvas, part: Part, style: Style) -> None:
    patch = _patch(part, style.stretch)
    if patch is None:
        return
    rgb, opacity = paint(part, patch, style)
    h, w = patch.mask.shape
    under = canvas[:, patch.top : patch.top + h, patch.left : patch.left + w]
    clear = 1 - opacity
    veil = clear
    if part.role != "seam":
        shade = np.roll(blurred(opacity[::2, ::2], 2), (2, 1), axis=(0, 1))
        full = np.repeat(np.repeat(shade, 2, axis=0), 2, axis=1)[:h, :w]
        veil = clear * (1 - SHADOW * full)
    under[:3] *= veil
    under[:3] += rgb * opacity
    under[3] *= clear
    under[3] += opacity


def _badge(sketch: Sketch, style: Style) -> Part | None:
    if sketch.badge is None:
        return None
    x, y, size = sketch.badge
    outlines = glyph_outline(style.glyph)
    fills = tuple(tuple((x + u * size, y + v * size) for u, v in o) for o in outlines)
    return Part(fills=fills, role="trim", form="flat")


def render(sketch: Sketch, style: Style) -> Image.Image:
    """The product alone, RGBA, cropped to what is drawn."""
    canvas: Canvas = np.zeros((4, SIZE, SIZE), dtype=np.float32)
    badge = _badge(sketch, style)
    for part in [*sketch.parts, *([badge] if badge else [])]:
        _compose(canvas, part, style)
    solid = canvas[3] > VISIBLE
    rows, columns = (np.flatnonzero(solid.any(axis=axis)) for axis in (1, 0))
    drawn = canvas[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    drawn[:3] /= np.maximum(drawn[3], 1e-4)
    pixels = (np.clip(drawn, 0, 1) * 255 + 0.5).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)), "RGBA")


def rotate(image: Image.Image, degrees: float) -> Image.Image:
    """Turned about its middle, the canvas fitted to what is drawn."""
    turned = image.rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    return turned.crop(turned.getchannel("A").getbbox())
