"""Silhouettes of things worn or carried."""

from __future__ import annotations

import math

from pipelines.sample.sketch import Sketch, arc, box, curve, even, flip, move, oval, rounded


def cap(s: Sketch) -> None:
    tall = s.vary(0.20, 0.27)
    peak = [(0.58, 0.58), (0.80, 0.55), (0.97, 0.64), (0.95, 0.69), (0.80, 0.66), (0.62, 0.68)]
    s.fill(curve(peak, closed=True), role="accent", depth=0.03)
    s.fill(
        [
            *arc(0.42, 0.62, 0.35, tall + 0.16, span=(180, 360)),
            (0.75, 0.66),
            (0.42, 0.70),
            (0.09, 0.66),
        ],
        depth=0.10,
    )
    s.seam(
        curve([(0.42, 0.46 - tall), (0.50, 0.50), (0.51, 0.68)]),
        curve([(0.42, 0.46 - tall), (0.24, 0.50), (0.22, 0.67)]),
    )
    s.fill(oval(0.42, 0.462 - tall, 0.032, 0.022), role="accent", depth=0.015)
    s.mark(0.62, 0.50, 0.12)


def beanie(s: Sketch) -> None:
    crown = s.vary(0.36, 0.44)
    s.fill([*arc(0.5, 0.62, 0.33, crown, span=(180, 360)), (0.83, 0.68), (0.17, 0.68)], depth=0.10)
    for x in (-0.2, -0.1, 0.0, 0.1, 0.2):
        s.seam(
            curve([(0.5 + x * 0.3, 0.64 - crown), (0.5 + x * 1.1, 0.45), (0.5 + x * 1.25, 0.62)])
        )
    s.fill(box(0.14, 0.60, 0.86, 0.79, radius=0.05), role="accent", depth=0.04)
    s.seam(*[[(0.2 + 0.05 * i, 0.625), (0.2 + 0.05 * i, 0.765)] for i in range(13)], width=0.006)
    if s.chance(0.6):
        s.fill(oval(0.5, 0.60 - crown, 0.10), role="trim", depth=0.09)
    s.mark(0.5, 0.695, 0.10)


def fedora(s: Sketch) -> None:
    brim = s.vary(0.40, 0.47)
    s.fill(oval(0.5, 0.66, brim, 0.095), depth=0.05)
    crown = [
        (0.5, 0.29),
        (0.57, 0.235),
        (0.66, 0.27),
        (0.71, 0.42),
        (0.74, 0.63),
        (0.62, 0.675),
        (0.5, 0.685),
    ]
    s.fill(even(curve(crown)), depth=0.075)
    band = [(0.715, 0.53), (0.742, 0.63), (0.62, 0.68), (0.5, 0.69)]
    upper = [(0.5, 0.60), (0.60, 0.59), (0.715, 0.53)]
    s.fill(even([*curve(upper), *curve(band)]), role="accent", depth=0.02)
    s.seam(curve([(0.44, 0.29), (0.5, 0.345), (0.56, 0.29)]), width=0.012)


def tote(s: Sketch) -> None:
    top, lean = s.vary(0.36, 0.42), s.vary(-0.02, 0.04)
    s.line(
        arc(0.5, top + 0.04, 0.16, top - 0.06, span=(180, 360)),
        width=0.036,
        role="accent",
        depth=0.015,
    )
    bag = [(0.20, top), (0.80, top), (0.80 + lean, 0.94), (0.20 - lean, 0.94)]
    s.fill(rounded(bag, 0.03), depth=0.055)
    s.seam([(0.20, top + 0.045), (0.80, top + 0.045)])
    tabs = [box(x - 0.03, top - 0.01, x + 0.03, top + 0.09, radius=0.008) for x in (0.34, 0.66)]
    s.fill(*tabs, role="accent", depth=0.01)
    s.mark(0.5, 0.68, 0.20)


