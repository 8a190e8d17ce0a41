"""Silhouettes of things that stand on a kitchen table or a hob."""

from __future__ import annotations

from pipelines.sample.sketch import Point, Sketch, arc, box, curve, oval, rounded


def _mouth(s: Sketch, at: Point, rx: float, ry: float) -> None:
    """The open top of a vessel: rim, then the dark inside."""
    x, y = at
    s.fill(oval(x, y, rx, ry), role="accent", depth=0.012)
    s.fill(oval(x, y + ry * 0.10, rx * 0.88, ry * 0.72), role="seam")
    s.fill(oval(x, y + ry * 0.34, rx * 0.74, ry * 0.42), role="seam")


def mug(s: Sketch) -> None:
    r, foot = s.vary(0.26, 0.32), s.vary(0.0, 0.05)
    handle = arc(0.40 + r, 0.52, s.vary(0.15, 0.19), s.vary(0.16, 0.21), span=(-95, 95))
    s.line(handle, width=0.06, depth=0.03)
    s.turned([(0.16, r), (0.50, r), (0.80, r - foot), (0.87, r - 0.05 - foot)], x=0.42)
    _mouth(s, (0.42, 0.165), r, 0.055)
    s.mark(0.40, 0.53, 0.17)


def tumbler(s: Sketch) -> None:
    r, taper = s.vary(0.23, 0.28), s.vary(0.04, 0.09)
    s.turned([(0.08, r), (0.90, r - taper)])
    s.turned([(0.84, r - taper * 0.92), (0.905, r - taper)], role="accent")
    _mouth(s, (0.5, 0.085), r, 0.045)
    s.mark(0.5, 0.45, 0.15)


def wine_glass(s: Sketch) -> None:
    belly = s.vary(0.19, 0.25)
    s.turned([(0.915, 0.02), (0.945, s.vary(0.16, 0.19)), (0.965, 0.17)])
    s.turned([(0.50, 0.035), (0.58, 0.018), (0.80, 0.016), (0.90, 0.028), (0.935, 0.09)])
    s.turned(
        [
            (0.05, belly * 0.72),
            (0.22, belly),
            (0.38, belly * 0.92),
            (0.50, belly * 0.45),
            (0.545, 0.02),
        ]
    )
    s.turned(
        [(0.30, belly * 0.93), (0.40, belly * 0.82), (0.49, belly * 0.44), (0.53, 0.02)],
        role="accent",
    )
    _mouth(s, (0.5, 0.052), belly * 0.72, 0.026)


def teacup(s: Sketch) -> None:
    r = s.vary(0.26, 0.31)
    s.fill(oval(0.48, 0.78, 0.45, 0.095), role="accent", depth=0.03)
    s.fill(oval(0.48, 0.765, 0.28, 0.05), role="seam")
    s.line(arc(0.47 + r, 0.46, 0.11, 0.10, span=(-110, 80)), width=0.038, depth=0.02)
    s.turned(
        [(0.30, r), (0.45, r * 0.97), (0.62, r * 0.72), (0.72, r * 0.42), (0.765, r * 0.46)], x=0.48
    )
    _mouth(s, (0.48, 0.305), r, 0.055)
    s.mark(0.46, 0.50, 0.13)


def travel_cup(s: Sketch) -> None:
    r = s.vary(0.20, 0.23)
    s.turned([(0.17, r), (0.92, r * 0.72)])
    s.turned([(0.40, r * 0.94), (0.68, r * 0.835)], role="accent")
    s.turned([(0.055, r * 0.86), (0.13, r * 0.92)], role="trim")
    s.turned([(0.125, r * 1.06), (0.18, r * 1.07)], role="trim")
    s.fill(oval(0.5, 0.058, r * 0.85, r * 0.11), role="trim", depth=0.012)
    s.fill(box(0.56, 0.02, 0.64, 0.055, radius=0.01), role="dark", depth=0.012)
    s.mark(0.5, 0.54, 0.13)


