"""Draw a product and write its photos; runs in worker processes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pipelines.sample.encode import encode
from pipelines.sample.plan import Product, Shot, rng_for
from pipelines.sample.render import render
from pipelines.sample.scene import Box, Photo, copied_photo, studio_photo, wild_photo
from pipelines.sample.sketch import Sketch


@dataclass(frozen=True, slots=True)
class Job:
    """A product with the copies that other sellers made of its first photo."""

    folder: Path
    seed: int
    product: Product
    copies: tuple[Product, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """Where the product is in each wild photo, by item id, and how many files came to be."""

    boxes: dict[str, Box]
    images: int


def _drawn(product: Product, seed: int) -> Image.Image:
    sketch = Sketch(rng_for(seed, "shape", product.product_id))
    product.leaf.draw(sketch)
    return render(sketch, product.style)


def _photo(cut: Image.Image, product: Product, shot: Shot, seed: int) -> Photo:
    # The path is part of the name: a photo taken again on another day is another photo.
    rng = rng_for(seed, "photo", shot.image)
    if shot.view == "wild":
        return wild_photo(cut, shot.size, rng)
    return studio_photo(cut, shot.view, shot.size, stands=product.leaf.stands, rng=rng)


def _write(path: Path, data: bytes | None) -> int:
    if data is None:
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return 1


def _copy(first: bytes, copy: Product, seed: int) -> bytes | None:
    shot = copy.shots[0]
    if shot.view == "exact":
        return first
    with Image.open(io.BytesIO(first)) as image:
        photo = copied_photo(image.convert("RGB"), shot.view, rng_for(seed, "photo", shot.image))
    return encode(photo.image, shot.form, photo.quality)


def develop(job: Job) -> Written:
    """Write all photos of a product and its copies."""
    cut = _drawn(job.product, job.seed)
    boxes: dict[str, Box] = {}
    images = 0
    for i, shot in enumerate(job.product.shots):
        photo = _photo(cut, job.product, shot, job.seed)
        data = encode(photo.image, shot.form, photo.quality)
        images += _write(job.folder / shot.image, data)
        if photo.box:
            boxes[shot.item_id] = photo.box
        if i == 0 and data:
            for copy in job.copies:
                images += _write(job.folder / copy.shots[0].image, _copy(data, copy, job.seed))
    return Written(boxes, images)