def backpack(s: Sketch) -> None:
    s.line(arc(0.5, 0.13, 0.085, 0.085, span=(180, 360)), width=0.032, role="trim", depth=0.012)
    s.fill(
        box(0.16, 0.56, 0.26, 0.86, radius=0.04),
        box(0.74, 0.56, 0.84, 0.86, radius=0.04),
        role="trim",
        depth=0.03,
    )
    s.fill(
        rounded([(0.25, 0.10), (0.75, 0.10), (0.80, 0.94), (0.20, 0.94)], s.vary(0.10, 0.20)),
        depth=0.07,
    )
    s.line(
        curve([(0.27, 0.46), (0.30, 0.24), (0.5, 0.17), (0.70, 0.24), (0.73, 0.46)]),
        width=0.014,
        role="trim",
        depth=0.008,
    )
    s.fill(box(0.28, 0.54, 0.72, 0.88, radius=0.06), role="accent", depth=0.04)
    s.line([(0.31, 0.615), (0.69, 0.615)], width=0.013, role="metal", depth=0.008)
    s.line([(0.66, 0.615), (0.66, 0.68)], width=0.018, role="metal", depth=0.008)
    s.mark(0.5, 0.37, 0.12)


def handbag(s: Sketch) -> None:
    s.line(
        arc(0.5, 0.44, 0.22, s.vary(0.28, 0.36), span=(180, 360)),
        width=0.04,
        role="accent",
        depth=0.018,
    )
    wide = s.vary(0.36, 0.42)
    body = [
        (0.5, 0.40),
        (0.5 + wide - 0.07, 0.40),
        (0.5 + wide, 0.80),
        (0.5 + wide - 0.08, 0.87),
        (0.5, 0.88),
    ]
    s.fill(rounded(even(body), 0.05), depth=0.06)
    flap = [
        (0.5, 0.38),
        (0.5 + wide - 0.08, 0.38),
        (0.5 + wide - 0.05, 0.53),
        (0.60, 0.645),
        (0.5, 0.66),
    ]
    s.fill(rounded(even(flap), 0.03), role="accent", depth=0.03)
    s.fill(box(0.46, 0.60, 0.54, 0.70, radius=0.018), role="metal", depth=0.015)
    s.fill(
        oval(0.285, 0.42, 0.03),
        oval(0.715, 0.42, 0.03),
        role="metal",
        depth=0.015,
        holes=[oval(0.285, 0.42, 0.014), oval(0.715, 0.42, 0.014)],
    )
    s.mark(0.5, 0.50, 0.11)


def suitcase(s: Sketch) -> None:
    wide = s.vary(0.22, 0.27)
    s.line(
        [(0.42, 0.28), (0.42, 0.05), (0.58, 0.05), (0.58, 0.28)],
        width=0.022,
        role="metal",
        depth=0.01,
    )
    s.line([(0.41, 0.05), (0.59, 0.05)], width=0.04, role="dark", depth=0.015)
    for x in (0.5 - wide + 0.07, 0.5 + wide - 0.07):
        s.fill(oval(x, 0.95, 0.035), role="dark", form="ball")
    s.fill(box(0.5 - wide, 0.24, 0.5 + wide, 0.93, radius=0.06), depth=0.07)
    for i in range(5):
        x = 0.5 + (i - 2) * wide * 0.36
        s.seam([(x, 0.33), (x, 0.84)], width=0.012)
    s.fill(box(0.43, 0.255, 0.57, 0.295, radius=0.015), role="trim", depth=0.012)
    s.mark(0.5, 0.56, 0.13)


def _temples(s: Sketch, y: float, reach: float) -> None:
    """The arms of a pair of glasses, folded back."""
    left = [(0.5 - reach, y), (0.5 - reach + 0.04, y - 0.11), (0.5 - reach + 0.16, y - 0.15)]
    s.line(curve(left), flip(curve(left)), width=0.02, role="trim", depth=0.01)


def round_glasses(s: Sketch) -> None:
    r = s.vary(0.175, 0.205)
    _temples(s, 0.44, 0.47)
    for x in (0.27, 0.73):
        s.fill(oval(x, 0.5, r), role="glass", depth=0.03)
        s.fill(oval(x, 0.5, r + 0.035), holes=[oval(x, 0.5, r - 0.012)], depth=0.018)
    s.line(arc(0.5, 0.49, 0.05, 0.06, span=(180, 360)), width=0.03, depth=0.014)


