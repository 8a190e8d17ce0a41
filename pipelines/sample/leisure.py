"""Silhouettes of instruments, sports goods and toys."""

from __future__ import annotations

import math

from pipelines.sample.sketch import Point, Sketch, arc, box, curve, even, flip, move, oval, rounded


def _neck(s: Sketch, low: float, half: float) -> None:
    """The neck and head of a guitar, with tuning pegs."""
    pegs = [
        box(x, y, x + 0.05, y + 0.02, radius=0.008)
        for y in (0.035, 0.075, 0.115)
        for x in (0.415, 0.535)
    ]
    s.fill(*pegs, role="metal", depth=0.008)
    s.fill(
        rounded([(0.455, 0.02), (0.545, 0.02), (0.535, 0.16), (0.465, 0.16)], 0.012),
        role="accent",
        depth=0.014,
    )
    s.fill(
        [(0.5 - half, 0.15), (0.5 + half, 0.15), (0.5 + half * 1.2, low), (0.5 - half * 1.2, low)],
        role="wood",
        depth=0.014,
    )
    s.seam(
        *[
            [(0.5 - half, 0.19 + 0.047 * i), (0.5 + half, 0.19 + 0.047 * i)]
            for i in range(int((low - 0.19) / 0.047))
        ],
        width=0.005,
    )


def guitar(s: Sketch) -> None:
    wide = s.vary(0.19, 0.22)
    body = [
        (0.5, 0.475),
        (0.58, 0.47),
        (0.5 + wide * 0.76, 0.55),
        (0.5 + wide * 0.62, 0.65),
        (0.5 + wide, 0.80),
    ]
    outline = even(curve([*body, (0.5 + wide * 0.72, 0.94), (0.5, 0.965)]))
    s.line([*outline, outline[0]], width=0.02, role="accent", depth=0.01)
    s.fill(outline, depth=0.03)
    s.fill(oval(0.5, 0.645, 0.068), role="accent", depth=0.01)
    s.fill(oval(0.5, 0.645, 0.053), role="dark", depth=0.02)
    _neck(s, 0.60, 0.026)
    s.fill(box(0.42, 0.825, 0.58, 0.855, radius=0.01), role="wood", depth=0.01)
    s.line(
        *[[(x, 0.12), (x, 0.84)] for x in (0.487, 0.5, 0.513)],
        width=0.004,
        role="metal",
        form="flat",
    )


def electric_guitar(s: Sketch) -> None:
    horn = s.vary(0.40, 0.45)
    body = [
        (0.46, 0.58),
        (0.36, 0.56),
        (0.345, horn + 0.04),
        (0.30, horn + 0.02),
        (0.285, 0.60),
        (0.33, 0.70),
    ]
    body += [
        (0.27, 0.84),
        (0.36, 0.95),
        (0.54, 0.965),
        (0.70, 0.90),
        (0.71, 0.78),
        (0.655, 0.69),
        (0.69, 0.58),
    ]
    body += [(0.675, horn + 0.10), (0.635, horn + 0.11), (0.62, 0.56), (0.54, 0.58)]
    s.fill(curve(body, closed=True), depth=0.025)
    guard = [(0.42, 0.61), (0.58, 0.60), (0.65, 0.72), (0.62, 0.85), (0.53, 0.82), (0.43, 0.76)]
    s.fill(curve(guard, closed=True), role="accent", depth=0.012)
    _neck(s, 0.63, 0.024)
    s.fill(
        *[box(0.45, y, 0.55, y + 0.028, radius=0.008) for y in (0.66, 0.73)],
        role="dark",
        depth=0.008,
    )
    s.fill(box(0.435, 0.80, 0.565, 0.845, radius=0.01), role="metal", depth=0.01)
    s.fill(oval(0.61, 0.865, 0.018), oval(0.575, 0.905, 0.018), role="metal", form="ball")
    s.line(
        *[[(x, 0.12), (x, 0.82)] for x in (0.488, 0.5, 0.512)],
        width=0.004,
        role="metal",
        form="flat",
    )


