"""Bytes to pixels: one path for training and serving, always a square, always upright."""

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_bundle import SIDE, SPEC, make_root

from model import pixels
from model.errors import BadImage
from model.pixel_spec import PixelSpec
from model.pixels import Box, Pixels, check_size, to_pixels
from pipelines.analysis import DEAD, DecodeShard
from pipelines.catalogue import pixel_store
from pipelines.decode import DeadLetter, Photo, decode
from serving import bundle as bundles
from serving.embedder import Embedder, Probabilities
from serving.engine import Engine
from serving.index import Vectors
from serving.ledger import champion

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
SPEC_16 = PixelSpec(16)
BOX = Box(40, 25, 70, 90)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Coloured blobs: smooth enough for a JPEG, different in every corner."""
    blobs = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(blobs).resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def turned(image: Image.Image, orientation: int) -> bytes:
    """A lossless file that a viewer shows as `image`, stored by this EXIF orientation."""
    stored = image
    undo = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    for method in undo.get(orientation, []):
        stored = stored.transpose(method)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(stored, exif=exif)


def content(width: int, height: int, side: int) -> Pixels:
    """What a black photo of this size must become: a centred black box on white."""
    scale = side / max(width, height)
    w, h = (max(1, round(length * scale)) for length in (width, height))
    left, top = (side - w) // 2, (side - h) // 2
    expected = np.full((side, side, 3), 255, np.uint8)
    expected[top : top + h, left : left + w] = 0
    return expected


# Skew: training and serving see the same numbers.

PHOTOS = {
    "small.png": encode(picture(20, 31)),
    "square.jpg": encode(picture(64, 64, 1), "JPEG"),
    "draft by 2.jpg": encode(picture(300, 200, 2), "JPEG", quality=92),
    "draft by 8.jpg": encode(picture(1600, 1200, 3), "JPEG", quality=80),
    "progressive.jpg": encode(picture(700, 900, 4), "JPEG", progressive=True),
    "phone.jpg": encode(picture(800, 600, 5), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01"
                        b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
    "alpha.webp": encode(picture(120, 150, 6).convert("RGBA"), "WEBP", lossless=True),
    "palette.gif": encode(picture(150, 130, 7).quantize(60), "GIF"),
}  # fmt: skip
CASES = [(name, box) for name in PHOTOS for box in (None, Box(2, 3, 15, 11), BOX)]
WHOLE = [case for case in CASES if case != ("small.png", BOX)]  # there the box is outside


@dataclass
class Watched:
    """The engine's embedder, and the pixels that the engine gave it."""

    embedder: Embedder
    seen: list[Pixels] = field(default_factory=list)

    def embed(self, pixels: Pixels) -> tuple[Vectors, Probabilities]:
        self.seen.append(pixels)
        return self.embedder.embed(pixels)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    root = make_root(tmp_path_factory.mktemp("shop"), items=20)
    entry = champion(root)
    assert entry is not None
    return Engine(bundles.verify(root / "bundles" / entry.bundle), threads=1)


def served(engine: Engine, case: tuple[str, Box | None]) -> Pixels:
    """The pixels that the engine's embedder sees for a shopper's photo."""
    embedder, watched = engine.embedder, Watched(engine.embedder)
    engine.embedder = watched  # type: ignore[assignment]
    try:
        engine.search(PHOTOS[case[0]], 1, case[1])
    finally:
        engine.embedder = embedder
    (pixels,) = watched.seen
    return pixels[0]


def test_training_and_serving_see_the_same_pixels(engine: Engine, tmp_path: Path) -> None:
    spec = PixelSpec.parse(SPEC)
    photos = []
    for number, (name, box) in enumerate(WHOLE):
        (tmp_path / name).write_bytes(PHOTOS[name])
        photos.append(Photo(f"{number:064x}", name, box, "Hats", "Norrby", 9.5))
    first, again = (list(DecodeShard(tmp_path, spec).process(photos)) for _ in range(2))
    store = pixel_store(tmp_path, spec)
    (shard,) = (path.stem for path in store.folder.glob("*.arrow"))
    stored = store.view([shard], [photo.key for photo in photos])[:]
    assert stored.dtype == np.uint8
    assert stored.shape == (len(WHOLE), SIDE, SIDE, 3)
    for photo, case, trained in zip(photos, WHOLE, stored, strict=True):
        np.testing.assert_array_equal(decode(photo, tmp_path, spec), trained)
        np.testing.assert_array_equal(served(engine, case), trained)
    assert len({pixels.tobytes() for pixels in stored}) == len(WHOLE)
    assert [batch.equals(first[0]) for batch in again] == [True]