def aviators(s: Sketch) -> None:
    drop = s.vary(0.17, 0.21)
    _temples(s, 0.42, 0.42)
    lens = [
        (0.10, 0.40),
        (0.25, 0.37),
        (0.43, 0.41),
        (0.43, 0.52),
        (0.33, 0.50 + drop),
        (0.18, 0.49 + drop),
        (0.09, 0.53),
    ]
    for outline in (curve(lens, closed=True), flip(curve(lens, closed=True))):
        s.fill(outline, depth=0.09)
        s.line([*outline, outline[0]], width=0.02, role="metal", depth=0.01)
    s.line(
        [(0.40, 0.38), (0.60, 0.38)],
        curve([(0.435, 0.47), (0.5, 0.44), (0.565, 0.47)]),
        width=0.02,
        role="metal",
        depth=0.01,
    )


def _strap(s: Sketch, half: float) -> None:
    """Both ends of a watch strap, with holes and a buckle."""
    s.fill(
        rounded(
            [
                (0.5 - half, 0.34),
                (0.5 + half, 0.34),
                (0.5 + half * 0.8, 0.03),
                (0.5 - half * 0.8, 0.03),
            ],
            0.02,
        ),
        depth=0.03,
    )
    s.fill(
        rounded(
            [
                (0.5 - half, 0.66),
                (0.5 + half, 0.66),
                (0.5 + half * 0.75, 0.97),
                (0.5 - half * 0.75, 0.97),
            ],
            0.03,
        ),
        depth=0.03,
    )
    s.fill(*[oval(0.5, 0.80 + 0.04 * i, 0.008) for i in range(4)], role="dark", form="flat")
    s.line([(0.5 - half, 0.045), (0.5 + half, 0.045)], width=0.024, role="metal", depth=0.01)


def _hands(s: Sketch, y: float, length: float) -> None:
    a, b = s.vary(0, 2 * math.pi), s.vary(0, 2 * math.pi)
    s.line(
        [(0.5, y), (0.5 + length * math.sin(a), y - length * math.cos(a))],
        [(0.5, y), (0.5 + 0.65 * length * math.sin(b), y - 0.65 * length * math.cos(b))],
        width=0.015,
        role="dark",
        form="flat",
    )


def round_watch(s: Sketch) -> None:
    r = s.vary(0.20, 0.235)
    _strap(s, s.vary(0.10, 0.13))
    s.fill(box(0.5 + r - 0.02, 0.475, 0.5 + r + 0.035, 0.525), role="metal", depth=0.012)
    s.fill(oval(0.5, 0.5, r), role="metal", depth=0.035)
    s.fill(oval(0.5, 0.5, r - 0.035), role="accent", depth=0.02)
    ticks = [
        move(
            [(0, 0)], (r - 0.06) * math.sin(k * math.pi / 6), (r - 0.06) * math.cos(k * math.pi / 6)
        )[0]
        for k in range(12)
    ]
    s.fill(*[oval(0.5 + x, 0.5 + y, 0.010) for x, y in ticks], role="trim", form="flat")
    _hands(s, 0.5, r - 0.08)
    s.mark(0.5, 0.44, 0.05)


def square_watch(s: Sketch) -> None:
    h = s.vary(0.17, 0.20)
    _strap(s, s.vary(0.12, 0.14))
    s.fill(box(0.5 + h - 0.03, 0.44, 0.5 + h + 0.02, 0.50), role="metal", depth=0.012)
    s.fill(box(0.5 - h, 0.49 - h, 0.5 + h, 0.51 + h, radius=0.06), role="dark", depth=0.03)
    s.fill(box(0.52 - h, 0.51 - h, 0.48 + h, 0.49 + h, radius=0.045), role="screen", depth=0.01)
    s.line(arc(0.5, 0.53, 0.085, 0.085, span=(-90, 170)), width=0.02, role="accent", form="flat")
    s.line(arc(0.5, 0.53, 0.055, 0.055, span=(-90, 80)), width=0.02, form="flat")
    s.line([(0.43, 0.40), (0.57, 0.40)], width=0.02, role="trim", form="flat")
