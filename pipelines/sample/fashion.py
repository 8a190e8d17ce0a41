"""Silhouettes of clothes, laid flat."""

from __future__ import annotations

from pipelines.sample.sketch import Points, Sketch, arc, box, curve, even, flip, oval, rounded

CREW = [(0.5, 0.205), (0.555, 0.19), (0.595, 0.135)]
VEE = [(0.5, 0.36), (0.55, 0.25), (0.59, 0.135)]


def _torso(s: Sketch, neck: Points, *, hem: float, flare: float = 0.0) -> None:
    """The front panel between the shoulders and the hem."""
    waist = s.vary(0.69, 0.72)
    side = [(0.70, 0.17), (0.725, 0.36), (waist, 0.58), (0.725 + flare, hem)]
    inside = [(0.5, 0.12), (0.60, 0.12), (0.66, 0.20), (0.56, 0.45), (0.5, 0.45)]
    s.fill(rounded(even(inside), 0.03), role="accent", depth=0.03)
    s.fill(rounded(even([*curve(neck), *side, (0.5, hem + 0.012)]), 0.012), depth=0.05)


def _sleeves(s: Sketch, outline: Points, *, turn: float, cuff: Points | None = None) -> None:
    """Both sleeves, behind the torso, with prints turned along them."""
    for points, sign in ((list(outline), 1), (flip(outline), -1)):
        s.fill(points, turn=sign * turn, depth=0.04)
    if cuff:
        s.fill(list(cuff), flip(cuff), role="accent", depth=0.015)


def _long_sleeves(s: Sketch) -> None:
    edge = [(0.65, 0.15), (0.77, 0.22), (0.85, 0.48), (0.885, 0.79)]
    outline = [*curve(edge), (0.775, 0.81), (0.745, 0.54), (0.69, 0.38)]
    cuff = rounded([(0.888, 0.78), (0.895, 0.85), (0.78, 0.87), (0.77, 0.80)], 0.012)
    _sleeves(s, rounded(outline, 0.01), turn=12, cuff=cuff)


def t_shirt(s: Sketch) -> None:
    tip = s.vary(0.36, 0.42)
    outline = [(0.64, 0.15), (0.76, 0.19), (0.93, tip), (0.82, tip + 0.11), (0.69, 0.36)]
    _sleeves(s, rounded(outline, 0.02), turn=38)
    _torso(s, CREW, hem=s.vary(0.84, 0.90))
    s.line(curve([*flip(CREW)[::-1], *CREW[1:]]), width=0.024, role="accent", depth=0.012)
    s.mark(0.605, 0.33, 0.085)


def knitwear(s: Sketch) -> None:
    hem = s.vary(0.80, 0.85)
    _long_sleeves(s)
    _torso(s, VEE, hem=hem)
    s.line([*flip(VEE)[::-1], *VEE[1:]], width=0.032, role="accent", depth=0.014)
    s.fill(box(0.275, hem - 0.01, 0.725, hem + 0.055, radius=0.02), role="accent", depth=0.02)
    s.seam(*[[(x / 40, hem), (x / 40, hem + 0.045)] for x in range(12, 29)], width=0.004)


def hoodie(s: Sketch) -> None:
    hood = [(0.33, 0.20), (0.35, 0.07), (0.5, 0.02), (0.65, 0.07), (0.67, 0.20), (0.5, 0.31)]
    _long_sleeves(s)
    _torso(s, CREW, hem=0.83)
    s.fill(curve(hood, closed=True), depth=0.05)
    s.fill(oval(0.5, 0.165, 0.105, 0.095), role="accent", depth=0.04)
    pocket = rounded(
        [(0.40, 0.58), (0.60, 0.58), (0.68, 0.70), (0.68, 0.78), (0.32, 0.78), (0.32, 0.70)], 0.02
    )
    s.fill(pocket, depth=0.02)
    s.line([(0.46, 0.26), (0.455, 0.42)], [(0.54, 0.26), (0.545, 0.40)], width=0.014, role="trim")
    s.fill(box(0.27, 0.82, 0.73, 0.88, radius=0.02), role="accent", depth=0.02)
    s.mark(0.5, 0.50, 0.09)


def shirt(s: Sketch) -> None:
    hem = s.vary(0.86, 0.92)
    _long_sleeves(s)
    _torso(s, VEE[:1] + [(0.545, 0.25), (0.58, 0.13)], hem=hem, flare=0.01)
    s.fill(box(0.475, 0.33, 0.525, hem, radius=0.004), depth=0.01)
    wing = rounded(
        [(0.505, 0.225), (0.575, 0.11), (0.605, 0.13), (0.625, 0.245), (0.57, 0.275)], 0.008
    )
    s.fill(wing, flip(wing), role="accent", depth=0.015)
    s.fill(*[oval(0.5, 0.38 + 0.1 * i, 0.011) for i in range(5)], role="trim", depth=0.008)
    s.fill(
        rounded([(0.57, 0.37), (0.67, 0.37), (0.67, 0.46), (0.62, 0.49), (0.57, 0.46)], 0.01),
        depth=0.012,
    )
    s.mark(0.62, 0.425, 0.05)


def _legs(s: Sketch, *, foot: float, spread: float, width: float, top: float = 0.06) -> None:
    """Two trouser legs from a waistband."""
    leg = [(0.49, top), (0.67, top), (0.71, top + 0.24), (0.5 + spread + width, foot)]
    leg += [(0.5 + spread, foot + 0.008), (0.505, top + 0.30)]
    left = rounded(flip(leg), 0.012)
    s.fill(left, depth=0.05, turn=-4)
    s.fill(rounded(leg, 0.012), depth=0.05, turn=4)


