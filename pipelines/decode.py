"""One photo to pixels, or to a dead letter with a reason; and what is counted of it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from model.errors import BadImage
from model.pixel_spec import PixelSpec
from model.pixels import Box, Pixels, to_pixels
from serving.photo_file import read_photo

MISSING, CHANGED = "image_missing", "image_changed"  # of the storage, so they may pass
CHANNELS = ("red", "green", "blue")
STATISTICS = pa.schema(
    [(name, pa.list_(pa.float32())) for name in CHANNELS]
    + [(f"{name}_square", pa.list_(pa.float32())) for name in CHANNELS]
    + [("price", pa.list_(pa.float32())), ("priced", pa.list_(pa.float32()))]
    + [("brand", pa.list_(pa.binary())), ("category", pa.list_(pa.binary()))]
)


@dataclass(frozen=True)
class Photo:
    """One photo to decode, and what TF-Transform counts of its item."""

    key: str
    uri: str
    box: Box | None
    category: str
    brand: str
    price: float | None
    digest: str | None = None  # SHA-256 that the bytes must have


@dataclass(frozen=True)
class DeadLetter:
    """A photo that cannot become pixels."""

    pixel_key: str
    uri: str
    reason: str
    detail: str


def decode(photo: Photo, root: Path, spec: PixelSpec) -> Pixels | DeadLetter:
    """The photo's pixels, or why there are none. Raises OSError when the storage fails."""
    try:
        data = read_photo(photo.uri, root)
    except FileNotFoundError as error:
        return DeadLetter(photo.key, photo.uri, MISSING, str(error))
    if photo.digest is not None and hashlib.sha256(data).hexdigest() != photo.digest:
        detail = f"{photo.uri} is another file than `ingest` saw. Import the day again."
        return DeadLetter(photo.key, photo.uri, CHANGED, detail)
    try:
        return to_pixels(data, spec, photo.box)
    except BadImage as error:
        return DeadLetter(photo.key, photo.uri, error.reason, str(error))


def statistics(photos: list[Photo], pixels: Pixels) -> pa.RecordBatch:
    """One row of STATISTICS a photo; means are over the photo's pixels, 0 to 255."""
    values = pixels.reshape(len(photos), -1, 3).astype(np.float32)
    # Sums of float32 lose digits: with 65,536 pixels a photo, the deviation's second.
    mean, square = (part.mean(axis=1, dtype=np.float64) for part in (values, np.square(values)))
    columns: list[list[object]] = [list(mean[:, channel]) for channel in range(3)]
    columns += [list(square[:, channel]) for channel in range(3)]
    columns.append([photo.price or 0.0 for photo in photos])
    columns.append([float(photo.price is not None) for photo in photos])
    columns.append([photo.brand.encode() for photo in photos])
    columns.append([photo.category.encode() for photo in photos])
    arrays = [
        pa.array([[value] for value in column], field.type)
        for column, field in zip(columns, STATISTICS, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=STATISTICS)
