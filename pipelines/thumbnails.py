"""Small pictures of items, from wherever their photos are."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from model.errors import BadImage
from model.pixel_spec import PixelSpec
from model.pixels import to_pixels
from pipelines.page import picture
from serving.item_photo import read_item_photo
from serving.rejected import Rejected

SIDE = 112  # pixels
READERS = 8  # at a time: photos may be far away


def thumbnails(root: Path, locations: Iterable[str]) -> dict[str, str]:
    """A data URI for each photo that can be read; the others are not in it."""
    ordered = sorted(set(locations) - {""})
    with ThreadPoolExecutor(READERS) as pool:
        drawn = [*pool.map(partial(_thumbnail, root), ordered)]
    return {place: uri for place, uri in zip(ordered, drawn, strict=True) if uri is not None}


def _thumbnail(root: Path, location: str) -> str | None:
    try:
        data, _ = read_item_photo(root, location)
        return picture(to_pixels(data, PixelSpec(SIDE)))
    except (Rejected, BadImage):
        return None
