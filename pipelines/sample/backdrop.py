"""Surfaces that wild photos are taken on."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pipelines.sample.texture import TILE, Field, tile

Size = tuple[int, int]
Pixels = Field


def _colour(rng: np.random.Generator, light: tuple[float, float], saturation: float) -> Pixels:
    rgb = colorsys.hls_to_rgb(float(rng.uniform()), float(rng.uniform(*light)), saturation)
    return np.array(rgb, dtype=np.float32)[:, None, None]


def _grid(size: Size) -> tuple[Field, Field]:
    x = np.arange(size[0], dtype=np.float32)
    y = np.arange(size[1], dtype=np.float32)
    return np.meshgrid(x, y)


def _piece(name: str, size: Size, rng: np.random.Generator) -> Field:
    """A random piece of a texture tile."""
    left, top = int(rng.integers(TILE - size[0])), int(rng.integers(TILE - size[1]))
    return tile(name)[top : top + size[1], left : left + size[0]]


def picture(rgb: Pixels) -> Image.Image:
    """An image from planes [3, h, w] in 0..1."""
    pixels = (np.clip(rgb, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def planks(size: Size, rng: np.random.Generator) -> Image.Image:
    """A wooden floor."""
    x, _ = _grid(size)
    width = float(rng.uniform(28, 60))
    board = np.floor(x / width)
    tone = 0.88 + 0.12 * np.sin(board * 12.9)
    gap = np.where((x % width) < 1.6, 0.55, 1.0)
    wood = np.array([[[0.62]], [[0.45]], [[0.30]]], dtype=np.float32) * np.float32(
        rng.uniform(0.7, 1.3)
    )
    grain = 1 + 1.6 * (_piece("grain", size, rng) - 1)
    return picture(wood * (tone * gap * grain))


def tiles(size: Size, rng: np.random.Generator) -> Image.Image:
    """Two-coloured tiles with joints."""
    x, y = _grid(size)
    side = float(rng.uniform(22, 48))
    odd = (np.floor(x / side) + np.floor(y / side)) % 2
    one, two = _colour(rng, (0.6, 0.9), 0.3), _colour(rng, (0.3, 0.8), 0.4)
    joint = np.where(((x % side) < 1.5) | ((y % side) < 1.5), 0.75, 1.0)
    return picture((one + (two - one) * odd) * joint)


def rug(size: Size, rng: np.random.Generator) -> Image.Image:
    """A striped, woven rug."""
    x, y = _grid(size)
    angle = float(rng.uniform(0, 3.1))
    band = (x * np.cos(angle) + y * np.sin(angle)) / float(rng.uniform(14, 34))
    one, two = _colour(rng, (0.35, 0.75), 0.45), _colour(rng, (0.4, 0.85), 0.35)
    share = (np.sin(band * 3.14) > float(rng.uniform(-0.3, 0.6))).astype(np.float32)
    weave = 1 + 2.2 * (_piece("weave", size, rng) - 1)
    return picture((one + (two - one) * share) * weave)


def bricks(size: Size, rng: np.random.Generator) -> Image.Image:
    """A brick wall."""
    x, y = _grid(size)
    high = float(rng.uniform(13, 22))
    row = np.floor(y / high)
    shifted = x + (row % 2) * high * 1.2
    tone = 0.85 + 0.15 * np.sin(row * 7.1 + np.floor(shifted / (high * 2.4)) * 3.7)
    joint = ((y % high) < 2) | ((shifted % (high * 2.4)) < 2)
    brick = np.array([[[0.68]], [[0.38]], [[0.30]]], dtype=np.float32) * np.float32(
        rng.uniform(0.75, 1.25)
    )
    rough = _piece("leather", size, rng)
    rgb = brick * (tone * rough)
    return picture(np.where(joint, np.float32(0.74), rgb))


def room(size: Size, rng: np.random.Generator) -> Image.Image:
    """A wall and a table top, with the light of a window on the wall."""
    _, y = _grid(size)
    edge = size[1] * float(rng.uniform(0.45, 0.75))
    wall, table = _colour(rng, (0.55, 0.85), 0.28), _colour(rng, (0.3, 0.65), 0.35)
    rough = _piece("plain", size, rng) * _piece("grain", size, rng)
    rgb = np.where((y < edge), wall, table * rough)
    frame = picture(rgb)
    pen = ImageDraw.Draw(frame, "RGBA")
    left = int(rng.integers(0, size[0]))
    for i in range(2):
        a = left + i * 34
        corners = [(a, 5), (a + 28, 5), (a + 8, int(edge) - 6), (a - 20, int(edge) - 6)]
        pen.polygon(corners, fill=(255, 250, 230, 60))
    return frame


def lights(size: Size, rng: np.random.Generator) -> Image.Image:
    """A background far out of focus."""
    frame = picture(np.broadcast_to(_colour(rng, (0.2, 0.6), 0.35), (3, size[1], size[0])))
    pen = ImageDraw.Draw(frame, "RGBA")
    for _ in range(16):
        rgb = tuple(int(v * 255) for v in _colour(rng, (0.5, 0.9), 0.7).ravel())
        x, y = float(rng.uniform(0, size[0])), float(rng.uniform(0, size[1]))
        pen.circle((x, y), float(rng.uniform(6, 26)), fill=(*rgb, int(rng.integers(60, 170))))
    return frame.filter(ImageFilter.GaussianBlur(3))


BACKDROPS: dict[str, Callable[[Size, np.random.Generator], Image.Image]] = {
    "planks": planks,
    "tiles": tiles,
    "rug": rug,
    "bricks": bricks,
    "room": room,
    "lights": lights,
}