def test_a_photo_that_fails_in_serving_is_a_dead_letter_in_training(
    engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "small.png").write_bytes(PHOTOS["small.png"])
    photo = Photo("0" * 64, "small.png", BOX, "Hats", "", None)
    with pytest.raises(BadImage) as caught:
        served(engine, ("small.png", BOX))
    letter = DeadLetter(photo.key, photo.uri, "box_outside_image", str(caught.value))
    assert (caught.value.reason, decode(photo, tmp_path, PixelSpec(SIDE))) == (
        "box_outside_image",
        letter,
    )
    good = Photo("1" * 64, "small.png", None, "Hats", "", None)
    output, _ = DecodeShard(tmp_path, PixelSpec(SIDE)).process([photo, good])
    assert (output.tag, output.value) == (DEAD, letter)


@pytest.mark.parametrize("name", PHOTOS)
def test_the_same_bytes_give_the_same_pixels(name: str) -> None:
    once, twice = (to_pixels(PHOTOS[name], SPEC_16) for _ in range(2))
    assert (once.shape, once.dtype) == ((16, 16, 3), np.uint8)
    np.testing.assert_array_equal(once, twice)


# Upright.


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_equals_the_upright_one(orientation: int) -> None:
    upright = picture(90, 60)
    expected = to_pixels(encode(upright), SPEC_16)
    np.testing.assert_array_equal(to_pixels(turned(upright, orientation), SPEC_16), expected)
    if orientation > 1:
        stored = Image.open(io.BytesIO(turned(upright, orientation)))
        plain = to_pixels(encode(Image.fromarray(np.asarray(stored))), SPEC_16)
        assert not np.array_equal(plain, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_lies_in_the_upright_photo(orientation: int) -> None:
    upright, box = picture(90, 60), Box(50, 10, 30, 20)
    expected = to_pixels(encode(upright.crop((50, 10, 80, 30))), SPEC_16)
    np.testing.assert_array_equal(to_pixels(turned(upright, orientation), SPEC_16, box), expected)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_is_upright(orientation: int) -> None:
    upright = picture(90, 60)
    expected = to_pixels(encode(upright), SPEC_16)
    np.testing.assert_array_equal(to_pixels(turned(upright, orientation), SPEC_16), expected)


@pytest.mark.parametrize(
    "entry",
    [
        b"\x01\x0f\x00\x0b\x00\x00\x00\x01\x7f\xc0\x00\x00",  # the maker's name is a number
        b"\x87\x69\x00\x02\x00\x00\x00\x01\xff\xff\xff\xff",  # the EXIF block's place is a text
        b"\x01\x1a\x00\x09\x00\x00\x00\x01\x80\x00\x00\x00",  # resolution below zero
    ],
)
def test_broken_exif_costs_neither_the_photo_nor_its_orientation(entry: bytes) -> None:
    upright = picture(60, 90)
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    right = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + b"\0\x02" + min(entry, right) + max(entry, right)
    expected = to_pixels(encode(upright), SPEC_16)
    found = to_pixels(encode(stored, exif=exif + bytes(20)), SPEC_16)
    np.testing.assert_array_equal(found, expected)


# Crop, shrink, pad.


@settings(max_examples=150)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    side=st.sampled_from([8, 17, 64]),
)
def test_every_size_is_centred_on_white(width: int, height: int, side: int) -> None:
    data = encode(Image.new("RGB", (width, height), BLACK))
    np.testing.assert_array_equal(to_pixels(data, PixelSpec(side)), content(width, height, side))


@settings(max_examples=150)
@given(
    box=st.builds(
        Box, *[st.integers(-150, 150)] * 2, *[st.integers(-20, 200)] * 2
    ),
    width=st.integers(1, 100),
    height=st.integers(1, 100),
)  # fmt: skip
def test_a_box_is_cut_to_the_photo_or_refused(box: Box, width: int, height: int) -> None:
    left, top = max(box.x, 0), max(box.y, 0)
    right, bottom = min(box.x + box.width, width), min(box.y + box.height, height)
    data = encode(Image.new("RGB", (width, height), BLACK))
    if left < right and top < bottom:
        expected = content(right - left, bottom - top, 16)
        np.testing.assert_array_equal(to_pixels(data, SPEC_16, box), expected)
    else:
        with pytest.raises(BadImage) as caught:
            to_pixels(data, SPEC_16, box)
        assert (caught.value.reason, str(caught.value)) == (
            "box_outside_image",
            f"The box does not overlap the image. Expected x, y, width, height inside "
            f"{width} x {height} pixels. Received: {tuple(box)}.",
        )


