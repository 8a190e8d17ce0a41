"""Patterns printed on a product and the fine texture of its material, as numpy fields."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.floating[Any]]  # float32 in practice
TILE = 512  # pixels a side of a texture tile; product renders are smaller, so no seam shows
EDGE = 0.012  # unit lengths over which a printed edge goes from one colour to the other


def step(distance: Field) -> Field:
    """1 where the signed distance is positive, soft over EDGE."""
    share: Field = np.clip(distance / EDGE + 0.5, 0, 1)
    return share


def _wave(x: Field) -> Field:
    """A triangle wave of period 1 between 0 and 1."""
    wave: Field = np.abs((x % 1.0) * 2 - 1)
    return wave


def stripes(x: Field, y: Field, pitch: float) -> Field:
    return step((_wave(y / pitch) - 0.5) * pitch * 0.5)


def pinstripes(x: Field, y: Field, pitch: float) -> Field:
    return step((_wave(x / pitch * 1.6) - 0.74) * pitch * 0.3)


def checks(x: Field, y: Field, pitch: float) -> Field:
    return 0.5 * (stripes(x, y, pitch * 1.2) + stripes(y, x, pitch * 1.2))


def dots(x: Field, y: Field, pitch: float) -> Field:
    row = np.floor(y / pitch)
    fx = (x / pitch + 0.5 * (row % 2)) % 1.0 - 0.5
    fy = (y / pitch) % 1.0 - 0.5
    return step((0.29 - np.hypot(fx, fy)) * pitch)


def zigzag(x: Field, y: Field, pitch: float) -> Field:
    return stripes(x, y + pitch * 0.55 * _wave(x / pitch * 0.7), pitch * 1.15)


def floral(x: Field, y: Field, pitch: float) -> Field:
    pitch = pitch * 1.35
    row = np.floor(y / pitch)
    fx = (x / pitch + 0.5 * (row % 2)) % 1.0 - 0.5
    fy = (y / pitch) % 1.0 - 0.5
    r = np.hypot(fx, fy)
    petals = 0.30 + 0.11 * np.cos(5 * np.arctan2(fy, fx) + row)
    return step((petals - r) * pitch) * (1 - step((0.10 - r) * pitch))


def blocks(x: Field, y: Field, pitch: float) -> Field:
    return step(y - 0.08 + pitch)


PATTERNS: dict[str, Callable[[Field, Field, float], Field]] = {
    "striped": stripes,
    "pinstriped": pinstripes,
    "checked": checks,
    "dotted": dots,
    "zigzag": zigzag,
    "floral": floral,
    "colour-block": blocks,
}


def _smooth_noise(shape: tuple[int, int], *, seed: int) -> Field:
    """Noise with `shape` cells, stretched smoothly over a tile, in -1..1."""
    cells = np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)
    big = Image.fromarray(cells).resize((TILE, TILE), Image.Resampling.BICUBIC)
    return np.asarray(big, dtype=np.float32)


@lru_cache(maxsize=8)
def tile(name: str) -> Field:
    """A multiplier around 1 for the named texture."""
    y, x = np.mgrid[0:TILE, 0:TILE].astype(np.float32)
    if name == "grain":
        rings = x * 0.10 + 5.0 * _smooth_noise((4, 14), seed=1)
        streaks = _smooth_noise((24, 220), seed=2)
        field = 1 + 0.10 * np.sin(rings) + 0.07 * streaks
    elif name == "weave":
        field = (
            1
            + 0.07 * np.sin(x * 1.25) * np.sin(y * 1.25)
            + 0.05 * _smooth_noise((180, 180), seed=3)
        )
    elif name == "knit":
        ribs = np.abs((x / 9) % 1.0 - 0.5)
        field = 1.08 - 0.30 * np.abs(((y / 9) + ribs * 1.2) % 1.0 - 0.5) - 0.22 * (0.5 - ribs)
    elif name == "leather":
        field = (
            1 + 0.07 * _smooth_noise((110, 110), seed=4) + 0.05 * _smooth_noise((30, 30), seed=5)
        )
    elif name == "brushed":
        field = 1 + 0.05 * _smooth_noise((300, 12), seed=6)
    elif name == "speckle":
        noise = _smooth_noise((170, 170), seed=7)
        field = 1 - 0.22 * np.clip((noise - 0.55) * 6, 0, 1)
    else:
        field = 1 + 0.03 * _smooth_noise((40, 40), seed=8)
    return np.asarray(field, dtype=np.float32)


def _averaged(field: Field, radius: int) -> Field:
    """A box blur along the rows' axis with zeros outside."""
    n = field.shape[0]
    sums = np.zeros((n + 1, field.shape[1]), dtype=np.float32)
    np.cumsum(field, axis=0, out=sums[1:])
    i = np.arange(n)
    upper, lower = np.minimum(i + radius + 1, n), np.maximum(i - radius, 0)
    return (sums[upper] - sums[lower]) / np.float32(2 * radius + 1)


def blurred(field: Field, radius: int) -> Field:
    """Three box blurs each way, in floating point: steps of 8 bits would show as bands."""
    for _ in range(2):
        for _ in range(3):
            field = _averaged(field, radius)
        field = np.ascontiguousarray(field.T)
    return field
