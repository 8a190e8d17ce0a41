"""Small pictures of photos, of those that can be read."""

import base64
import io
from pathlib import Path

from PIL import Image

from pipelines.thumbnails import SIDE, thumbnails


def test_a_picture_for_each_photo_that_can_be_read(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), (200, 30, 30)).save(tmp_path / "red.jpg")
    (tmp_path / "text.jpg").write_text("no photo")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "red.jpg").read_bytes()[:200])
    names = ["red.jpg", "text.jpg", "cut.jpg", "gone.jpg", "", "red.jpg", "none://a/b.jpg"]
    found = thumbnails(tmp_path, names)
    assert list(found) == ["red.jpg"]
    image = Image.open(io.BytesIO(base64.b64decode(found["red.jpg"].split(",")[1])))
    assert (image.format, image.size) == ("JPEG", (SIDE, SIDE))
    red, green, blue = image.getpixel((SIDE // 2, SIDE // 2))  # type: ignore[misc]
    assert abs(red - 200) + abs(green - 30) + abs(blue - 30) < 20


def test_no_photos_no_pictures(tmp_path: Path) -> None:
    assert thumbnails(tmp_path, []) == {}
