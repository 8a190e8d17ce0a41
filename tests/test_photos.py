"""Reading photos: each distinct path once, and a reason for each that cannot be read."""

import hashlib
from pathlib import Path

import fsspec
import pytest
from tiny_feed import photo

from model.errors import BadInput
from model.pixels import MAX_IMAGE_BYTES
from pipelines.duplicates import perceptual_hash
from pipelines.photos import REASONS, Fault, Photo, read_photos


def of(data: bytes) -> Photo:
    return Photo(hashlib.sha256(data).hexdigest(), perceptual_hash(data))


def test_paths_are_relative_to_the_root_absolute_or_uris(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(photo(1))
    (tmp_path / "b::c.jpg").write_bytes(photo(2))
    with fsspec.open("memory://photos/d.jpg", "wb") as file:
        file.write(photo(3))
    paths = ["a.jpg", str(tmp_path / "b::c.jpg"), "memory://photos/d.jpg", "a.jpg"]
    assert read_photos(paths, tmp_path) == {
        paths[0]: of(photo(1)),
        paths[1]: of(photo(2)),
        paths[2]: of(photo(3)),
    }


def test_bytes_that_are_no_image_have_a_digest_and_no_look(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"words")
    assert read_photos(["a.jpg"], tmp_path) == {
        "a.jpg": Photo(hashlib.sha256(b"words").hexdigest(), None)
    }


def test_every_fault_has_its_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(MAX_IMAGE_BYTES + 1)
    paths = ["gone.jpg", "memory://gone.jpg", "empty.jpg", "large.jpg", "folder.jpg"]
    paths += ["odd://a.jpg", "nul\0.jpg", f"{'long' * 100}.jpg"]
    found = read_photos(paths, tmp_path)
    reasons = [fault.reason for fault in map(found.__getitem__, paths) if isinstance(fault, Fault)]
    assert reasons == [
        "image_missing",
        "image_missing",
        "image_empty",
        "image_too_large",
        "image_unreadable",
        "image_unreadable",
        "image_unreadable",
        "image_unreadable",
    ]
    assert set(reasons) == set(REASONS)
    assert found["gone.jpg"] == Fault(
        "image_missing", "Expected a photo at gone.jpg. There is no file."
    )


def test_a_storage_without_its_package_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Expected the package for this storage"):
        read_photos(["oci://bucket@namespace/a.jpg"], tmp_path)
