"""Photos of a product in disorder, made of studio shots: their boxes are exact and cost nothing.

A product is cut out of its plain ground, turned, scaled and pasted among other products on a piece
of another photo (Dwibedi et al. 2017, arXiv 1708.01642), then lit unevenly, blurred and letterboxed
as a photo is. Every draw comes from the generator that the caller passes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from model.augment import Augmentation, light
from model.boxes import Boxes
from model.ground import smooth_ground
from model.pixels import PADDING, Pixels

MIN_AREA, MAX_AREA = 0.04, 0.75  # of the square, of what is left without the ground
SPECK = 2  # pixels of a row or column; fewer are noise or the rim of a shadow
SOLID = 128  # alpha from which a pixel is the product
MIN_SIDE = 4  # pixels of a ground's piece


@dataclass(frozen=True)
class Disorder:
    """Ranges of what is drawn, evenly, for each composition."""

    ratio: tuple[float, float] = (0.7, 1.43)  # width over height of the photo
    share: tuple[float, float] = (0.45, 0.95)  # of the photo that the product takes
    turn_degrees: float = 25.0
    outside: float = 0.2  # share of the product that may be beyond the photo's edge
    litter: int = 6  # other products, at most
    litter_share: tuple[float, float] = (0.15, 0.45)  # of the photo that each takes
    over: float = 0.3  # chance that one more lies over the product, at the photo's edge
    blur: float = 0.5  # chance of it


def cut_out(photo: Pixels) -> Image.Image | None:
    """The product of a studio shot uint8 [s, s, 3] as RGBA, cropped to itself; None without one.

    There is none where the ground is not plain, or the product reaches the photo's edge.
    """
    ground = smooth_ground(photo)
    product = ~ground
    if not MIN_AREA < product.mean() < MAX_AREA:
        return None
    columns, rows = (np.flatnonzero(product.sum(axis=axis) >= SPECK) for axis in (0, 1))
    last = len(photo) - 1
    if not len(columns) or not len(rows):
        return None
    left, right, top, bottom = columns[0], columns[-1], rows[0], rows[-1]
    if min(left, top) == 0 or max(right, bottom) == last:
        return None
    # Without its rim, which has some of the ground's colour: pasted, it would give the box away.
    alpha = Image.fromarray(product * np.uint8(255)).filter(ImageFilter.MinFilter(3))
    cut = Image.fromarray(photo).convert("RGBA")
    cut.putalpha(alpha)
    return cut.crop((int(left), int(top), int(right) + 1, int(bottom) + 1))


def compose(
    cuts: Sequence[Image.Image],
    product: int,
    grounds: Pixels,
    rng: np.random.Generator,
    what: Disorder,
) -> tuple[Pixels, Boxes]:
    """Product number `product` of `cuts` in a photo uint8 [s, s, 3], and its box float32 [4].

    `grounds`: photos uint8 [n, s, s, 3] whose pieces lie behind.
    """
    side = grounds.shape[1]
    width, height = _size(side, rng, what)
    photo = _ground(grounds[rng.integers(len(grounds))], (width, height), rng)
    for _ in range(int(rng.integers(what.litter + 1))):
        _paste(photo, _posed(_any(cuts, rng), photo.size, what.litter_share, 180, rng), 0.4, rng)
    posed = _posed(cuts[product], photo.size, what.share, what.turn_degrees, rng)
    box = _paste(photo, posed, what.outside if rng.random() < 0.4 else 0.0, rng)
    if rng.random() < what.over:
        litter = _posed(_any(cuts, rng), photo.size, what.litter_share, 180, rng)
        edge = -litter.width // 2 if rng.random() < 0.5 else photo.width - litter.width // 2
        photo.paste(litter, (edge, int(rng.integers(-litter.height, photo.height))), litter)
    if rng.random() < what.blur:
        photo = photo.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 0.8))))
    square = Image.new("RGB", (side, side), PADDING)
    left, top = (side - width) // 2, (side - height) // 2
    lit = light(np.asarray(photo)[None], rng, Augmentation())[0]
    square.paste(Image.fromarray(lit), (left, top))
    return np.asarray(square), np.asarray(box + np.array([left, top] * 2), np.float32) / side


def replace(
    cut: Image.Image, photo: Pixels, box: Boxes, rng: np.random.Generator
) -> tuple[Pixels, Boxes]:
    """Another product where `box` [4] is in `photo`, over the one that is there, and its box.

    So the surroundings are those of real photos.
    """
    side = len(photo)
    left, top, right, bottom = box * side
    cut = _turned(cut, 25.0, rng)
    scale = max((right - left) / cut.width, (bottom - top) / cut.height) * rng.uniform(0.9, 1.1)
    scale = min(scale, side / max(cut.size))
    size = (max(1, round(cut.width * scale)), max(1, round(cut.height * scale)))
    cut = cut.resize(size, Image.Resampling.BILINEAR)
    x, y = round((left + right - size[0]) / 2), round((top + bottom - size[1]) / 2)
    scene = Image.fromarray(photo)
    scene.paste(cut, (x, y), cut)
    return np.asarray(scene), np.asarray(_seen(cut, (x, y), scene.size) / side, np.float32)


def _size(side: int, rng: np.random.Generator, what: Disorder) -> tuple[int, int]:
    """Width and height of a photo whose longer side is `side`."""
    ratio = float(np.exp(rng.uniform(*np.log(what.ratio))))
    return round(side * min(ratio, 1)), round(side * min(1 / ratio, 1))


def _ground(photo: Pixels, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A piece of `photo`, of a quarter of its side to all of it, stretched to `size`."""
    side = len(photo)
    wide, high = (int(rng.integers(max(side // 4, MIN_SIDE), side + 1)) for _ in range(2))
    left, top = int(rng.integers(side - wide + 1)), int(rng.integers(side - high + 1))
    piece = Image.fromarray(photo[top : top + high, left : left + wide])
    if rng.random() < 0.5:
        piece = piece.transpose(Image.Transpose.ROTATE_90)
    return piece.resize(size, Image.Resampling.BILINEAR)


def _any(cuts: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    return cuts[int(rng.integers(len(cuts)))]


def _posed(
    cut: Image.Image,
    size: tuple[int, int],
    share: tuple[float, float],
    degrees: float,
    rng: np.random.Generator,
) -> Image.Image:
    """Turned, and as large as a drawn share of `size` lets it be."""
    cut = _turned(cut, degrees, rng)
    scale = float(rng.uniform(*share)) * min(size[0] / cut.width, size[1] / cut.height)
    fitted = (max(1, round(cut.width * scale)), max(1, round(cut.height * scale)))
    return cut.resize(fitted, Image.Resampling.BILINEAR)


def _turned(cut: Image.Image, degrees: float, rng: np.random.Generator) -> Image.Image:
    """Mirrored perhaps, and turned by at most `degrees`."""
    if rng.random() < 0.5:
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    cut = cut.rotate(float(rng.uniform(-degrees, degrees)), Image.Resampling.BILINEAR, expand=True)
    return cut.crop(cut.getchannel("A").getbbox())


def _paste(
    photo: Image.Image, cut: Image.Image, outside: float, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Paste in place, up to a share `outside` beyond the edges; left, top, right, bottom seen."""
    x, y = (
        round(rng.uniform(-outside * length, room - (1 - outside) * length))
        for length, room in zip(cut.size, photo.size, strict=True)
    )
    photo.paste(cut, (x, y), cut)
    return _seen(cut, (x, y), photo.size)


def _seen(cut: Image.Image, at: tuple[int, int], size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Left, top, right, bottom of what is pasted there, within a photo of `size`."""
    solid = cut.getchannel("A").point(lambda alpha: 255 if alpha >= SOLID else 0)
    found = np.array(solid.getbbox() or (0, 0, *cut.size)) + np.array([*at, *at])
    return np.asarray(np.clip(found, 0, [*size] * 2), np.int64)
