"""A photo's bytes, wherever the feed says it is: the one reader of ingest, preprocess, serving."""

from pathlib import Path

from fsspec.core import url_to_fs

from model.pixels import MAX_IMAGE_BYTES


def read_photo(location: str, root: Path) -> bytes:
    """At most one byte more than a photo may have. A path without a scheme is relative to `root`.

    Raises OSError, or what the storage of the URI raises.
    """
    if "://" not in location:
        with (root / location).open("rb") as file:
            return file.read(MAX_IMAGE_BYTES + 1)
    storage, name = url_to_fs(location)
    data: bytes = storage.cat_file(name, end=MAX_IMAGE_BYTES + 1)
    return data