def teapot(s: Sketch) -> None:
    r, low = s.vary(0.27, 0.31), s.vary(0.80, 0.85)
    s.line(arc(0.26, 0.55, 0.20, 0.17, span=(80, 290)), width=0.05, role="accent", depth=0.025)
    spout = [
        (0.70, 0.68),
        (0.82, 0.58),
        (0.86, 0.42),
        (0.97, 0.35),
        (0.955, 0.41),
        (0.92, 0.56),
        (0.74, 0.78),
    ]
    s.fill(curve(spout, closed=True), depth=0.03)
    s.turned(
        [
            (0.34, 0.13),
            (0.38, r * 0.72),
            (0.56, r),
            (0.74, r * 0.85),
            (low, r * 0.55),
            (low + 0.025, r * 0.58),
        ],
        x=0.48,
    )
    s.turned([(0.27, 0.03), (0.29, 0.10), (0.35, 0.17), (0.37, 0.165)], x=0.48, role="accent")
    s.fill(oval(0.48, 0.245, 0.038), role="accent", form="ball")
    s.mark(0.46, 0.60, 0.17)


def kettle(s: Sketch) -> None:
    wide = s.vary(0.29, 0.34)
    s.line(
        arc(0.47, 0.36, 0.24, s.vary(0.25, 0.30), span=(185, 355)),
        width=0.055,
        role="dark",
        depth=0.025,
    )
    spout = [(0.66, 0.60), (0.80, 0.52), (0.93, 0.34), (0.975, 0.37), (0.89, 0.60), (0.72, 0.76)]
    s.fill(rounded(spout, 0.02), depth=0.03)
    s.turned(
        [(0.33, 0.15), (0.40, wide * 0.72), (0.62, wide * 0.93), (0.84, wide), (0.90, wide * 0.97)],
        x=0.47,
    )
    s.turned([(0.87, wide * 0.99), (0.91, wide * 0.99), (0.925, wide * 0.93)], x=0.47, role="metal")
    s.turned([(0.29, 0.05), (0.33, 0.155), (0.355, 0.16)], x=0.47, role="accent")
    s.fill(oval(0.47, 0.275, 0.035), role="dark", form="ball")
    s.mark(0.45, 0.66, 0.15)


def cafetiere(s: Sketch) -> None:
    r = s.vary(0.19, 0.23)
    s.line(
        [(0.46 + r, 0.36), (0.60 + r, 0.36), (0.60 + r, 0.78), (0.46 + r, 0.78)],
        width=0.05,
        role="accent",
        depth=0.02,
    )
    s.line([(0.46, 0.06), (0.46, 0.30)], width=0.016, role="metal", depth=0.008)
    s.fill(oval(0.46, 0.06, 0.04), role="accent", form="ball")
    s.turned([(0.31, r), (0.60, r), (0.90, r)], x=0.46, role="glass")
    s.turned([(0.58, r - 0.015), (0.75, r - 0.015), (0.89, r - 0.015)], x=0.46, role="dark")
    s.turned([(0.54, r - 0.012), (0.57, r - 0.012)], x=0.46, role="metal")
    for y in (0.38, 0.84):
        s.turned([(y, r + 0.012), (y + 0.05, r + 0.012)], x=0.46)
    s.turned([(0.235, 0.06), (0.26, r * 0.8), (0.31, r + 0.02), (0.325, r + 0.02)], x=0.46)
    s.turned([(0.90, r + 0.02), (0.94, r + 0.025)], x=0.46)


def frying_pan(s: Sketch) -> None:
    r = s.vary(0.27, 0.31)
    s.line([(0.55, 0.55), (0.93, 0.17)], width=0.065, role="accent", depth=0.03)
    s.fill(oval(0.92, 0.18, 0.018), role="dark", form="flat")
    s.line([(0.50, 0.60), (0.64, 0.46)], width=0.085, role="metal", depth=0.02)
    s.fill(oval(0.35, 0.65, r), depth=0.05)
    s.fill(oval(0.35, 0.65, r - 0.035), role="dark", depth=0.04)
    s.fill(oval(0.35, 0.65, r - 0.085), role="screen", depth=0.10)