def test_the_message_about_a_box_speaks_of_the_upright_photo() -> None:
    with pytest.raises(BadImage, match="inside 60 x 90 pixels"):
        to_pixels(turned(picture(60, 90), 6), SPEC_16, Box(60, 0, 5, 5))


def test_a_jpeg_decoded_at_a_smaller_scale_looks_the_same() -> None:
    photo = picture(1600, 1200, 3)
    small = to_pixels(encode(photo, "JPEG", quality=95), SPEC_16).astype(int)
    whole = to_pixels(encode(photo), SPEC_16).astype(int)
    difference = np.abs(small - whole)
    assert difference.mean() < 1
    assert difference.max() <= 8


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((1600, 1200), Box(800, 600, 400, 300)),
        ((1200, 1600), Box(104, 0, 640, 1600)),
        ((4000, 9), Box(2000, 0, 1000, 9)),
        ((9, 4000), Box(0, 2000, 9, 1000)),
    ],
)
def test_a_box_is_found_again_in_a_jpeg_of_smaller_scale(size: tuple[int, int], box: Box) -> None:
    photo = Image.new("RGB", size, WHITE)
    photo.paste(BLACK, (box.x, box.y, box.x + box.width, box.y + box.height))
    found = to_pixels(encode(photo, "JPEG", quality=95), SPEC_16, box).astype(int)
    difference = np.abs(found - content(box.width, box.height, 16))
    assert difference.max() <= 3


# How modes become colours.


def test_transparent_parts_are_white() -> None:
    image = Image.new("RGBA", (16, 16), (10, 20, 30, 0))
    image.paste((10, 20, 30, 255), (0, 0, 8, 16))
    image.paste((10, 20, 30, 51), (0, 8, 8, 16))
    expected = np.full((16, 16, 3), 255, np.uint8)
    expected[:8, :8] = (10, 20, 30)
    expected[8:, :8] = [round(255 - (255 - c) * 0.2) for c in (10, 20, 30)]
    np.testing.assert_array_equal(to_pixels(encode(image), SPEC_16), expected)
    np.testing.assert_array_equal(to_pixels(encode(image, "WEBP", lossless=True), SPEC_16)[:, 8:],
                                  expected[:, 8:])  # fmt: skip


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    wide = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    found = to_pixels(encode(Image.fromarray(wide)), SPEC_16)
    expected = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    np.testing.assert_array_equal(found, expected)


def test_bands_leave_no_seam() -> None:
    """Taller than one band of rows, in each mode that is made RGB band by band."""
    tall = picture(40, 600)
    grey = tall.convert("L")
    expected = to_pixels(encode(Image.merge("RGB", [grey] * 3)), PixelSpec(200))
    palette = Image.merge("RGB", [grey] * 3).quantize(256)
    same = encode(palette.convert("RGB"))
    np.testing.assert_array_equal(to_pixels(encode(grey), PixelSpec(200)), expected)
    np.testing.assert_array_equal(
        to_pixels(encode(palette), PixelSpec(200)), to_pixels(same, PixelSpec(200))
    )
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    np.testing.assert_array_equal(to_pixels(encode(wide), PixelSpec(200)), expected)


def test_sizes_are_checked_before_reading() -> None:
    check_size(1)
    check_size(10_000_000)
    reasons = []
    for size in (0, 10_000_001):
        with pytest.raises(BadImage) as caught:
            check_size(size)
        reasons.append(caught.value.reason)
    assert reasons == ["image_empty", "image_too_large"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_photo_seen_twice_gives_the_pixels_of_each_alone(kind: str, orientation: int) -> None:
    """Whole and by boxes of several scales, in any order."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(picture(640, 400), kind, exif=exif)
    size = (640, 400) if orientation == 1 else (400, 640)
    boxes = (None, Box(10, 20, 60, 50), Box(0, 0, *size), Box(100, 100, 300, 200), None)
    photo = pixels.Photo(data, SPEC_16)
    assert photo.size == size
    for box in boxes:
        np.testing.assert_array_equal(photo.pixels(box), to_pixels(data, SPEC_16, box))
    other = pixels.Photo(data, SPEC_16, boxes[1])
    np.testing.assert_array_equal(other.pixels(), to_pixels(data, SPEC_16))
    with pytest.raises(BadImage) as caught:
        photo.pixels(Box(700, 0, 10, 10))
    assert caught.value.reason == "box_outside_image"