def trousers(s: Sketch) -> None:
    spread, width = s.vary(0.04, 0.08), s.vary(0.13, 0.19)
    _legs(s, foot=0.96, spread=spread, width=width)
    s.fill(box(0.325, 0.04, 0.675, 0.095, radius=0.01), role="accent", depth=0.014)
    s.seam([(0.5, 0.10), (0.51, 0.30)], curve([(0.36, 0.10), (0.38, 0.17), (0.32, 0.20)]))
    s.seam(curve([(0.64, 0.10), (0.62, 0.17), (0.68, 0.20)]))
    s.fill(oval(0.5, 0.067, 0.014), role="metal", depth=0.01)


def shorts(s: Sketch) -> None:
    _legs(s, foot=s.vary(0.58, 0.66), spread=0.05, width=s.vary(0.22, 0.27), top=0.16)
    s.fill(box(0.325, 0.13, 0.675, 0.20, radius=0.015), role="accent", depth=0.018)
    s.line([(0.48, 0.19), (0.46, 0.33)], [(0.52, 0.19), (0.545, 0.31)], width=0.014, role="trim")
    s.mark(0.64, 0.50, 0.07)


def dungarees(s: Sketch) -> None:
    _legs(s, foot=0.96, spread=0.06, width=0.17, top=0.40)
    s.line([(0.41, 0.20), (0.36, 0.04)], [(0.59, 0.20), (0.64, 0.04)], width=0.05, depth=0.02)
    s.fill(rounded([(0.38, 0.16), (0.62, 0.16), (0.68, 0.44), (0.32, 0.44)], 0.015), depth=0.03)
    s.fill(box(0.415, 0.235, 0.585, 0.35, radius=0.02), role="accent", depth=0.015)
    s.fill(box(0.315, 0.415, 0.685, 0.455, radius=0.01), depth=0.012)
    s.fill(oval(0.41, 0.195, 0.018), oval(0.59, 0.195, 0.018), role="metal", depth=0.012)
    s.mark(0.5, 0.29, 0.07)


def skater_dress(s: Sketch) -> None:
    width, hem = s.vary(0.33, 0.42), s.vary(0.80, 0.88)
    skirt = [(0.59, 0.42), (0.5 + width, hem), (0.5 + width * 0.5, hem + 0.035), (0.5, hem + 0.045)]
    s.fill(rounded(even(skirt), 0.03), depth=0.06)
    for x in (-0.24, -0.13, 0.13, 0.24):
        s.seam(curve([(0.5 + x * 0.35, 0.44), (0.5 + x * 0.8, 0.64), (0.5 + x * width * 3, hem)]))
    bodice = [(0.5, 0.19), (0.56, 0.16), (0.60, 0.15), (0.645, 0.24), (0.595, 0.42)]
    s.line([(0.60, 0.18), (0.585, 0.03)], [(0.40, 0.18), (0.415, 0.03)], width=0.035, depth=0.015)
    s.fill(rounded(even(bodice), 0.02), depth=0.04)
    s.fill(box(0.40, 0.40, 0.60, 0.445), role="accent", depth=0.016)


def skirt(s: Sketch) -> None:
    width, hem = s.vary(0.30, 0.40), s.vary(0.76, 0.88)
    s.fill(rounded(even([(0.635, 0.16), (0.5 + width, hem), (0.5, hem + 0.03)]), 0.015), depth=0.05)
    count = int(s.rng.integers(5, 9))
    for i in range(1, count):
        t = 2 * i / count - 1
        s.seam([(0.5 + 0.135 * t, 0.2), (0.5 + width * t, hem + 0.03 * (1 - abs(t)))], width=0.009)
    s.fill(box(0.36, 0.12, 0.64, 0.185, radius=0.012), role="accent", depth=0.018)
    s.fill(oval(0.58, 0.152, 0.016), role="metal", depth=0.01)


def coat(s: Sketch) -> None:
    hem = s.vary(0.93, 0.98)
    _long_sleeves(s)
    _torso(s, [(0.5, 0.40), (0.55, 0.27), (0.59, 0.12)], hem=hem, flare=0.045)
    s.seam([(0.5, 0.42), (0.5, hem)], width=0.01)
    lapel = rounded(
        [(0.505, 0.42), (0.585, 0.11), (0.63, 0.14), (0.665, 0.27), (0.62, 0.29), (0.64, 0.32)],
        0.008,
    )
    s.fill(lapel, flip(lapel), role="accent", depth=0.018)
    buttons = [oval(x, 0.50 + 0.11 * i, 0.017) for i in range(3) for x in (0.44, 0.56)]
    s.fill(*buttons, role="trim", depth=0.012)
    pocket = box(0.60, 0.66, 0.69, 0.70, radius=0.006)
    s.fill(pocket, flip(pocket), depth=0.012)


def gown(s: Sketch) -> None:
    train = s.vary(0.28, 0.38)
    side = [(0.63, 0.16), (0.60, 0.32), (0.645, 0.45), (0.64, 0.62), (0.5 + train, 0.95)]
    neck = curve([(0.5, 0.16), (0.56, 0.11), (0.61, 0.10)])
    outline = even([*neck, *curve(side), (0.5, 0.98)])
    s.fill(outline, depth=0.05)
    for x in (-0.6, -0.2, 0.2, 0.6):
        s.seam(curve([(0.5 + x * 0.12, 0.58), (0.5 + x * 0.2, 0.75), (0.5 + x * train, 0.96)]))
    s.fill(
        [*arc(0.5, 0.315, 0.105, 0.02, span=(0, 180)), (0.40, 0.28), (0.60, 0.28)],
        role="accent",
        depth=0.012,
    )
