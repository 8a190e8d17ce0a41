"""Colours, materials and patterns, chosen for a product whatever its leaf."""

from __future__ import annotations

import colorsys

import numpy as np

from pipelines.sample.surface import Colour, Style

# sRGB, 0..255. Neutrals come at the end so that accents find contrast.
COLOURS = {
    "teal": (38, 132, 134),
    "navy": (44, 62, 104),
    "coral": (236, 118, 98),
    "mustard": (222, 170, 58),
    "sage": (144, 168, 134),
    "terracotta": (198, 100, 68),
    "blush": (232, 178, 174),
    "sky": (122, 178, 216),
    "plum": (116, 58, 98),
    "forest": (48, 98, 70),
    "lavender": (168, 152, 208),
    "crimson": (184, 46, 58),
    "olive": (124, 124, 62),
    "cobalt": (46, 88, 188),
    "mint": (156, 212, 188),
    "peach": (246, 190, 150),
    "raspberry": (204, 62, 112),
    "lemon": (240, 214, 98),
    "cocoa": (112, 76, 58),
    "slate": (104, 118, 134),
    "ivory": (238, 230, 214),
    "sand": (212, 190, 158),
    "charcoal": (66, 68, 74),
    "white": (242, 242, 242),
}
TRIMS: tuple[Colour, ...] = (
    (0.20, 0.20, 0.22),
    (0.93, 0.91, 0.87),
    (0.66, 0.50, 0.36),
    (0.52, 0.54, 0.57),
    (0.16, 0.20, 0.30),
)
METALS: dict[str, Colour] = {
    "silver": (0.76, 0.77, 0.79),
    "brass": (0.82, 0.66, 0.40),
    "copper": (0.80, 0.55, 0.44),
    "gunmetal": (0.30, 0.30, 0.32),
}
METAL_SHARES = (0.5, 0.2, 0.1, 0.2)
WOODS: dict[str, Colour] = {
    "honey": (0.80, 0.62, 0.42),
    "chestnut": (0.62, 0.42, 0.27),
    "espresso": (0.42, 0.28, 0.20),
    "blond": (0.87, 0.76, 0.60),
}
BARE = 0.5  # share of wooden and metal products that keep their material's own colour
# Words for a finish, by the family of materials a leaf is made of.
MATERIALS: dict[str, dict[str, tuple[str, ...]]] = {
    "cloth": {
        "matte": ("cotton", "jersey"),
        "woven": ("linen", "canvas", "tweed"),
        "knitted": ("wool", "cashmere"),
        "velvet": ("velvet", "corduroy"),
        "satin": ("satin", "viscose"),
    },
    "hide": {
        "leather": ("leather", "grained leather"),
        "matte": ("suede", "nubuck"),
        "woven": ("canvas",),
        "glossy": ("patent", "vinyl"),
        "satin": ("nylon",),
    },
    "ware": {
        "glossy": ("ceramic", "porcelain", "enamel"),
        "speckled": ("stoneware",),
        "matte": ("earthenware", "bisque"),
        "metallic": ("steel", "tinplate"),
        "satin": ("melamine",),
    },
    "clear": {
        "glass": ("glass", "crystal"),
        "glossy": ("ceramic", "porcelain"),
        "metallic": ("steel", "pewter"),
        "speckled": ("stoneware",),
        "satin": ("acrylic",),
    },
    "board": {
        "wood": ("oak", "walnut", "ash"),
        "matte": ("painted",),
        "satin": ("lacquered",),
        "metallic": ("aluminium", "steel"),
        "glossy": ("moulded",),
    },
    "shell": {
        "satin": ("plastic", "rubber"),
        "matte": ("soft-touch",),
        "glossy": ("lacquered", "acrylic"),
        "metallic": ("aluminium", "steel"),
        "leather": ("leatherette",),
    },
}
PATTERN_SHARES = {
    "plain": 0.40,
    "striped": 0.13,
    "pinstriped": 0.06,
    "checked": 0.09,
    "dotted": 0.10,
    "zigzag": 0.07,
    "floral": 0.09,
    "colour-block": 0.06,
}
MIN_CONTRAST = 0.55  # between primary and accent, summed over the channels


def _shifted(rgb: tuple[int, int, int], rng: np.random.Generator) -> Colour:
    """A colour a little off its name, as dyes are."""
    h, lightness, s = colorsys.rgb_to_hls(*(v / 255 for v in rgb))
    h = (h + rng.normal(0, 0.012)) % 1.0
    lightness = float(np.clip(lightness + rng.normal(0, 0.035), 0.08, 0.96))
    return colorsys.hls_to_rgb(h, lightness, float(np.clip(s + rng.normal(0, 0.05), 0, 1)))


def _contrasting(colour: Colour, options: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    far = [
        o for o in options if sum(abs(a - b) for a, b in zip(o, colour, strict=True)) > MIN_CONTRAST
    ]
    pool = far or list(options)
    return pool[int(rng.integers(len(pool)))]


def choose(family: str, glyph: str, rng: np.random.Generator) -> tuple[Style, dict[str, str]]:
    """A style and the words for it: colour, material, pattern."""
    names = list(COLOURS)
    name = names[int(rng.integers(len(names)))]
    shades = tuple(_shifted(COLOURS[n], rng) for n in names)
    primary = shades[names.index(name)]
    metal = list(METALS)[int(rng.choice(len(METALS), p=METAL_SHARES))]
    wood = list(WOODS)[int(rng.integers(len(WOODS)))]
    finishes = list(MATERIALS[family])
    finish = finishes[int(rng.integers(len(finishes)))]
    words = MATERIALS[family][finish]
    pattern = str(rng.choice(list(PATTERN_SHARES), p=list(PATTERN_SHARES.values())))
    bare = {"wood": (wood, WOODS), "metallic": (metal, METALS)}
    if finish in bare and rng.random() < BARE:
        name, colours = bare[finish]
        primary = colours[name]
    style = Style(
        primary=primary,
        accent=_contrasting(primary, shades, rng),
        trim=_contrasting(primary, TRIMS, rng),
        metal=METALS[metal],
        wood=WOODS[wood],
        finish=finish,
        pattern=pattern,
        pitch=float(rng.uniform(0.075, 0.15)),
        angle=float(rng.choice([0, 0, 0, 90, 45, -45])),
        glyph=glyph,
        stretch=(float(rng.uniform(0.90, 1.0)), float(rng.uniform(0.90, 1.0))),
        offset=(int(rng.integers(180)), int(rng.integers(180))),
    )
    material = words[int(rng.integers(len(words)))]
    return style, {"colour": name, "material": material, "pattern": pattern}
