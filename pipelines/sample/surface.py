"""Light on a part: normals from its mask, then base colour, pattern, texture and highlight."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipelines.sample.sketch import SAG, Part
from pipelines.sample.texture import PATTERNS, TILE, Field, blurred, tile

Colour = tuple[float, float, float]
# Towards the light: above, to the left, in front. HALF lies between it and the viewer.
LIGHT = np.array([-0.46, -0.56, 0.69], dtype=np.float32)
HALF = np.array([-0.25, -0.305, 0.919], dtype=np.float32)
CHARCOAL: Colour = (0.17, 0.17, 0.19)
LEAF: Colour = (0.36, 0.56, 0.34)
FLAME: Colour = (1.0, 0.78, 0.36)


@dataclass(frozen=True, slots=True)
class Finish:
    """How a material answers to light."""

    shine: float
    power: float  # exponent of the highlight: higher is smaller and sharper
    texture: str = "plain"
    contrast: float = 0.70
    mirror: bool = False
    clear: bool = False
    halo: float = 0.0  # light on edges turned away, as on velvet


FINISHES = {
    "matte": Finish(0.05, 6),
    "speckled": Finish(0.10, 10, "speckle"),
    "satin": Finish(0.20, 14),
    "glossy": Finish(0.62, 46, contrast=0.62),
    "metallic": Finish(0.45, 30, "brushed", mirror=True),
    "wood": Finish(0.10, 12, "grain"),
    "woven": Finish(0.0, 4, "weave"),
    "knitted": Finish(0.0, 4, "knit"),
    "leather": Finish(0.24, 12, "leather"),
    "velvet": Finish(0.03, 6, "plain", halo=0.28),
    "glass": Finish(0.85, 40, clear=True),
}


@dataclass(frozen=True, slots=True)
class Style:
    """The look of one product, drawn independently of its leaf."""

    primary: Colour
    accent: Colour
    trim: Colour
    metal: Colour
    wood: Colour
    finish: str
    pattern: str  # a key of PATTERNS, or "plain"
    pitch: float
    angle: float
    glyph: str
    stretch: tuple[float, float]
    offset: tuple[int, int]  # where on the texture tile the product starts, in pixels


@dataclass(frozen=True, slots=True)
class Patch:
    """A part's mask on its piece of the canvas, with unit coordinates of its pixels."""

    mask: Field
    left: int
    top: int
    size: int

    def grid(self) -> tuple[Field, Field]:
        h, w = self.mask.shape
        x = (np.arange(w, dtype=np.float32) + self.left) / self.size
        y = (np.arange(h, dtype=np.float32) + self.top) / self.size
        return np.meshgrid(x, y)


def _turned(mask: Field) -> tuple[Field, Field]:
    """Normals of a surface of revolution about the vertical, x and y components."""
    columns = np.arange(mask.shape[1], dtype=np.float32)
    area = mask.sum(axis=1)
    # Coverage sums place the edges between pixels; whole pixels would leave bands.
    half = np.maximum(area / 2, 1.0)
    centre = (mask @ columns) / np.maximum(area, 1e-3)
    rows = np.flatnonzero(area > 1.0)
    slope = np.zeros_like(half)
    if len(rows) > 8:
        span = slice(rows[0], rows[-1] + 1)
        even = np.convolve(np.pad(half[span], 4, mode="edge"), np.full(9, 1 / 9), mode="valid")
        slope[span] = np.clip(np.gradient(even), -1.2, 1.2)
    u = np.clip((columns[None] - centre[:, None]) / half[:, None], -0.985, 0.985)
    length = np.sqrt(1 + slope**2)[:, None]
    return u / length, np.broadcast_to(-slope[:, None] / length, u.shape) * 0.8


def _ball(mask: Field) -> tuple[Field, Field]:
    inside = mask > 0.5
    ys, xs = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(ys) or not len(xs):
        return np.zeros_like(mask), np.zeros_like(mask)
    x = np.linspace(0, mask.shape[1] - 1, mask.shape[1], dtype=np.float32)
    y = np.linspace(0, mask.shape[0] - 1, mask.shape[0], dtype=np.float32)
    u = (x - (xs[0] + xs[-1]) / 2) / max((xs[-1] - xs[0]) / 2, 1)
    v = (y - (ys[0] + ys[-1]) / 2) / max((ys[-1] - ys[0]) / 2, 1)
    nx, ny = np.meshgrid(u.astype(np.float32), v.astype(np.float32))
    shrink = np.minimum(1, 0.985 / np.maximum(np.hypot(nx, ny), 1e-3))
    return nx * shrink, ny * shrink


