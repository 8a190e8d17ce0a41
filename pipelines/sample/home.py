"""Silhouettes of furniture, lamps and things for a shelf."""

from __future__ import annotations

import math

from pipelines.sample.sketch import Point, Sketch, box, curve, even, flip, move, oval, rounded


def _leg(x0: float, y0: float, x1: float, y1: float, *, thick: float = 0.04) -> list[Point]:
    """A leg that tapers towards the floor."""
    a, b = thick / 2, thick / 3.2
    return [(x0 - a, y0), (x0 + a, y0), (x1 + b, y1), (x1 - b, y1)]


def chair(s: Sketch) -> None:
    seat, splay = s.vary(0.56, 0.60), s.vary(0.0, 0.04)
    s.fill(
        _leg(0.36, seat, 0.36 - splay, 0.88),
        _leg(0.64, seat, 0.64 + splay, 0.88),
        role="wood",
        depth=0.012,
    )
    s.line(
        [(0.31, seat), (0.29, 0.10)],
        [(0.69, seat), (0.71, 0.10)],
        width=0.04,
        role="wood",
        depth=0.014,
    )
    s.fill(box(0.28, 0.07, 0.72, s.vary(0.24, 0.36), radius=0.05), depth=0.035)
    s.line([(0.30, 0.45), (0.70, 0.45)], width=0.03, role="wood", depth=0.012)
    front = _leg(0.29, seat, 0.27 - splay, 0.96, thick=0.05)
    s.fill(front, flip(front), role="wood", depth=0.014)
    s.fill(
        rounded(
            [
                (0.27, seat - 0.045),
                (0.73, seat - 0.045),
                (0.78, seat + 0.045),
                (0.22, seat + 0.045),
            ],
            0.025,
        ),
        depth=0.03,
    )


def stool(s: Sketch) -> None:
    top, splay = s.vary(0.18, 0.30), s.vary(0.08, 0.14)
    back = _leg(0.44, top, 0.40, 0.88)
    s.fill(back, flip(back), role="wood", depth=0.012)
    front = _leg(0.34, top, 0.34 - splay, 0.96, thick=0.05)
    s.fill(front, flip(front), role="wood", depth=0.014)
    y = s.vary(0.68, 0.76)
    s.line(
        [(0.30 - splay * 0.35, y), (0.70 + splay * 0.35, y)], width=0.028, role="wood", depth=0.012
    )
    s.fill(box(0.24, top - 0.02, 0.76, top + 0.06, radius=0.04), depth=0.035)
    s.fill(oval(0.5, top - 0.015, 0.26, 0.05), depth=0.03)


def armchair(s: Sketch) -> None:
    wide = s.vary(0.36, 0.41)
    leg = _leg(0.5 - wide + 0.07, 0.84, 0.5 - wide + 0.04, 0.95)
    s.fill(leg, flip(leg), role="wood", depth=0.012)
    s.fill(rounded(even([(0.5 + wide - 0.09, 0.12), (0.5 + wide - 0.04, 0.75)]), 0.12), depth=0.07)
    s.fill(box(0.5 - wide + 0.06, 0.66, 0.44 + wide, 0.86, radius=0.03), depth=0.04)
    s.fill(box(0.5 - wide + 0.10, 0.53, 0.40 + wide, 0.70, radius=0.05), role="accent", depth=0.05)
    arm = box(0.5 - wide, 0.42, 0.5 - wide + 0.14, 0.87, radius=0.065)
    s.fill(arm, turn=90, depth=0.05)
    s.fill(flip(arm), turn=90, depth=0.05)


