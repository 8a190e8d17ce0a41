"""Pictures to file bytes: ordinary formats, rare but valid ones, and broken ones."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

HTML = b"<!doctype html><html><head><title>404</title></head><body>Not found</body></html>\n"
HUGE = (5200, 5000)  # pixels: 26 million, in a file of some kilobytes
ORIENTATION = 0x0112  # EXIF tag
TURN_CLOCKWISE = 6  # its value for "turn by 90 degrees clockwise to show"
CUT = 0.35  # share of the bytes left of a truncated file


def _save(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _odd(image: Image.Image, form: str, quality: int) -> bytes:
    if form == "cmyk":
        return _save(image.convert("CMYK"), "JPEG", quality=quality)
    if form == "gray16":
        grey = np.asarray(image.convert("L"), dtype=np.uint16) * 257
        return _save(Image.fromarray(grey), "PNG")
    if form == "palette":
        shown = Image.new("L", image.size)
        ImageDraw.Draw(shown).rounded_rectangle((0, 0, image.width, image.height), 24, fill=255)
        clear = image.convert("RGBA")
        clear.putalpha(shown)
        return _save(clear.quantize(96, Image.Quantize.FASTOCTREE), "PNG")
    exif = Image.Exif()
    exif[ORIENTATION] = TURN_CLOCKWISE
    turned = image.transpose(Image.Transpose.ROTATE_90)
    return _save(turned, "JPEG", quality=quality, exif=exif)


def _broken(image: Image.Image, form: str, quality: int) -> bytes | None:
    if form == "image_missing":
        return None
    if form == "image_empty":
        return b""
    if form == "image_truncated":
        whole = _save(image, "JPEG", quality=quality)
        return whole[: int(len(whole) * CUT)]
    if form == "image_not_an_image":
        return HTML
    if form == "image_animated":
        frames = [image.rotate(a).quantize(48) for a in (0, 6, -6)]
        return _save(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=120)
    return _save(Image.new("L", HUGE, 200), "PNG", compress_level=1)


def encode(image: Image.Image, form: str, quality: int) -> bytes | None:
    """The file's bytes, or None for a photo that never arrives."""
    if form == "jpeg":
        return _save(image, "JPEG", quality=quality)
    if form == "png":
        return _save(image, "PNG", compress_level=4)
    if form == "webp":
        return _save(image, "WEBP", quality=quality, method=2)
    if form in ("cmyk", "gray16", "palette", "exif"):
        return _odd(image, form, quality)
    return _broken(image, form, quality)
