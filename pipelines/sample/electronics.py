"""Silhouettes of electronics."""

from __future__ import annotations

from pipelines.sample.sketch import Sketch, arc, box, flip, move, oval, rounded


def headphones(s: Sketch) -> None:
    r = s.vary(0.30, 0.34)
    band = arc(0.5, 0.50, r, r + 0.08, span=(180, 360))
    s.line(
        [*band, (0.5 + r, 0.60)], [band[0], (0.5 - r, 0.60)], width=0.035, role="metal", depth=0.014
    )
    s.line(band[6:-6], width=0.075, role="accent", depth=0.03)
    cup = box(0.5 - r - 0.075, 0.48, 0.5 - r + 0.055, 0.86, radius=0.06)
    pad = box(0.5 - r + 0.03, 0.51, 0.5 - r + 0.12, 0.83, radius=0.04)
    s.fill(pad, flip(pad), role="dark", depth=0.035)
    s.fill(cup, depth=0.05)
    s.fill(flip(cup), depth=0.05)
    s.mark(0.49 - r, 0.67, 0.085)


def speaker(s: Sketch) -> None:
    wide = s.vary(0.22, 0.28)
    s.fill(box(0.5 - wide, 0.07, 0.5 + wide, 0.93, radius=0.03), depth=0.025)
    for y, r in ((0.27, wide * 0.42), (0.64, wide * 0.78)):
        s.fill(oval(0.5, y, r + 0.022), role="metal", depth=0.015)
        s.fill(oval(0.5, y, r), role="dark", depth=0.05)
        s.fill(oval(0.5, y, r * 0.72), role="accent", depth=0.06)
        s.fill(oval(0.5, y, r * 0.34), role="dark", form="ball")
    s.mark(0.5 + wide * 0.72, 0.13, 0.05)


def laptop(s: Sketch) -> None:
    top, flare = s.vary(0.16, 0.22), s.vary(0.04, 0.08)
    s.fill(box(0.14, top, 0.86, 0.70, radius=0.03), depth=0.015)
    s.fill(box(0.17, top + 0.03, 0.83, 0.665, radius=0.01), role="screen", depth=0.008)
    s.mark(0.5, (top + 0.69) / 2, 0.16)
    s.fill(
        rounded([(0.14, 0.695), (0.86, 0.695), (0.90 + flare, 0.82), (0.10 - flare, 0.82)], 0.012),
        depth=0.012,
    )
    keys = [(0.17, 0.710), (0.83, 0.710), (0.86, 0.758), (0.14, 0.758)]
    s.fill(keys, role="dark", form="flat")
    s.fill(box(0.41, 0.772, 0.59, 0.808, radius=0.006), role="seam")
    s.fill(box(0.10 - flare, 0.815, 0.90 + flare, 0.845, radius=0.012), role="accent", depth=0.01)


def phone(s: Sketch) -> None:
    wide = s.vary(0.19, 0.23)
    back = move(box(0.5 - wide, 0.05, 0.5 + wide, 0.95, radius=0.06), -0.09, -0.01)
    s.fill(back, depth=0.018)
    bump = box(0.43 - wide, 0.07, 0.43, 0.30, radius=0.05)
    s.fill(bump, role="accent", depth=0.014)
    lenses = [oval(0.49 - wide, 0.13, 0.035), oval(0.49 - wide, 0.235, 0.035)]
    s.fill(*lenses, role="screen", depth=0.02)
    s.fill(box(0.58 - wide, 0.06, 0.58 + wide, 0.96, radius=0.06), role="accent", depth=0.012)
    s.fill(box(0.592 - wide, 0.075, 0.568 + wide, 0.945, radius=0.048), role="screen", depth=0.006)
    icons = [
        box(0.66 - wide + 0.105 * i, 0.74 + 0.09 * j, 0.725 - wide + 0.105 * i, 0.80 + 0.09 * j)
        for i in range(3)
        for j in range(2)
    ]
    s.fill(*icons[::2], form="flat")
    s.fill(*icons[1::2], role="trim", form="flat")
    s.fill(box(0.55, 0.095, 0.61, 0.112, radius=0.008), role="dark", form="flat")


def camera(s: Sketch) -> None:
    r = s.vary(0.20, 0.24)
    s.fill(
        rounded([(0.36, 0.22), (0.64, 0.22), (0.68, 0.34), (0.32, 0.34)], 0.025),
        role="accent",
        depth=0.025,
    )
    s.fill(box(0.14, 0.265, 0.27, 0.34, radius=0.015), role="metal", form="turned")
    s.fill(box(0.06, 0.31, 0.94, 0.82, radius=0.06), depth=0.035)
    s.fill(box(0.06, 0.31, 0.94, 0.42, radius=0.05), role="accent", depth=0.02)
    s.fill(box(0.76, 0.345, 0.87, 0.40, radius=0.015), role="screen", depth=0.01)
    s.fill(oval(0.5, 0.57, r + 0.03), role="metal", depth=0.03)
    s.fill(oval(0.5, 0.57, r), role="dark", depth=0.04)
    s.fill(oval(0.5, 0.57, r * 0.70), role="metal", depth=0.012)
    s.fill(oval(0.5, 0.57, r * 0.62), role="screen", form="ball")
    s.mark(0.17, 0.365, 0.06)
