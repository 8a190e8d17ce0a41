"""One photo to pixels, or to a dead letter with a reason; and what is counted of it."""

from dataclasses import dataclass
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa

from model.errors import BadImage
from model.pixels import Box, Pixels, PixelSpec, to_pixels

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


@dataclass(frozen=True)
class DeadLetter:
    """A photo that cannot become pixels."""

    pixel_key: str
    uri: str
    reason: str
    detail: str


def decode(photo: Photo, root: Path, spec: PixelSpec) -> Pixels | DeadLetter:
    """The photo's pixels, or why there are none."""
    try:
        with fsspec.open(photo_path(photo.uri, root), "rb") as file:
            return to_pixels(file.read(), spec, photo.box)
    except BadImage as error:
        return DeadLetter(photo.key, photo.uri, error.reason, str(error))
    except FileNotFoundError as error:
        return DeadLetter(photo.key, photo.uri, "image_missing", str(error))


def photo_path(uri: str, root: Path) -> str:
    """Feeds name photos by URI, by absolute path, or relative to the root."""
    return uri if "://" in uri else str(root / uri)


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