def drum(s: Sketch) -> None:
    r, low = s.vary(0.36, 0.42), s.vary(0.72, 0.80)
    s.line(
        [(0.22, 0.06), (0.60, 0.30)],
        [(0.80, 0.05), (0.46, 0.31)],
        width=0.028,
        role="wood",
        depth=0.012,
    )
    s.turned([(0.36, r), (0.55, r), (low, r)])
    rods = [(-0.95, 0.0), (-0.6, 0.03), (0.0, 0.045), (0.6, 0.03), (0.95, 0.0)]
    s.line(
        *[[(0.5 + r * x, 0.38 + y), (0.5 + r * x, low + y)] for x, y in rods],
        width=0.016,
        role="metal",
        depth=0.008,
    )
    for y in (low, 0.35):
        s.turned([(y - 0.02, r + 0.018), (y + 0.02, r + 0.018)], role="accent")
    s.fill(oval(0.5, 0.335, r + 0.018, r * 0.26), role="accent", depth=0.015)
    s.fill(oval(0.5, 0.335, r - 0.01, r * 0.22), role="trim", depth=0.02)
    s.line([(0.30, 0.11), (0.62, 0.315)], width=0.028, role="wood", depth=0.012)
    s.mark(0.5, 0.59, 0.14)


def _around(radius: float, degrees: float) -> Point:
    """A point on a circle about the middle, clockwise from the right."""
    angle = math.radians(degrees)
    return 0.5 + radius * math.cos(angle), 0.5 + radius * math.sin(angle)


def football(s: Sketch) -> None:
    r = s.vary(0.42, 0.45)
    s.fill(oval(0.5, 0.5, r), form="ball")
    turn = s.vary(0, 72)
    corners = [turn + 72 * k for k in range(5)]
    s.fill([_around(0.17, a) for a in corners], role="accent", depth=0.02)
    s.seam(*[[_around(0.17, a), _around(0.29, a)] for a in corners], width=0.011)
    for a in corners:
        outer = [_around(r, a + d) for d in (-15, -7, 0, 7, 15)]
        inner = [_around(r * 0.78, a + d) for d in (12, -12)]
        s.fill([*outer, *inner], role="accent", depth=0.02)
    ring = [_around(0.29, a + d) for a in corners for d in (0, 36)]
    s.seam([*ring, ring[0]], width=0.009)


def basketball(s: Sketch) -> None:
    r = s.vary(0.42, 0.45)
    s.fill(oval(0.5, 0.5, r), form="ball")
    bow = s.vary(0.30, 0.36)
    left = arc(0.5 - r * 0.98, 0.5, bow, r * 0.82, span=(-62, 62))
    s.line(
        [(0.5, 0.5 - r), (0.5, 0.5 + r)],
        [(0.5 - r, 0.5), (0.5 + r, 0.5)],
        left,
        flip(left),
        width=0.016,
        role="dark",
        form="flat",
    )
    s.mark(0.64, 0.36, 0.13)


def rugby_ball(s: Sketch) -> None:
    bulge = s.vary(0.25, 0.29)
    top = [
        (0.04, 0.5),
        (0.20, 0.5 - bulge * 0.72),
        (0.5, 0.5 - bulge),
        (0.80, 0.5 - bulge * 0.72),
        (0.96, 0.5),
    ]
    low = [(x, 1 - y) for x, y in reversed(top)]
    s.fill([*curve(top), *curve(low)], form="barrel")
    for x in (0.17, 0.77):
        h = bulge * 0.66
        s.fill(box(x, 0.5 - h, x + 0.06, 0.5 + h, radius=0.02), role="accent", form="barrel")
    s.line(curve([(0.30, 0.40), (0.5, 0.385), (0.70, 0.40)]), width=0.012, role="trim", form="flat")
    s.line(
        *[[(0.38 + 0.06 * i, 0.36), (0.38 + 0.06 * i, 0.42)] for i in range(5)],
        width=0.014,
        role="trim",
        form="flat",
    )
    s.mark(0.5, 0.56, 0.15)


