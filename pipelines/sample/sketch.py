"""A product as parts: outlines in the unit square (x right, y down) with a role and a form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict, Unpack

import numpy as np

Point = tuple[float, float]
Points = Sequence[Point]
# body carries colour, pattern and finish; the others follow the product's palette.
Role = Literal[
    "body", "accent", "trim", "metal", "wood", "glass", "screen", "dark", "leaf", "flame", "seam"
]
# turned: surface of revolution. soft: inflated. ball: sphere. barrel: lying cylinder. flat: board.
Form = Literal["turned", "soft", "ball", "barrel", "flat"]
CURVE_STEPS = 8
OVAL_STEPS = 56
SAG = 0.12  # seen from a little above, a level circle's front sinks by this share of its radius


class Look(TypedDict, total=False):
    """How a part is painted; every drawing method takes these."""

    role: Role
    form: Form
    depth: float  # how far the soft edge reaches inside, in unit lengths
    turn: float  # degrees by which the pattern is turned


@dataclass(frozen=True, slots=True)
class Part:
    """Outlines filled, lines stroked, holes cut, all in one material."""

    fills: tuple[tuple[Point, ...], ...] = ()
    strokes: tuple[tuple[Point, ...], ...] = ()
    holes: tuple[tuple[Point, ...], ...] = ()
    width: float = 0.0
    role: Role = "body"
    form: Form = "soft"
    depth: float = 0.035
    turn: float = 0.0


@dataclass(slots=True)
class Sketch:
    """What a leaf's drawing function fills: parts from back to front and the brand mark's place."""

    rng: np.random.Generator
    parts: list[Part] = field(default_factory=list)
    badge: tuple[float, float, float] | None = None

    def vary(self, low: float, high: float) -> float:
        """One proportion of this product."""
        return float(self.rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        """True for `share` of the products."""
        return bool(self.rng.random() < share)

    def fill(self, *outlines: Points, holes: Sequence[Points] = (), **look: Unpack[Look]) -> None:
        """Filled outlines."""
        self.parts.append(
            Part(
                fills=tuple(tuple(o) for o in outlines),
                holes=tuple(tuple(h) for h in holes),
                **look,
            )
        )

    def line(self, *paths: Points, width: float, **look: Unpack[Look]) -> None:
        """Open lines with round ends."""
        self.parts.append(Part(strokes=tuple(tuple(p) for p in paths), width=width, **look))

    def seam(self, *paths: Points, width: float = 0.007) -> None:
        """Thin darker lines: stitching, folds, joints."""
        self.line(*paths, width=width, role="seam", form="flat")

    def turned(self, profile: Points, *, x: float = 0.5, role: Role = "body") -> None:
        """A surface of revolution from (y, half width) pairs, top to bottom."""
        half = curve([(r, y) for y, r in profile])
        (top, y0), (low, y1) = half[0], half[-1]
        outline = [(x + r, y) for r, y in half]
        outline += arc(x, y1, low, low * SAG, span=(0, 180))
        outline += [(x - r, y) for r, y in reversed(half)]
        outline += arc(x, y0, top, top * SAG, span=(180, 0))
        self.fill(outline, form="turned", role=role)

    def mark(self, x: float, y: float, size: float) -> None:
        """Where the brand's mark goes."""
        self.badge = (x, y, size)


def curve(points: Points, *, closed: bool = False) -> list[Point]:
    """A smooth curve through the points; a point given twice makes a corner."""
    p = np.asarray(points, dtype=np.float64)
    p = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([p[:1], p, p[-1:]])
    step = np.diff(p, axis=0)
    length = np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-9)[:, None]
    # Weighted by chord length: even slopes overshoot where a short side meets a long one.
    way = step / length
    slope = (way[:-1] * length[1:] + way[1:] * length[:-1]) / (length[:-1] + length[1:])
    t = np.linspace(0, 1, CURVE_STEPS, endpoint=False)[:, None]
    b, c, span = p[1:-2, None], p[2:-1, None], length[1:-1, None]
    enter, leave = slope[:-1, None] * span, slope[1:, None] * span
    q = (2 * t**3 - 3 * t**2 + 1) * b + (t**3 - 2 * t**2 + t) * enter
    q = q + (3 * t**2 - 2 * t**3) * c + (t**3 - t**2) * leave
    out = [(float(x), float(y)) for x, y in q.reshape(-1, 2)]
    return out if closed else [*out, (float(p[-1, 0]), float(p[-1, 1]))]


def rounded(points: Points, radius: float) -> list[Point]:
    """A polygon with its corners rounded."""
    out: list[Point] = []
    for i, (x, y) in enumerate(points):
        ends = []
        for nx, ny in (points[i - 1], points[(i + 1) % len(points)]):
            length = math.hypot(nx - x, ny - y) or 1.0
            f = min(radius / length, 0.5)
            ends.append((x + (nx - x) * f, y + (ny - y) * f))
        (ax, ay), (bx, by) = ends
        for k in range(6):
            t = k / 5
            u, v, w = (1 - t) ** 2, 2 * t * (1 - t), t**2
            out.append((u * ax + v * x + w * bx, u * ay + v * y + w * by))
    return out


def box(x0: float, y0: float, x1: float, y1: float, *, radius: float = 0.015) -> list[Point]:
    """A rectangle with rounded corners."""
    return rounded([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], radius)


def oval(x: float, y: float, rx: float, ry: float | None = None) -> list[Point]:
    """An ellipse, or a circle when `ry` is left out."""
    ry = rx if ry is None else ry
    angles = np.linspace(0, 2 * math.pi, OVAL_STEPS, endpoint=False)
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


def arc(x: float, y: float, rx: float, ry: float, *, span: tuple[float, float]) -> list[Point]:
    """Part of an ellipse between two angles in degrees, clockwise from the right."""
    angles = np.radians(np.linspace(span[0], span[1], 28))
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


def flip(points: Points) -> list[Point]:
    """The mirror image across the vertical middle line."""
    return [(1.0 - x, y) for x, y in points]


def even(points: Points) -> list[Point]:
    """A symmetric outline from its right half, top to bottom."""
    return [*points, *reversed(flip(points))]


def move(points: Points, dx: float, dy: float) -> list[Point]:
    """The points shifted."""
    return [(x + dx, y + dy) for x, y in points]
