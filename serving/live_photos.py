"""The photos of live items: files named by what is in them.

    <folder>/ab/abcd...    the bytes whose SHA-256 is abcd...

A photo is written beside its place, brought to the disk and renamed: under its name it is whole or
not there, also after a power cut.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from model.errors import BadInput, Damaged
from serving.whole_file import sync, write_atomically

PHOTOS = "photos"  # the folder of this, below that of the store
ABANDONED_SECONDS = 3600  # a file that is still being written is younger
DIGITS = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class LivePhotos:
    """Used by several threads and processes at once."""

    folder: Path

    def path(self, digest: str) -> Path:
        """Raises BadInput for what is no SHA-256, so that no name leaves the folder."""
        if len(digest) != 64 or not DIGITS.issuperset(digest):
            raise BadInput(f"Expected the SHA-256 of a photo in hex. Received: {digest[:80]!r}.")
        return self.folder / digest[:2] / digest

    def keep(self, data: bytes) -> str:
        """The digest of `data`, once the file is on the disk. Raises OSError where it cannot be."""
        digest = hashlib.sha256(data).hexdigest()
        try:
            self._keep(self.path(digest), data)
        except OSError as error:
            raise OSError(
                f"Cannot keep a photo of {len(data)} bytes in {self.folder}: {error.strerror}. "
                f"Nothing was acknowledged. See to its disk or its rights, and try again."
            ) from error
        return digest

    def _keep(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _holds(path, data):
            write_atomically(path, data)
        # Also when it was there: whoever wrote it may not have come so far.
        for folder in (path.parent, self.folder):
            sync(folder)

    def has(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def read(self, digest: str) -> bytes:
        """Raises Damaged when the bytes are others, or gone."""
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise Damaged(
                f"A photo of the live store is gone. Expected it at {self.path(digest)}. "
                f"Send the item with its photo again."
            ) from None
        found = hashlib.sha256(data).hexdigest()
        if found != digest:
            raise Damaged(
                f"A photo of the live store is damaged: {self.path(digest)}. Expected sha256 "
                f"{digest[:12]}. Found: {found[:12]}. Send the item with its photo again."
            )
        return data

    def drop(self, digest: str) -> None:
        self.path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """Of every photo that is there; what a killed writer left behind is removed."""
        for path in self.folder.glob("??/*"):
            if path.name.startswith("."):
                _drop_abandoned(path)
            else:
                yield path.name


def photo_path(digest: str) -> str:
    """Where a photo lies, relative to the folder of the store."""
    return f"{PHOTOS}/{digest[:2]}/{digest}"


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except FileNotFoundError:
        return False


def _drop_abandoned(path: Path) -> None:
    with suppress(FileNotFoundError):  # its writer has just renamed it
        if path.stat().st_mtime < time.time() - ABANDONED_SECONDS:
            path.unlink()
