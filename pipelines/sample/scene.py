"""A cut-out product set into a photograph: a studio, or somebody's room."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from pipelines.sample.backdrop import BACKDROPS, picture
from pipelines.sample.leaves import LEAVES
from pipelines.sample.palette import choose
from pipelines.sample.render import render, rotate
from pipelines.sample.sketch import Sketch
from pipelines.sample.texture import Field

Box = tuple[int, int, int, int]  # x, y, width, height in pixels
FILL = 0.80  # of the frame's side that a product takes in a studio
PROPS = 16  # things that lie about in wild photos, drawn once in each process
PROP_SIDE = 110  # pixels
SHADOW = (52, 50, 60)
REACH = 16  # pixels beyond the product that its blurred shadow can touch
SOLID = 40  # alpha from which a pixel belongs to the product


@dataclass(frozen=True, slots=True)
class Photo:
    """A finished picture, how hard to compress it, and where the product is."""

    image: Image.Image
    quality: int
    box: Box | None = None


def _fitted(cut: Image.Image, width: float, height: float) -> Image.Image:
    scale = min(width / cut.width, height / cut.height)
    size = (max(round(cut.width * scale), 1), max(round(cut.height * scale), 1))
    return cut.resize(size, Image.Resampling.BICUBIC)


def _dark(alpha: Image.Image, opacity: float, blur: float) -> Image.Image:
    """A soft mask of a shadow."""
    soft = alpha.filter(ImageFilter.GaussianBlur(blur))
    return soft.point(lambda v: int(v * opacity))


def _cast(frame: Image.Image, cut: Image.Image, at: tuple[int, int], *, stands: bool) -> None:
    """Draw the product's shadow: pooled under its foot, or close behind when it lies."""
    alpha = cut.getchannel("A")
    if not stands:
        veil = Image.new("L", (cut.width + 2 * REACH, cut.height + 2 * REACH))
        veil.paste(alpha, (REACH, REACH))
        frame.paste(SHADOW, (at[0] + 3 - REACH, at[1] + 5 - REACH), _dark(veil, 0.34, 4))
        return
    # Only a strip around the foot is shaded, so only that is blurred.
    depth = max(round(cut.height * 0.10), 8)
    veil = Image.new("L", (cut.width + 2 * REACH, depth + 2 * REACH))
    pool = veil.copy()
    veil.paste(alpha.resize((cut.width, depth)), (REACH + 3, REACH))
    foot = alpha.crop((0, cut.height - max(cut.height // 12, 3), cut.width, cut.height))
    pool.paste(foot.resize((cut.width, 7)), (REACH + 1, REACH + round(depth * 0.62) - 4))
    shade = ImageChops.lighter(_dark(veil, 0.36, 5), _dark(pool, 0.62, 2.0))
    top = at[1] + cut.height - round(depth * 0.62)
    frame.paste(SHADOW, (at[0] - REACH, top - REACH), shade)


def _studio(size: tuple[int, int], coloured: bool, rng: np.random.Generator) -> Image.Image:
    """A wall running softly into a floor, white or in a pale colour, lit from the upper left."""
    w, h = size
    hue = float(rng.uniform())
    light, saturation = (0.86, 0.42) if coloured else (float(rng.uniform(0.945, 0.99)), 0.20)
    tint = np.array(colorsys.hls_to_rgb(hue, light, saturation), dtype=np.float32)[:, None, None]
    y, x = np.linspace(0, 1, h, dtype=np.float32), np.linspace(0, 1, w, dtype=np.float32)
    horizon = float(rng.uniform(0.66, 0.78))
    floor = 1 / (1 + np.exp(-(y - horizon) * 16))
    glow = 1.03 - 0.13 * ((x[None] - 0.42) ** 2 + (y[:, None] - 0.40) ** 2)
    shade = glow - 0.045 * floor[:, None]
    return picture(tint * shade)


def _posed(
    cut: Image.Image, view: str, *, fit: tuple[float, float], stands: bool, rng: np.random.Generator
) -> Image.Image:
    """The product as this view shows it, as large as `fit` lets it be."""
    tilt = 0.0 if stands else float(rng.normal(0, 2.0))
    if view == "mirrored":
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if view == "angled":
        tilt = float(rng.choice([-1, 1]) * rng.uniform(2.0, 4.0) * (1 if stands else 3))
        # Turned away about the vertical, a product looks narrower.
        cut = cut.resize((round(cut.width * float(rng.uniform(0.84, 0.93))), cut.height))
    return rotate(_fitted(cut, *fit), tilt)


def studio_photo(
    cut: Image.Image, view: str, size: tuple[int, int], *, stands: bool, rng: np.random.Generator
) -> Photo:
    """A catalogue photo of the named view."""
    frame = _studio(size, view == "backdrop", rng)
    fill = FILL * float(rng.uniform(0.92, 1.06)) * (1.55 if view == "detail" else 1.0)
    fit = (size[0] * fill, size[1] * fill)
    posed = _posed(cut, view, fit=fit, stands=stands, rng=rng)
    if view == "detail":
        x = round(-float(rng.uniform(0.25, 0.75)) * (posed.width - size[0]))
        y = round(-float(rng.uniform(0.25, 0.75)) * (posed.height - size[1]))
    else:
        x = (size[0] - posed.width) // 2
        y = round((size[1] - posed.height) * (0.60 if stands else 0.5))
        _cast(frame, posed, (x, y), stands=stands)
    frame.paste(posed, (x, y), posed)
    return Photo(frame, quality=int(rng.integers(84, 94)))


@lru_cache(maxsize=1)
def _props() -> list[Image.Image]:
    """Other products to litter wild photos with; the same in every process."""
    out = []
    for i in range(PROPS):
        rng = np.random.default_rng(i)
        leaf = LEAVES[(i * 23) % len(LEAVES)]
        style, _ = choose(leaf.family, "ring", rng)
        sketch = Sketch(rng)
        leaf.draw(sketch)
        out.append(_fitted(render(sketch, style), PROP_SIDE, PROP_SIDE))
    return out


def _litter(frame: Image.Image, count: int, *, at_edge: bool, rng: np.random.Generator) -> None:
    for _ in range(count):
        prop = _props()[int(rng.integers(PROPS))]
        side = min(frame.size) * float(rng.uniform(0.22, 0.48))
        prop = rotate(_fitted(prop, side, side), float(rng.uniform(-50, 50)))
        x, y = (int(rng.uniform(-0.12, 0.95) * n) for n in frame.size)
        if at_edge:
            x = int(rng.choice([-prop.width // 2, frame.width - prop.width // 2]))
        _cast(frame, prop, (x, y), stands=False)
        frame.paste(prop, (x, y), prop)


def _snapped(frame: Image.Image, rng: np.random.Generator) -> Image.Image:
    """What a hurried phone does to a picture: uneven light, colour cast, noise, blur."""
    w, h = frame.size
    pixels: Field = np.asarray(frame).transpose(2, 0, 1) / np.float32(255)
    gx, gy = rng.uniform(-0.3, 0.3, 2)
    ramp_x = np.linspace(-gx, gx, w, dtype=np.float32)[None, :]
    ramp_y = np.linspace(-gy, gy, h, dtype=np.float32)[:, None]
    cast = rng.uniform(0.84, 1.12, 3).astype(np.float32) * np.float32(rng.uniform(0.72, 1.12))
    pixels = pixels * (1 + ramp_x + ramp_y) * cast[:, None, None]
    if rng.random() < 0.6:
        grain = rng.standard_normal((h, w), dtype=np.float32)
        pixels = pixels + grain * np.float32(rng.uniform(0.008, 0.042))
    out = picture(pixels)
    if rng.random() < 0.55:
        out = out.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.5))))
    return out


def _clipped(cut: Image.Image, at: tuple[int, int], size: tuple[int, int]) -> Box:
    """The visible part of the product's bounding box."""
    solid = cut.getchannel("A").point(lambda v: 255 if v >= SOLID else 0)
    x0, y0, x1, y1 = solid.getbbox() or (0, 0, cut.width, cut.height)
    left, top = max(at[0] + x0, 0), max(at[1] + y0, 0)
    return left, top, min(at[0] + x1, size[0]) - left, min(at[1] + y1, size[1]) - top


def wild_photo(cut: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Photo:
    """A photo taken at home: texture, clutter, a tilted and perhaps cropped product."""
    names = list(BACKDROPS)
    frame = BACKDROPS[names[int(rng.integers(len(names)))]](size, rng)
    _litter(frame, int(rng.integers(2, 6)), at_edge=False, rng=rng)
    if rng.random() < 0.3:
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    share = float(rng.uniform(0.52, 0.86))
    near = _fitted(cut, size[0], size[1])
    posed = _fitted(rotate(near, float(rng.normal(0, 12))), size[0] * share, size[1] * share)
    slack = 0.20 if rng.random() < 0.3 else 0.0
    at = (
        int(rng.uniform(-slack * posed.width, size[0] - (1 - slack) * posed.width)),
        int(rng.uniform(-slack * posed.height, size[1] - (1 - slack) * posed.height)),
    )
    _cast(frame, posed, at, stands=False)
    frame.paste(posed, at, posed)
    if rng.random() < 0.3:
        _litter(frame, 1, at_edge=True, rng=rng)
    box = _clipped(posed, at, size)
    return Photo(_snapped(frame, rng), quality=int(rng.integers(24, 62)), box=box)


def copied_photo(image: Image.Image, view: str, rng: np.random.Generator) -> Photo:
    """Another shop's copy of a photo: compressed again, perhaps cropped a little."""
    if view == "cropped":
        w, h = image.size
        dx, dy = int(w * rng.uniform(0.01, 0.04)), int(h * rng.uniform(0.01, 0.04))
        image = image.crop((dx, dy, w - dx, h - dy))
    return Photo(image, quality=int(rng.integers(58, 80)))