def sofa(s: Sketch) -> None:
    top = s.vary(0.32, 0.37)
    leg = _leg(0.11, 0.72, 0.10, 0.80)
    s.fill(leg, flip(leg), role="wood", depth=0.012)
    s.fill(box(0.08, top, 0.92, 0.66, radius=0.06), depth=0.06)
    s.seam([(0.5, top + 0.02), (0.5, 0.54)], width=0.010)
    s.fill(box(0.06, 0.60, 0.94, 0.735, radius=0.025), depth=0.035)
    s.fill(box(0.13, 0.51, 0.497, 0.625, radius=0.035), role="accent", depth=0.04)
    s.fill(box(0.503, 0.51, 0.87, 0.625, radius=0.035), role="accent", depth=0.04)
    arm = box(0.02, 0.45, 0.14, 0.74, radius=0.055)
    s.fill(arm, flip(arm), depth=0.045)


def side_table(s: Sketch) -> None:
    top, r = s.vary(0.26, 0.34), s.vary(0.32, 0.38)
    leg = curve([(0.5, 0.74), (0.58, 0.86), (0.74, 0.93)])
    s.line([(0.5, 0.74), (0.5, 0.95)], leg, flip(leg), width=0.045, role="accent", depth=0.02)
    s.turned(
        [(top, 0.09), (top + 0.08, 0.035), (0.55, 0.05), (0.66, 0.03), (0.78, 0.055)], role="accent"
    )
    s.fill(move(oval(0.5, top, r, 0.085), 0, 0.03), role="accent", depth=0.02)
    s.fill(oval(0.5, top, r, 0.085), depth=0.02)


def desk(s: Sketch) -> None:
    s.fill(_leg(0.10, 0.34, 0.07, 0.88), _leg(0.56, 0.34, 0.54, 0.84), role="wood", depth=0.012)
    s.fill(box(0.60, 0.32, 0.93, 0.86, radius=0.012), depth=0.02)
    rows = int(s.rng.integers(2, 4))
    for i in range(rows):
        y, h = 0.36 + i * 0.48 / rows, 0.48 / rows - 0.02
        s.fill(box(0.625, y, 0.905, y + h, radius=0.008), role="accent", depth=0.012)
        s.line([(0.72, y + h / 2), (0.81, y + h / 2)], width=0.02, role="metal", depth=0.01)
    s.fill(
        rounded([(0.08, 0.235), (0.92, 0.235), (0.98, 0.315), (0.02, 0.315)], 0.008), depth=0.014
    )
    s.fill(box(0.02, 0.31, 0.98, 0.355, radius=0.008), role="accent", depth=0.012)


def _shade(
    s: Sketch, top: float, low: float, *, narrow: float, wide: float, x: float = 0.5
) -> None:
    """A fabric lampshade with its two rims."""
    s.turned([(top, narrow), ((top + low) / 2, (narrow + wide) / 2), (low, wide)], x=x)
    for y, r in ((top, narrow), (low - 0.012, wide - 0.003)):
        s.turned([(y, r), (y + 0.012, r + 0.002)], x=x, role="accent")


def table_lamp(s: Sketch) -> None:
    belly = s.vary(0.13, 0.19)
    s.turned([(0.50, 0.018), (0.58, 0.02)], role="metal")
    s.turned(
        [
            (0.56, 0.035),
            (0.62, belly * 0.62),
            (0.74, belly),
            (0.86, belly * 0.7),
            (0.90, belly * 0.75),
        ],
        role="accent",
    )
    s.turned([(0.90, belly * 0.85), (0.94, belly * 0.9)], role="metal")
    _shade(s, 0.06, 0.48, narrow=s.vary(0.14, 0.20), wide=s.vary(0.28, 0.33))


def floor_lamp(s: Sketch) -> None:
    s.fill(oval(0.5, 0.94, 0.14, 0.028), role="metal", depth=0.015)
    s.line([(0.5, 0.20), (0.5, 0.93)], width=0.022, role="metal", form="turned")
    if s.chance(0.5):
        s.line(
            [(0.5, 0.60), (0.36, 0.95)],
            [(0.5, 0.60), (0.64, 0.95)],
            width=0.022,
            role="wood",
            depth=0.01,
        )
    _shade(s, 0.04, 0.27, narrow=s.vary(0.11, 0.14), wide=s.vary(0.17, 0.21))


