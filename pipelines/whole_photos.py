"""Photos as a shopper sends them: whole, whatever box the feed has for them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import structlog

from model.boxes import EDGES, Boxes, to_square
from model.errors import BadImage
from model.pixels import Box, Photo, Pixels
from pipelines.progress import progress
from pipelines.settings import Settings
from serving.photo_file import read_photo

log = structlog.get_logger()


@dataclass(frozen=True)
class WholePhotos:
    """Photos in the order of their rows; one that cannot be read any more is left out."""

    rows: list[int]  # of the items that were asked for
    pixels: Pixels  # uint8 [n, side, side, 3], letterboxed
    boxes: Boxes  # float32 [n, 4], NaN where the feed has none

    def __len__(self) -> int:
        return len(self.rows)


def read_whole_photos(settings: Settings, items: pa.Table) -> WholePhotos:
    """Raises OSError when the storage fails."""
    spec = settings.pixel_spec
    rows, pixels = [], [np.empty((0, spec.side, spec.side, 3), np.uint8)]
    boxes = [np.empty((0, EDGES), np.float32)]
    for row, photo, box in open_photos(settings, items):
        rows.append(row)
        pixels.append(photo.pixels()[None])
        boxes.append(box[None])
    return WholePhotos(rows, np.concatenate(pixels), np.concatenate(boxes))


def open_photos(settings: Settings, items: pa.Table) -> Iterator[tuple[int, Photo, Boxes]]:
    """Row, photo and true box of each item whose photo is still the one that `ingest` saw.

    The box is float32 [4] in the letterboxed photo, NaN where the feed has none.
    """
    columns = items.select(["image", "image_digest", "box"]).to_pylist()
    with progress("localise", len(columns)) as advance:
        for row, item in enumerate(columns):
            advance()
            try:
                data = read_photo(item["image"], settings.root)
                if hashlib.sha256(data).hexdigest() != item["image_digest"]:
                    raise FileNotFoundError(f"{item['image']} is another file now.")
                photo = Photo(data, settings.pixel_spec)
            except (FileNotFoundError, BadImage) as error:
                log.warning("photo.gone", image=item["image"], error=str(error))
                continue
            box = item["box"]
            none = np.full(EDGES, np.nan, np.float32)
            yield row, photo, to_square(Box(*box), photo.size) if box else none