def _soft(mask: Field, depth: int) -> tuple[Field, Field]:
    """Normals of the mask inflated like a cushion, worked out at half size for speed."""
    h, w = mask.shape
    half = Image.fromarray(mask).resize(((w + 1) // 2, (h + 1) // 2), Image.Resampling.BOX)
    radius = max(depth // 2, 1)
    # Room for all the passes: what one pass pushes past the border the next would miss.
    room = 3 * radius
    padded = np.pad(np.asarray(half, dtype=np.float32), room)
    height = blurred(padded, radius)[room:-room, room:-room]
    gy, gx = np.gradient(height)
    fields = []
    for g in (gx, gy):
        n = np.asarray(np.clip(-g * radius * 2.6, -0.95, 0.95), dtype=np.float32)
        big = Image.fromarray(n).resize((w, h), Image.Resampling.BILINEAR)
        fields.append(np.asarray(big, dtype=np.float32))
    return fields[0], fields[1]


def normals(part: Part, patch: Patch) -> tuple[Field, Field, Field]:
    """Unit normals of a part over its patch."""
    mask = patch.mask
    if part.form == "turned":
        nx, ny = _turned(mask)
    elif part.form == "barrel":
        ny_t, nx_t = _turned(np.ascontiguousarray(mask.T))
        nx, ny = nx_t.T, ny_t.T
    elif part.form == "ball":
        nx, ny = _ball(mask)
    else:
        depth = 0.012 if part.form == "flat" else part.depth
        nx, ny = _soft(mask, round(depth * patch.size))
    square = nx**2 + ny**2
    shrink = np.minimum(1, 0.97 / np.sqrt(np.maximum(square, 1e-6)))
    nx, ny = nx * shrink, ny * shrink
    return nx, ny, np.sqrt(1 - nx**2 - ny**2)


def _printed(part: Part, patch: Patch, style: Style, nx: Field) -> Field:
    """Base colour of a body part: primary, with the pattern in the accent colour."""
    primary = _column(style.primary)
    if style.pattern == "plain":
        return primary
    x, y = patch.grid()
    if part.form in ("turned", "ball"):
        # A print on a round body narrows towards its edges.
        radius = patch.mask.shape[1] / patch.size / 2
        x = 0.5 + np.arcsin(nx) * (radius * 2 / math.pi)
        y = y - SAG * radius * np.sqrt(1 - nx**2)
    angle = math.radians(part.turn + (0 if style.pattern == "colour-block" else style.angle))
    c, s = math.cos(angle), math.sin(angle)
    u, v = (x - 0.5) * c + (y - 0.5) * s, (y - 0.5) * c - (x - 0.5) * s
    share = PATTERNS[style.pattern](u, v, style.pitch)
    return primary + share * (_column(style.accent) - primary)


def _column(colour: Colour) -> Field:
    """A colour as [3, 1, 1], to broadcast over a plane."""
    return np.array(colour, dtype=np.float32)[:, None, None]


def _texture(name: str, patch: Patch, style: Style) -> Field:
    h, w = patch.mask.shape
    field = tile(name)
    if name in ("grain", "brushed") and w > 1.6 * h:
        field = field.T
    top = (style.offset[1] + patch.top) % (TILE - h)
    left = (style.offset[0] + patch.left) % (TILE - w)
    return field[top : top + h, left : left + w]


def _coat(part: Part, style: Style) -> tuple[Colour, Finish]:
    """Colour and finish of a role."""
    own = FINISHES[style.finish]
    table: dict[str, tuple[Colour, Finish]] = {
        "body": (style.primary, own),
        "accent": (style.accent, own),
        "trim": (style.trim, FINISHES["satin"]),
        "metal": (style.metal, FINISHES["metallic"]),
        "wood": (style.wood, FINISHES["wood"]),
        "glass": ((0.78, 0.86, 0.90), FINISHES["glass"]),
        "screen": ((0.13, 0.15, 0.19), FINISHES["glossy"]),
        "dark": (CHARCOAL, FINISHES["satin"]),
        "leaf": (LEAF, FINISHES["satin"]),
        "flame": (FLAME, FINISHES["satin"]),
    }
    return table[part.role]


def paint(part: Part, patch: Patch, style: Style) -> tuple[Field, Field]:
    """Colour [3, h, w] in 0..1 (planes: numpy is slow on pixels) and opacity [h, w] of a part."""
    if part.role == "seam":
        return _column(style.primary) * 0.25, patch.mask * 0.42
    nx, ny, nz = normals(part, patch)
    colour, finish = _coat(part, style)
    base = _printed(part, patch, style, nx) if part.role == "body" else _column(colour)
    lambert = np.maximum(nx * LIGHT[0] + ny * LIGHT[1] + nz * LIGHT[2], 0)
    if finish.mirror:
        x, y = patch.grid()
        bands = np.cos(5.2 * (0.75 * nx + 0.9 * ny) + 2.0 * (x + y) + 0.4)
        light = 0.80 + 0.30 * bands * (0.35 + 0.65 * (1 - nz)) + 0.35 * (lambert - 0.69)
    else:
        light = 1 + finish.contrast * (lambert - LIGHT[2]) + finish.halo * (1 - nz) ** 2
    if finish.texture != "plain":
        light = light * _texture(finish.texture, patch, style)
    half = np.maximum(nx * HALF[0] + ny * HALF[1] + nz * HALF[2], 0)
    # A flat face looks straight at the viewer: without the offset it would glare as a whole.
    flat = float(HALF[2]) ** finish.power
    glint = finish.shine * np.maximum(half**finish.power - flat, 0)
    if part.role == "screen":
        x, y = patch.grid()
        glint = glint + 0.10 * np.clip(1.2 - 2.2 * np.abs(x + y - 0.75), 0, 1)
    rgb = base * light + glint
    opacity = patch.mask
    if finish.clear:
        opacity = patch.mask * np.clip(0.34 + 0.75 * (1 - nz) ** 1.5 + glint, 0, 1)
    return np.clip(rgb, 0, 1, out=rgb), opacity
