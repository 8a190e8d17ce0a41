"""Invented brands, and the small mark each prints on its products."""

from __future__ import annotations

import math

from pipelines.sample.sketch import Point, arc, box, move, oval, rounded

# Brand name -> glyph. Twenty-five brands share thirteen glyphs in upright and tilted form.
BRANDS = {
    "Nordwick": "peak",
    "Alder & Finch": "leaf",
    "Maritone": "wave",
    "Orsolo": "ring",
    "Kestrel Lane": "chevron",
    "Fennimore": "star",
    "Tallow": "drop",
    "Brisco": "bolt",
    "Halden": "hexagon",
    "Vintra": "diamond",
    "Pellmark": "bars",
    "Coppice": "cross",
    "Lumio": "moon",
    "Ashgrove": "peak-tilted",
    "Seabright": "wave-tilted",
    "Quillon": "leaf-tilted",
    "Rowanbay": "star-tilted",
    "Doverel": "bars-tilted",
    "Harrowby": "chevron-tilted",
    "Ostara": "moon-tilted",
    "Minto": "cross-tilted",
    "Severne": "bolt-tilted",
    "Wexcombe": "hexagon-tilted",
    "Yarrow": "drop-tilted",
    "Zelmar": "diamond-tilted",
}


def _spikes(count: int, inner: float) -> list[Point]:
    out = []
    for i in range(2 * count):
        r = 0.5 if i % 2 == 0 else inner
        a = math.pi * i / count - math.pi / 2
        out.append((r * math.cos(a), r * math.sin(a)))
    return out


def _regular(sides: int) -> list[Point]:
    angles = (2 * math.pi * i / sides - math.pi / 2 for i in range(sides))
    return [(0.5 * math.cos(a), 0.5 * math.sin(a)) for a in angles]


def _upright(name: str) -> list[list[Point]]:
    if name == "peak":
        return [rounded([(-0.5, 0.4), (-0.1, -0.45), (0.2, 0.1), (0.28, -0.05), (0.5, 0.4)], 0.06)]
    if name == "leaf":
        right = arc(-0.25, 0, 0.5, 0.6, span=(-60, 60))
        return [right + [(-x, y) for x, y in reversed(right)]]
    if name == "wave":
        top = [(t / 10 - 0.5, 0.13 * math.sin(t * 1.2)) for t in range(11)]
        band = top + [(x, y + 0.16) for x, y in reversed(top)]
        return [move(band, 0, -0.3), move(band, 0, 0.05)]
    if name == "ring":
        outer = arc(0, 0, 0.5, 0.5, span=(0, 360))
        return [outer + arc(0, 0, 0.27, 0.27, span=(360, 0))]
    if name == "chevron":
        one = [(-0.45, 0), (0, -0.4), (0.45, 0), (0.45, 0.2), (0, -0.18), (-0.45, 0.2)]
        return [move(one, 0, -0.08), move(one, 0, 0.28)]
    if name == "star":
        return [_spikes(5, 0.21)]
    if name == "drop":
        return [[(0, -0.55), *arc(0, 0.15, 0.34, 0.34, span=(-35, 215))]]
    if name == "bolt":
        return [[(0.12, -0.5), (-0.3, 0.1), (-0.03, 0.1), (-0.12, 0.5), (0.3, -0.1), (0.03, -0.1)]]
    if name == "hexagon":
        return [_regular(6)]
    if name == "diamond":
        return [[(0, -0.5), (0.36, 0), (0, 0.5), (-0.36, 0)]]
    if name == "bars":
        return [box(x, -0.42, x + 0.2, 0.42, radius=0.05) for x in (-0.45, -0.1, 0.25)]
    if name == "cross":
        return [box(-0.13, -0.45, 0.13, 0.45), box(-0.45, -0.13, 0.45, 0.13)]
    if name == "moon":
        return [arc(0, 0, 0.48, 0.48, span=(50, 310)) + arc(0.2, 0, 0.38, 0.38, span=(285, 75))]
    return [oval(0, 0, 0.4)]


def glyph_outline(name: str) -> list[list[Point]]:
    """The outlines of a mark in a square of side 1 around the origin."""
    shape, _, tilt = name.partition("-")
    outlines = _upright(shape)
    if not tilt:
        return outlines
    c, s = math.cos(0.6), math.sin(0.6)
    return [[(x * c - y * s, x * s + y * c) for x, y in o] for o in outlines]
