"""One photo to pixels or a dead letter, and a shard that heals when its photo is back."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from apache_beam.pvalue import TaggedOutput
from tiny_feed import photo as jpeg

from model.pixel_spec import PixelSpec
from model.pixels import to_pixels
from pipelines.analysis import DecodeShard
from pipelines.catalogue import pixel_store
from pipelines.content_store import shard_name
from pipelines.decode import CHANGED, MISSING, DeadLetter, Photo, decode

SPEC = PixelSpec(16)


def given(root: Path, number: int, *, written: bool = True) -> Photo:
    data, name = jpeg(number), f"{number}.jpg"
    if written:
        (root / name).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return Photo(digest, name, None, "Home > Lamps", "", None, digest)


def letters(found: list[object]) -> list[DeadLetter]:
    return [each.value for each in found if isinstance(each, TaggedOutput)]


def test_another_file_than_ingest_saw_is_a_dead_letter(tmp_path: Path) -> None:
    photo = given(tmp_path, 1)
    (tmp_path / photo.uri).write_bytes(jpeg(2))
    found = decode(photo, tmp_path, SPEC)
    assert isinstance(found, DeadLetter)
    assert (found.reason, found.pixel_key) == (CHANGED, photo.key)


def test_a_name_like_a_chained_url_is_one_file(tmp_path: Path) -> None:
    photo = given(tmp_path, 1)
    (tmp_path / "a::b.jpg").write_bytes((tmp_path / photo.uri).read_bytes())
    (tmp_path / "a").write_bytes(b"another file")
    odd = Photo(photo.key, "a::b.jpg", None, "Home", "", None, photo.digest)
    np.testing.assert_array_equal(decode(odd, tmp_path, SPEC), to_pixels(jpeg(1), SPEC))


def test_a_storage_that_fails_is_no_dead_letter(tmp_path: Path) -> None:
    photo = given(tmp_path, 1, written=False)
    (tmp_path / photo.uri).mkdir()
    with pytest.raises(IsADirectoryError):
        decode(photo, tmp_path, SPEC)


def test_a_shard_heals_when_its_photo_is_back(tmp_path: Path) -> None:
    photos = sorted(
        [given(tmp_path, 1), given(tmp_path, 2, written=False)], key=lambda photo: photo.key
    )
    lost = next(photo for photo in photos if photo.uri == "2.jpg")
    step, store = DecodeShard(tmp_path, SPEC), pixel_store(tmp_path, SPEC)
    name = shard_name([photo.key for photo in photos])
    first = list(step.process(photos))
    assert [(fault.pixel_key, fault.reason) for fault in letters(first)] == [(lost.key, MISSING)]
    assert len(store.read(name)[0]) == 1
    given(tmp_path, 2)
    again = list(step.process(photos))
    assert letters(again) == []
    keys, values = store.read(name)
    assert keys == [photo.key for photo in photos]
    np.testing.assert_array_equal(values[keys.index(lost.key)], to_pixels(jpeg(2), SPEC))
    before = store.path(name).stat().st_mtime_ns
    list(step.process(photos))
    assert store.path(name).stat().st_mtime_ns == before
