"""A photo is what was sent, or an error that says so."""

from pathlib import Path

import pytest

from live.sent import digest, item
from model.errors import BadInput, Damaged
from serving.live_photos import photo_path
from serving.live_store import LiveStore


def test_a_photo_lies_where_its_path_says(lite: LiveStore, tmp_path: Path) -> None:
    lite.put(item(), b"photo")
    (path,) = (path for path in (tmp_path / "live").rglob("*") if path.is_file())
    assert path == tmp_path / "live" / photo_path(digest(b"photo"))
    assert path.relative_to(tmp_path / "live" / "photos").parts == (path.name[:2], path.name)


def test_a_damaged_photo_is_not_given_out_and_heals_when_it_is_sent_again(
    lite: LiveStore, tmp_path: Path
) -> None:
    lite.put(item(), b"photo")
    path = tmp_path / "live" / photo_path(digest(b"photo"))
    path.write_bytes(b"phoTo")
    with pytest.raises(Damaged) as caught:
        lite.photo(digest(b"photo"))
    assert str(caught.value) == (
        f"A photo of the live store is damaged: {path}. Expected sha256 {digest(b'photo')[:12]}. "
        f"Found: {digest(b'phoTo')[:12]}. Send the item with its photo again."
    )
    lite.put(item(), b"photo")
    assert lite.photo(digest(b"photo")) == b"photo"
    path.unlink()
    with pytest.raises(Damaged, match=r"^A photo of the live store is gone\. Expected it at "):
        lite.photo(digest(b"photo"))


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "a" * 63])
def test_only_a_digest_names_a_photo(lite: LiveStore, name: str) -> None:
    with pytest.raises(BadInput, match="^Expected the SHA-256 of a photo in hex. Received: "):
        lite.photo(name)
