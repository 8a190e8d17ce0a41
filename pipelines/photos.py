"""The photos of a day: from paths to digests and looks, many at a time.

Bytes are read once and not kept. A photo that is not there costs its rows, not the run.
"""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from model.errors import BadImage, BadInput
from model.pixels import REASONS as PIXEL_REASONS
from model.pixels import check_size
from pipelines.duplicates import Look, perceptual_hash
from pipelines.progress import progress
from serving.photo_file import read_photo

REASONS: Mapping[str, str] = {
    "image_missing": "there is no file at this path",
    "image_unreadable": "the storage did not give the file",
    "image_empty": PIXEL_REASONS["image_empty"],
    "image_too_large": PIXEL_REASONS["image_too_large"],
}
READERS = 16  # threads; they wait for storage more than they decode
BATCH = 1024  # photos under way at once


class Photo(NamedTuple):
    digest: str  # SHA-256 of the bytes
    look: Look | None  # None: undecodable; `preprocess` says why


class Fault(NamedTuple):
    reason: str  # of REASONS
    detail: str


def read_photos(paths: Sequence[str], root: Path) -> dict[str, Photo | Fault]:
    """Each distinct path once; a path without a scheme is relative to `root`."""
    distinct = sorted(set(paths))

    found: dict[str, Photo | Fault] = {}
    with ThreadPoolExecutor(READERS) as pool, progress("photos", len(distinct)) as advance:
        for start in range(0, len(distinct), BATCH):
            batch = distinct[start : start + BATCH]
            for path, photo in zip(batch, pool.map(partial(_read, root=root), batch), strict=True):
                found[path] = photo
                advance()
    return found


def _read(path: str, root: Path) -> Photo | Fault:
    try:
        data = read_photo(path, root)
        check_size(len(data))
    except BadImage as error:
        return Fault(error.reason, str(error))
    except FileNotFoundError:
        return Fault("image_missing", f"Expected a photo at {path}. There is no file.")
    except ImportError as error:
        raise BadInput(
            f"Cannot read {path}: {error}. Expected the package for this storage to be installed."
        ) from error
    except Exception as error:  # every storage has its own errors
        return Fault("image_unreadable", f"Cannot read {path}: {type(error).__name__}: {error}.")
    return Photo(hashlib.sha256(data).hexdigest(), perceptual_hash(data))