def racket(s: Sketch) -> None:
    rx, ry = s.vary(0.21, 0.25), s.vary(0.27, 0.30)
    s.line(
        *[
            [
                (0.5 + rx * t, 0.33 - ry * math.sqrt(1 - t * t)),
                (0.5 + rx * t, 0.33 + ry * math.sqrt(1 - t * t)),
            ]
            for t in (-0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75)
        ],
        width=0.006,
        role="trim",
        form="flat",
    )
    s.line(
        *[
            [
                (0.5 - rx * math.sqrt(1 - t * t), 0.33 + ry * t),
                (0.5 + rx * math.sqrt(1 - t * t), 0.33 + ry * t),
            ]
            for t in (-0.8, -0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6, 0.8)
        ],
        width=0.006,
        role="trim",
        form="flat",
    )
    s.line(
        [(0.5 - rx * 0.6, 0.33 + ry * 0.8), (0.495, 0.74)],
        [(0.5 + rx * 0.6, 0.33 + ry * 0.8), (0.505, 0.74)],
        width=0.03,
        depth=0.014,
    )
    head = oval(0.5, 0.33, rx, ry)
    s.line([*head, head[0]], width=0.04, depth=0.018)
    s.line([(0.5, 0.72), (0.5, 0.94)], width=0.055, role="accent", depth=0.025)
    s.seam(*[[(0.475, 0.76 + 0.04 * i), (0.525, 0.74 + 0.04 * i)] for i in range(5)], width=0.008)


def skateboard(s: Sketch) -> None:
    kick = s.vary(0.06, 0.10)
    for x in (0.25, 0.75):
        s.fill(
            rounded([(x - 0.06, 0.53), (x + 0.06, 0.53), (x + 0.02, 0.62), (x - 0.02, 0.62)], 0.01),
            role="metal",
            depth=0.015,
        )
        s.fill(oval(x, 0.64, 0.062), role="accent", depth=0.03)
        s.fill(oval(x, 0.64, 0.024), role="metal", form="ball")
    deck = [(0.02, 0.52 - kick), (0.16, 0.50), (0.5, 0.505), (0.84, 0.50), (0.98, 0.52 - kick)]
    s.line(curve(deck), width=0.055, role="accent", depth=0.02)
    s.line(curve(move(deck, 0, -0.022)), width=0.05, depth=0.02)


def dumbbell(s: Sketch) -> None:
    r = s.vary(0.19, 0.24)
    s.fill(box(0.28, 0.455, 0.72, 0.545, radius=0.02), role="metal", form="barrel")
    for sign in (-1, 1):
        for offset, half, height in ((0.40, 0.06, r * 0.72), (0.29, 0.065, r)):
            x = 0.5 + sign * offset
            s.fill(
                box(x - half, 0.5 - height, x + half, 0.5 + height, radius=0.025),
                role="accent" if offset > 0.35 else "body",
                form="barrel",
            )
    s.seam(*[[(0.40 + 0.025 * i, 0.46), (0.42 + 0.025 * i, 0.54)] for i in range(8)], width=0.005)
    s.mark(0.21, 0.5, 0.09)


def teddy(s: Sketch) -> None:
    belly = s.vary(0.21, 0.24)
    ear = oval(0.35, 0.13, 0.085)
    s.fill(ear, flip(ear), depth=0.06)
    inner = oval(0.355, 0.14, 0.045)
    s.fill(inner, flip(inner), role="accent", depth=0.03)
    leg = oval(0.29, 0.82, 0.125, 0.13)
    arm = rounded([(0.36, 0.48), (0.18, 0.58), (0.16, 0.68), (0.27, 0.70), (0.40, 0.60)], 0.06)
    s.fill(oval(0.5, 0.66, belly, 0.24), depth=0.14)
    s.fill(oval(0.5, 0.68, belly * 0.62, 0.15), role="accent", depth=0.08)
    s.fill(arm, flip(arm), depth=0.06)
    s.fill(leg, flip(leg), depth=0.08)
    paw = oval(0.285, 0.835, 0.065, 0.07)
    s.fill(paw, flip(paw), role="accent", depth=0.03)
    s.fill(oval(0.5, 0.28, 0.22, 0.195), depth=0.14)
    s.fill(oval(0.5, 0.345, 0.10, 0.08), role="accent", depth=0.06)
    s.fill(oval(0.42, 0.25, 0.022), oval(0.58, 0.25, 0.022), role="dark", form="soft", depth=0.015)
    s.fill(oval(0.5, 0.315, 0.034, 0.024), role="dark", depth=0.02)
    s.line(
        curve([(0.46, 0.375), (0.5, 0.39), (0.54, 0.375)]), width=0.010, role="dark", form="flat"
    )