def pendant(s: Sketch) -> None:
    wide, low = s.vary(0.32, 0.40), s.vary(0.72, 0.84)
    s.fill(box(0.44, 0.02, 0.56, 0.05, radius=0.01), role="metal", depth=0.012)
    s.line([(0.5, 0.04), (0.5, 0.40)], width=0.014, role="dark", depth=0.008)
    s.turned([(0.33, 0.04), (0.42, 0.055)], role="metal")
    s.fill(oval(0.5, low, 0.075), role="glass", form="ball")
    dome = [
        (0.40, 0.055),
        (0.45, wide * 0.45),
        (0.56, wide * 0.82),
        (low, wide),
        (low + 0.015, wide),
    ]
    s.turned(dome)
    s.fill(oval(0.5, low + 0.012, wide, wide * 0.13), role="accent", depth=0.012)
    s.fill(oval(0.5, low + 0.016, wide * 0.42, wide * 0.06), role="glass", form="flat")


def desk_lamp(s: Sketch) -> None:
    elbow = (s.vary(0.22, 0.30), s.vary(0.38, 0.46))
    s.turned([(0.87, 0.10), (0.90, 0.17), (0.94, 0.175)], x=0.42)
    s.line([(0.42, 0.88), elbow], [elbow, (0.62, 0.18)], width=0.030, role="metal", depth=0.012)
    head = [(0.54, 0.17), (0.62, 0.09), (0.72, 0.11), (0.93, 0.34), (0.68, 0.47), (0.56, 0.26)]
    s.fill(oval(0.80, 0.42, 0.07), role="glass", form="ball")
    s.fill(rounded(head, 0.05), depth=0.06)
    s.line([(0.92, 0.335), (0.685, 0.465)], width=0.03, role="accent", depth=0.012)
    s.fill(oval(*elbow, 0.035), oval(0.42, 0.865, 0.035), role="accent", form="ball")


def vase(s: Sketch) -> None:
    neck, belly = s.vary(0.06, 0.12), s.vary(0.20, 0.27)
    middle = s.vary(0.50, 0.68)
    rim = neck + s.vary(0.02, 0.06)
    profile = [(0.07, rim), (0.17, neck), (0.28, neck * 1.15), (middle, belly), (0.88, belly * 0.6)]
    s.turned([*profile, (0.95, belly * 0.55)])
    _opening(s, 0.075, rim)
    s.mark(0.5, middle + 0.02, 0.15)


def _opening(s: Sketch, y: float, r: float) -> None:
    s.fill(oval(0.5, y, r, r * 0.20), role="accent", depth=0.012)
    s.fill(oval(0.5, y + 0.004, r * 0.8, r * 0.13), role="seam")
    s.fill(oval(0.5, y + 0.006, r * 0.7, r * 0.10), role="seam")


def plant_pot(s: Sketch) -> None:
    r, lean = s.vary(0.23, 0.28), s.vary(0.05, 0.10)
    green = s.rng.permutation(7)
    for i in green:
        angle = math.radians(-155 + 130 * float(i) / 6)
        tip = (0.5 + 0.40 * math.cos(angle), 0.55 + 0.50 * math.sin(angle))
        mid = ((0.5 + tip[0]) / 2, (0.55 + tip[1]) / 2)
        dx, dy = 0.055 * math.sin(angle), -0.055 * math.cos(angle)
        leaf = [(0.5, 0.57), (mid[0] + dx, mid[1] + dy), tip, tip, (mid[0] - dx, mid[1] - dy)]
        s.fill(curve(leaf, closed=True), role="leaf", depth=0.02)
        s.seam([(0.5, 0.57), tip], width=0.005)
    s.turned([(0.60, r), (0.75, r - lean * 0.4), (0.93, r - lean), (0.95, r - lean)])
    s.turned([(0.555, r + 0.025), (0.635, r + 0.015)], role="accent")
    s.mark(0.5, 0.80, 0.13)