def saucepan(s: Sketch) -> None:
    r, top = s.vary(0.25, 0.29), s.vary(0.40, 0.48)
    s.line([(0.34 + r, top + 0.08), (0.98, top + 0.03)], width=0.06, role="accent", depth=0.025)
    s.turned([(top, r), (0.78, r), (0.83, r - 0.04)], x=0.36)
    s.turned([(top - 0.02, r + 0.015), (top + 0.015, r + 0.015)], x=0.36, role="metal")
    s.turned([(top - 0.12, 0.05), (top - 0.085, r * 0.7), (top - 0.015, r + 0.008)], x=0.36)
    s.turned([(top - 0.19, 0.045), (top - 0.15, 0.05), (top - 0.11, 0.022)], x=0.36, role="accent")
    s.mark(0.36, 0.64, 0.13)


def casserole(s: Sketch) -> None:
    r, top = s.vary(0.34, 0.38), s.vary(0.44, 0.50)
    for ear in (
        arc(0.5 - r, 0.60, 0.09, 0.06, span=(90, 270)),
        arc(0.5 + r, 0.60, 0.09, 0.06, span=(-90, 90)),
    ):
        s.line(ear, width=0.04, depth=0.02)
    s.turned([(top, r), (0.68, r), (0.80, r * 0.92), (0.85, r * 0.75)])
    s.turned(
        [
            (top - 0.13, 0.08),
            (top - 0.10, r * 0.62),
            (top - 0.02, r + 0.012),
            (top + 0.015, r + 0.015),
        ]
    )
    s.turned([(top - 0.21, 0.06), (top - 0.17, 0.065), (top - 0.12, 0.03)], role="metal")
    s.seam([(0.5 - r, top + 0.022), (0.5 + r, top + 0.022)])
    s.mark(0.5, 0.66, 0.13)


def bowl(s: Sketch) -> None:
    r, deep = s.vary(0.38, 0.44), s.vary(0.72, 0.80)
    s.turned([(deep - 0.02, 0.15), (deep + 0.04, 0.17)], role="accent")
    s.turned([(0.40, r), (0.52, r * 0.94), (deep - 0.10, r * 0.72), (deep, r * 0.38)])
    _mouth(s, (0.5, 0.405), r, 0.10)


def jug(s: Sketch) -> None:
    r, neck = s.vary(0.22, 0.26), s.vary(0.13, 0.16)
    s.line(
        curve([(0.50 + neck, 0.18), (0.84, 0.20), (0.84, 0.48), (0.48 + r, 0.66)]),
        width=0.05,
        role="accent",
        depth=0.025,
    )
    lip = [
        (0.47 - neck, 0.10),
        (0.38 - neck, 0.075),
        (0.45 - neck, 0.24),
        (0.47, 0.30),
        (0.47, 0.10),
    ]
    s.fill(rounded(lip, 0.02), depth=0.03)
    s.turned(
        [
            (0.10, neck),
            (0.26, neck * 0.92),
            (0.45, r * 0.85),
            (0.66, r),
            (0.84, r * 0.82),
            (0.92, r * 0.70),
        ],
        x=0.47,
    )
    _mouth(s, (0.465, 0.102), neck, 0.028)
    s.mark(0.46, 0.64, 0.15)


def bottle(s: Sketch) -> None:
    r, neck = s.vary(0.13, 0.17), s.vary(0.045, 0.06)
    s.turned([(0.03, neck), (0.13, neck)], role="wood")
    shoulder = s.vary(0.34, 0.44)
    s.turned(
        [(0.12, neck), (0.24, neck), (shoulder, r * 0.95), (0.52, r), (0.92, r), (0.96, r * 0.86)]
    )
    s.turned([(0.11, neck + 0.012), (0.14, neck + 0.012)], role="metal")
    s.turned([(0.56, r + 0.001), (0.78, r + 0.001)], role="accent")
    s.mark(0.5, 0.67, 0.14)


def plate(s: Sketch) -> None:
    r = s.vary(0.42, 0.46)
    s.fill(oval(0.5, 0.5, r), depth=0.04)
    s.line([*oval(0.5, 0.5, r - 0.02), (0.48 + r, 0.5)], width=0.016, role="accent", form="flat")
    s.fill(oval(0.5, 0.5, r * 0.70), role="seam")
    s.fill(oval(0.505, 0.508, r * 0.69), depth=0.03)
    s.mark(0.5, 0.5, 0.17)