def toy_car(s: Sketch) -> None:
    roof = s.vary(0.26, 0.32)
    body = [
        (0.04, 0.66),
        (0.06, 0.52),
        (0.22, 0.48),
        (0.33, roof),
        (0.66, roof),
        (0.77, 0.48),
        (0.93, 0.53),
        (0.97, 0.66),
    ]
    s.fill(rounded(body, 0.07), depth=0.06)
    panes = [
        [(0.29, 0.47), (0.365, roof + 0.05), (0.48, roof + 0.05), (0.48, 0.47)],
        [(0.515, 0.47), (0.515, roof + 0.05), (0.635, roof + 0.05), (0.71, 0.47)],
    ]
    s.fill(*[rounded(p, 0.015) for p in panes], role="screen", depth=0.015)
    s.line([(0.08, 0.575), (0.93, 0.575)], width=0.022, role="accent", depth=0.01)
    s.fill(oval(0.925, 0.55, 0.026), role="flame", form="ball")
    for x in (0.24, 0.76):
        s.fill(oval(x, 0.68, 0.115), role="dark", depth=0.03)
        s.fill(oval(x, 0.68, 0.062), role="trim", depth=0.03)
        s.fill(oval(x, 0.68, 0.022), role="accent", form="ball")
    s.mark(0.50, 0.525, 0.06)


def duck(s: Sketch) -> None:
    tail = s.vary(0.40, 0.47)
    body = [
        (0.08, tail),
        (0.24, 0.54),
        (0.42, 0.52),
        (0.62, 0.50),
        (0.84, 0.55),
        (0.88, 0.72),
        (0.74, 0.88),
        (0.38, 0.90),
        (0.14, 0.76),
    ]
    s.fill(curve(body, closed=True), depth=0.13)
    s.fill(
        curve([(0.84, 0.31), (0.95, 0.30), (0.98, 0.35), (0.93, 0.40), (0.82, 0.40)], closed=True),
        role="accent",
        depth=0.025,
    )
    s.fill(oval(0.66, 0.32, 0.20), form="ball")
    wing = [(0.22, 0.64), (0.40, 0.60), (0.58, 0.64), (0.54, 0.76), (0.38, 0.80)]
    s.fill(curve(wing, closed=True), depth=0.05)
    s.fill(oval(0.73, 0.265, 0.034), role="trim", depth=0.02)
    s.fill(oval(0.737, 0.265, 0.020), role="dark", depth=0.012)


def rocket(s: Sketch) -> None:
    r = s.vary(0.15, 0.18)
    fin = [
        (0.5 - r * 0.85, 0.58),
        (0.5 - r - 0.15, 0.78),
        (0.5 - r - 0.15, 0.92),
        (0.5 - r * 0.6, 0.82),
    ]
    s.fill(
        curve([(0.5, 0.98), (0.44, 0.88), (0.46, 0.84), (0.54, 0.84), (0.56, 0.88)], closed=True),
        role="flame",
        depth=0.03,
    )
    s.fill(rounded(fin, 0.03), rounded(flip(fin), 0.03), role="accent", depth=0.03)
    s.turned(
        [(0.04, 0.006), (0.14, r * 0.55), (0.34, r), (0.60, r), (0.80, r * 0.72), (0.84, r * 0.6)]
    )
    s.turned([(0.04, 0.006), (0.12, r * 0.47), (0.20, r * 0.72)], role="accent")
    for y in (0.38, 0.58):
        s.fill(oval(0.5, y, r * 0.50), role="metal", depth=0.014)
        s.fill(oval(0.5, y, r * 0.37), role="screen", form="ball")
    s.fill([(0.485, 0.70), (0.515, 0.70), (0.515, 0.93), (0.485, 0.93)], role="accent", depth=0.012)