def wall_clock(s: Sketch) -> None:
    r = s.vary(0.40, 0.44)
    s.fill(oval(0.5, 0.5, r), depth=0.03)
    s.fill(oval(0.5, 0.5, r - 0.05), role="accent", depth=0.02)
    for k in range(12):
        a = k * math.pi / 6
        near, far = (0.66, 0.80) if k % 3 == 0 else (0.73, 0.80)
        ends = [(0.5 + r * f * math.sin(a), 0.5 - r * f * math.cos(a)) for f in (near, far)]
        s.line(ends, width=0.026 if k % 3 == 0 else 0.014, role="trim", form="flat")
    a, b = s.vary(0, 2 * math.pi), s.vary(0, 2 * math.pi)
    s.line(
        [(0.5, 0.5), (0.5 + 0.20 * math.sin(a), 0.5 - 0.20 * math.cos(a))],
        width=0.032,
        role="trim",
        depth=0.01,
    )
    s.line(
        [(0.5, 0.5), (0.5 + 0.29 * math.sin(b), 0.5 - 0.29 * math.cos(b))],
        width=0.020,
        role="trim",
        depth=0.01,
    )
    s.fill(oval(0.5, 0.5, 0.03), role="metal", form="ball")


def cushion(s: Sketch) -> None:
    plump = s.vary(0.03, 0.06)
    side = [
        (0.90, 0.12),
        (0.90, 0.12),
        (0.90 - plump, 0.5),
        (0.90, 0.88),
        (0.90, 0.88),
        (0.5, 0.88 - plump),
    ]
    outline = curve([(0.5, 0.12 + plump), *side, *flip(side[:-1])[::-1]], closed=True)
    s.line([*outline, outline[0]], width=0.028, role="accent", depth=0.012)
    s.fill(outline, depth=0.13)
    s.mark(0.5, 0.5, 0.20)


def bookcase(s: Sketch) -> None:
    wide, shelves = s.vary(0.24, 0.32), int(s.rng.integers(3, 6))
    s.fill(box(0.5 - wide, 0.04, 0.5 + wide, 0.96, radius=0.012), depth=0.018)
    height = 0.86 / shelves
    low = [0.07 + i * height + height - 0.03 for i in range(shelves)]
    bays = [box(0.535 - wide, y - height + 0.03, 0.465 + wide, y, radius=0.004) for y in low]
    s.fill(*bays, role="dark", form="flat")
    books: list[list[Point]] = []
    for y in low:
        x = 0.545 - wide
        while x < 0.40 + wide:
            w, h = s.vary(0.025, 0.055), s.vary(0.6, 0.95) * (height - 0.035)
            books.append(box(x, y - h, x + w, y, radius=0.004))
            x += w + (0.006 if s.chance(0.8) else 0.09)
    s.fill(*books[::3], role="accent", depth=0.008)
    s.fill(*books[1::3], role="trim", depth=0.008)
    s.fill(*books[2::3], role="metal", depth=0.008)


def drawers(s: Sketch) -> None:
    wide, rows = s.vary(0.34, 0.42), int(s.rng.integers(3, 5))
    leg = _leg(0.56 - wide, 0.82, 0.54 - wide, 0.94, thick=0.05)
    s.fill(leg, flip(leg), role="wood", depth=0.012)
    s.fill(box(0.5 - wide, 0.16, 0.5 + wide, 0.86, radius=0.014), depth=0.02)
    s.fill(box(0.48 - wide, 0.13, 0.52 + wide, 0.175, radius=0.012), role="accent", depth=0.014)
    height = 0.65 / rows
    for i in range(rows):
        y = 0.195 + i * height
        s.fill(box(0.53 - wide, y, 0.47 + wide, y + height - 0.022, radius=0.01), depth=0.014)
        knob = oval(0.5 - wide * 0.45, y + height / 2 - 0.01, 0.022)
        s.fill(knob, flip(knob), role="metal", depth=0.014)
