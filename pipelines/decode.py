"""Decode photos into pixel shards, inside a Beam DoFn.

One element is one shard's worth of photos, so no pixel ever crosses a shuffle and no Beam cost is
paid per photo. What comes out is one small row a photo: channel moments for TF-Transform, or a
dead letter with a reason. A shard that is already there is read, not made again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import fsspec
import numpy as np
import pyarrow as pa

from model.errors import BadImage
from model.pixels import Box, Pixels, PixelSpec, to_pixels
from pipelines.catalogue import pixel_store
from pipelines.content_store import shard_name

DEAD = "dead"
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


class DecodeShard(beam.DoFn):  # type: ignore[misc]
    """Photos -> one shard on disk -> a RecordBatch of STATISTICS; dead letters on `DEAD`."""

    def __init__(self, root: Path, spec: PixelSpec) -> None:
        self._root = root
        self._spec = spec
        self._decoded = beam.metrics.Metrics.counter("decode", "photos")
        self._dead = beam.metrics.Metrics.counter("decode", "dead")

    def process(self, photos: list[Photo]) -> Iterator[object]:
        store = pixel_store(self._root, self._spec)
        name = shard_name([photo.key for photo in photos])
        dead: list[DeadLetter] = []
        if store.path(name).is_file():
            # Only the dead letters are not in the shard: those few photos are looked at again.
            keys, values = store.read(name)
            known = set(keys)
            dead = [
                fault
                for photo in photos
                if photo.key not in known
                and isinstance(fault := decode(photo, self._root, self._spec), DeadLetter)
            ]
        else:
            results = [decode(photo, self._root, self._spec) for photo in photos]
            dead = [result for result in results if isinstance(result, DeadLetter)]
            whole = [result for result in results if not isinstance(result, DeadLetter)]
            gone = {fault.pixel_key for fault in dead}
            keys = [photo.key for photo in photos if photo.key not in gone]
            values = np.stack(whole) if whole else np.empty((0, *store.shape), np.uint8)
            store.write(name, keys, values)
        self._decoded.inc(len(keys))
        self._dead.inc(len(dead))
        yield from (beam.pvalue.TaggedOutput(DEAD, fault) for fault in dead)
        if keys:
            of_key = {photo.key: photo for photo in photos}
            yield statistics([of_key[key] for key in keys], values)


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
    mean, square = values.mean(axis=1), np.square(values).mean(axis=1)
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
