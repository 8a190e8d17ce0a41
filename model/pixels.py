"""The pixel path: image bytes -> uint8 [side, side, 3].

Preprocessing, training data, evaluation and serving all call `to_pixels`, so the model sees the
same numbers everywhere. Pillow decodes: TensorFlow's default JPEG decoder differs from it by up
to 21 levels, its default resize by up to 203.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from model.errors import BadImage
from model.pixel_spec import PixelSpec

MAX_IMAGE_BYTES = 10_000_000
MAX_IMAGE_PIXELS = 25_000_000
MAX_READS = 200_000  # of the pieces that a file has; a GIF of 10 MB takes 80,000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")  # JPEG opens MPO too; MPO has no opener of its own
STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
REASONS = {
    "image_empty": "the file has no bytes",
    "image_too_large": f"the file is larger than {MAX_IMAGE_BYTES} bytes",
    "image_not_an_image": "the bytes are not a JPEG, PNG, WebP or GIF",
    "image_truncated": "the image ends early or is corrupt",
    "image_animated": "the image has more than one frame",
    "image_too_many_pixels": f"the image has more than {MAX_IMAGE_PIXELS} pixels",
    "box_outside_image": "the box does not overlap the image",
}
PADDING = (255, 255, 255)
OVERSAMPLING = 2  # a JPEG is decoded at a DCT scale of at least this many times the target side
BAND = 256  # rows made RGB at a time
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = tuple(TURNS[orientation] for orientation in (5, 6, 7, 8))

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]  # width and height in pixels


class Box(NamedTuple):
    """Where the product is in the upright photo, in pixels."""

    x: int
    y: int
    width: int
    height: int


def to_pixels(data: bytes, spec: PixelSpec, box: Box | None = None) -> Pixels:
    """Decode, turn upright, crop to `box`, shrink the longer side to `spec.side`, pad to a square.

    Returns uint8 [side, side, 3]. Raises BadImage with a reason of `REASONS`.
    """
    return Photo(data, spec, box).pixels(box)


class Photo:
    """A decoded photo, to be seen whole and by its boxes. Not to be shared between threads.

    `box` is what is looked at first: a JPEG is decoded at the scale that this needs, and again only
    for a box that needs another. Raises BadImage.
    """

    def __init__(self, data: bytes, spec: PixelSpec, box: Box | None = None) -> None:
        self._data = data
        self._side = spec.side
        with _decoding():
            image = _open(data)
            self._full = image.size  # as it is stored
            self._is_jpeg = image.format in ("JPEG", "MPO")
            self._decode(image, self._draft(box))

    def pixels(self, box: Box | None = None) -> Pixels:
        """Cropped to `box`, the longer side shrunk to the spec's, padded: uint8 [side, side, 3].

        The same numbers whatever was looked at before. Raises BadImage.
        """
        with _decoding():
            if self._draft(box) != self._drafted:
                self._decode(_open(self._data), self._draft(box))
            image = self._upright if box is None else _crop(self._upright, self.size, box)
        image = _resize(to_rgb(image), self._side)
        canvas = Image.new("RGB", (self._side, self._side), PADDING)
        canvas.paste(image, ((self._side - image.width) // 2, (self._side - image.height) // 2))
        return np.asarray(canvas)

    def _draft(self, box: Box | None) -> Size | None:
        """What to ask of the decoder, so that `box` has enough pixels; None: all there are."""
        full = self._full
        longest = max(full) if box is None else max(1, min(max(box.width, box.height), max(full)))
        scale = OVERSAMPLING * self._side / longest
        if not self._is_jpeg or scale >= 1:
            return None
        return round(full[0] * scale) + 1, round(full[1] * scale) + 1

    def _decode(self, image: Image.Image, draft: Size | None) -> None:
        if draft:
            image.draft(None, draft)
        image.load()
        turn = _turn(image)
        self._drafted = draft
        self._upright = image if turn is None else image.transpose(turn)
        self.size = self._full[::-1] if turn in SIDEWAYS else self._full  # upright, in pixels


def upright(data: bytes) -> Image.Image:
    """All of a photo in RGB, turned as the camera was held. Raises BadImage."""
    with _decoding():
        image = _open(data)
        image.load()
        turn = _turn(image)
        return to_rgb(image if turn is None else image.transpose(turn))


@contextmanager
def _decoding() -> Iterator[None]:
    """What decoders raise (OSError, SyntaxError, struct.error, ...) becomes BadImage."""
    with warnings.catch_warnings():
        # Broken EXIF or palette blocks warn; the pixels are what counts, and they are checked.
        warnings.simplefilter("ignore")
        try:
            yield
        except BadImage:
            raise
        except Exception as error:
            raise BadImage("image_truncated", f"Cannot decode the image: {error}.") from error


def check_size(n_bytes: int) -> None:
    """Raise BadImage when a file of `n_bytes` cannot be a photo that we accept."""
    if n_bytes == 0:
        raise BadImage("image_empty", "The image is empty. Expected a JPEG, PNG, WebP or GIF.")
    if n_bytes > MAX_IMAGE_BYTES:
        raise BadImage(
            "image_too_large",
            f"The image is too large. Expected at most {MAX_IMAGE_BYTES} bytes. "
            f"Received: {n_bytes}. Save it smaller.",
        )


class _Bounded(io.BytesIO):
    """A file that is read so often and no more: millions of empty segments take Pillow 12 s."""

    _reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self._reads += 1
        if self._reads > MAX_READS:
            raise OSError(f"more than {MAX_READS} pieces")
        return super().read(size)


def _open(data: bytes) -> Image.Image:
    check_size(len(data))
    try:
        image = Image.open(_Bounded(data), formats=FORMATS)
        frames = getattr(image, "n_frames", 1)
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(str(error)) from error
    except UnidentifiedImageError as error:
        if data.startswith(STARTS) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
            raise BadImage(
                "image_truncated", f"Cannot read the image header of {len(data)} bytes."
            ) from error
        raise BadImage(
            "image_not_an_image",
            f"Unknown image format. Expected a JPEG, PNG, WebP or GIF. "
            f"Received {len(data)} bytes that start with {data[:8]!r}.",
        ) from error
    except Exception as error:
        raise BadImage("image_truncated", f"Cannot read the image header: {error}.") from error
    if image.width * image.height > MAX_IMAGE_PIXELS:
        raise _too_many_pixels(f"{image.width} x {image.height}")
    if frames > 1 and image.format != "MPO":  # the further frames of an MPO are previews
        raise BadImage("image_animated", f"The image has {frames} frames. Expected a still photo.")
    return image


def _too_many_pixels(received: str) -> BadImage:
    return BadImage(
        "image_too_many_pixels",
        f"The image has too many pixels. Expected at most {MAX_IMAGE_PIXELS}. "
        f"Received: {received}. Save it smaller.",
    )


def _crop(image: Image.Image, full: Size, box: Box) -> Image.Image:
    """`box` in pixels of the photo of size `full`, which was decoded as `image`."""
    shrink = max(image.size) / max(full)  # the shorter side of a thin photo was rounded up
    left, top = max(box.x * shrink, 0), max(box.y * shrink, 0)
    right = min((box.x + box.width) * shrink, image.width)
    bottom = min((box.y + box.height) * shrink, image.height)
    if right <= left or bottom <= top:
        raise BadImage(
            "box_outside_image",
            f"The box does not overlap the image. Expected x, y, width, height inside "
            f"{full[0]} x {full[1]} pixels. Received: {tuple(box)}.",
        )
    crop = (int(left), int(top), max(int(left) + 1, round(right)), max(int(top) + 1, round(bottom)))
    return image.crop(crop)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """By the EXIF orientation. ImageOps.exif_transpose also writes EXIF, and broken fails."""
    try:
        orientation: Any = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # no EXIF that can be read: as it is stored
        return None
    return TURNS.get(orientation)


def to_rgb(image: Image.Image) -> Image.Image:
    """Flatten to RGB in bands: at once, a photo of 25 megapixels with alpha took 480 MB."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    flat = Image.new("RGB", image.size)
    for top in range(0, image.height, BAND):
        bottom = min(top + BAND, image.height)
        flat.paste(_flat(image.crop((0, top, image.width, bottom))), (0, top))
    return flat


def _flat(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a channel: Pillow's own convert would clip, not scale
        wide = np.asarray(image).astype(np.float32)
        return Image.fromarray((wide / 257.0).round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (*PADDING, 255))
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


def _resize(image: Image.Image, side: int) -> Image.Image:
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=None)
