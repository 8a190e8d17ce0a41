"""What shoppers and feeds send under the name of a photo: pixels, or one exact reason."""

import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from model.errors import BadImage
from model.pixel_spec import PixelSpec
from model.pixels import MAX_IMAGE_BYTES, REASONS, Box, to_pixels

SPEC = PixelSpec(32)
MAX_RISE_MB = 300  # of memory, over the whole corpus
ANY = {"pixels", *REASONS}
PNG_START = b"\x89PNG\r\n\x1a\n"


def picture(width: int = 90, height: int = 60) -> Image.Image:
    blobs = np.random.default_rng(3).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(blobs).resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def animation(kind: str) -> bytes:
    return encode(picture(), kind, save_all=True, append_images=[picture().rotate(180)])


def chunk(name: bytes, data: bytes) -> bytes:
    check = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG by hand; `colour` 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = b"".join(extra) + chunk(b"IDAT", zlib.compress(rows, 9))
    return PNG_START + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def with_size(jpeg: bytes, width: int, height: int) -> bytes:
    """The same JPEG with a header that claims another size."""
    place = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:place] + struct.pack(">HH", height, width) + jpeg[place + 4 :]


def wide_webp() -> bytes:
    """One small frame on a canvas of 268 megapixels."""
    still = encode(picture(16, 16), "WEBP", lossless=True)[12:]
    side = (16382).to_bytes(3, "little")
    frame = bytes(6) + (15).to_bytes(3, "little") * 2 + bytes(4) + still
    parts = (
        (b"VP8X", b"\x02\0\0\0" + side * 2),
        (b"ANIM", bytes(6)),
        (b"ANMF", frame),
    )
    body = b"WEBP" + b"".join(k + struct.pack("<I", len(data)) + data for k, data in parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


JPEG = encode(picture(), "JPEG")
PNG = encode(picture(), "PNG")
WEBP = encode(picture(), "WEBP")
GIF = encode(picture().quantize(64), "GIF")
CMYK = encode(picture().convert("CMYK"), "JPEG")
ADOBE = b"\xff\xee\0\x0eAdobe\0d\0\0\0\0\0"  # the last byte is the colour transform
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
GREY_ROWS = (b"\0" + bytes(range(8))) * 8
NOISE = Image.fromarray(np.random.default_rng(4).integers(0, 256, (1500, 1500), np.uint8))
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"

GOOD = {
    "CMYK": CMYK.replace(ADOBE, b""),
    "Adobe CMYK": CMYK,
    "Adobe YCCK": CMYK.replace(ADOBE, ADOBE[:-1] + b"\2"),
    "grey JPEG": encode(picture().convert("L"), "JPEG"),
    "16-bit grey PNG": encode(Image.fromarray(np.arange(5400, dtype=np.uint16)[None]), "PNG"),
    "16-bit RGB PNG": png(2, 2, 16, 2, (b"\0" + bytes(range(12))) * 2),
    "16-bit RGBA PNG": png(2, 2, 16, 6, (b"\0" + bytes(range(16))) * 2),
    "palette with alpha": encode(picture().quantize(9), "PNG", transparency=bytes(range(9))),
    "palette with one transparent colour": encode(picture().quantize(9), "GIF", transparency=3),
    "palette that is too short": png(8, 8, 8, 3, GREY_ROWS, chunk(b"PLTE", bytes(6))),
    "LA": encode(picture().convert("LA"), "PNG"),
    "1 bit": encode(picture().convert("1"), "PNG"),
    "RGB with a transparent colour": encode(picture(), "PNG", transparency=(1, 2, 3)),
    "MPO": animation("MPO"),
    "one-frame GIF": GIF,
    "wrong ICC profile": encode(picture(), "JPEG", icc_profile=PROFILE),
    "1 x 1": encode(Image.new("RGB", (1, 1)), "PNG"),
    "1 x 10000": encode(Image.new("RGB", (1, 10_000)), "PNG"),
    "10000 x 1": encode(Image.new("RGB", (10_000, 1)), "JPEG"),
    "trailing garbage after JPEG": JPEG + b"<html>" * 100,
    "trailing garbage after PNG": PNG + bytes(1000),
    "ZIP behind a JPEG": JPEG + b"PK\x03\x04" + bytes(30),
    "PNG with too few rows": png(8, 80, 8, 0, GREY_ROWS),
    "25 megapixels with alpha": encode(Image.new("RGBA", (5000, 5000), (9, 9, 9, 99)), "PNG"),
    "25 megapixels of 16 bits": encode(Image.new("I;16", (5000, 5000), 999), "PNG"),
    "GIF of many blocks": encode(NOISE.convert("P"), "GIF"),
    "25 megapixels of JPEG": encode(Image.new("RGB", (5000, 5000)), "JPEG"),
}
BAD = {
    "no bytes": (b"", "image_empty"),
    "more than 10 MB": (JPEG + bytes(MAX_IMAGE_BYTES), "image_too_large"),
    "text": (b"a photo of a hat", "image_not_an_image"),
    "HTML named jpg": (b"<!doctype html><title>404</title>", "image_not_an_image"),
    "SVG": (SVG, "image_not_an_image"),
    "BMP": (encode(picture(), "BMP"), "image_not_an_image"),
    "TIFF": (encode(picture(), "TIFF"), "image_not_an_image"),
    "ICO": (encode(picture(), "ICO"), "image_not_an_image"),
    "PDF": (encode(picture(), "PDF"), "image_not_an_image"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "image_not_an_image"),
    "JPEG XL": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "image_not_an_image"),
    "zeros": (bytes(1000), "image_not_an_image"),
    "JPEG cut in its first marker": (JPEG[:20], "image_truncated"),
    "JPEG cut in its tables": (JPEG[:100], "image_truncated"),
    "JPEG cut before the pixels": (JPEG[:600], "image_truncated"),
    "JPEG cut in half": (JPEG[: len(JPEG) // 2], "image_truncated"),
    "JPEG without its last bytes": (JPEG[:-10], "image_truncated"),
    "PNG cut in its header": (PNG[:20], "image_truncated"),
    "PNG of only a header": (PNG[:33], "image_truncated"),
    "PNG cut in half": (PNG[: len(PNG) // 2], "image_truncated"),
    "PNG with a wrong CRC of its pixels": (PNG[:45] + b"\xaa" + PNG[46:], "image_truncated"),
    "PNG with a wrong CRC of its header": (PNG[:29] + bytes(4) + PNG[33:], "image_truncated"),
    "PNG of no size": (png(0, 0, 8, 2, b""), "image_truncated"),
    "PNG of 7 bits": (png(8, 8, 7, 0, GREY_ROWS), "image_truncated"),
    "PNG whose text is a bomb": (
        png(8, 8, 8, 0, GREY_ROWS, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(40_000_000)))),
        "image_truncated",
    ),
    "JPEG of a million pieces": (
        JPEG[:2] + b"\xff\xfe\0\2" * 1_000_000 + JPEG[2:],
        "image_truncated",
    ),
    "JPEG with a long gap": (JPEG[:20] + bytes(9_000_000) + JPEG[20:], "image_truncated"),
    "PNG of 400,000 pieces": (
        PNG[:33] + chunk(b"teSt", b"") * 400_000 + PNG[33:],
        "image_truncated",
    ),
    "WebP of only a header": (WEBP[:12], "image_truncated"),
    "WebP cut in half": (WEBP[: len(WEBP) // 2], "image_truncated"),
    "GIF of only a header": (GIF[:13], "image_truncated"),
    "GIF cut in half": (GIF[: len(GIF) // 2], "image_truncated"),
    "animated GIF": (animation("GIF"), "image_animated"),
    "animated WebP": (animation("WEBP"), "image_animated"),
    "animated PNG": (animation("PNG"), "image_animated"),
    "bomb of 144 MP": (
        png(12_000, 12_000, 1, 0, bytes(1501 * 12_000)),
        "image_too_many_pixels",
    ),
    "header of 400 MP": (png(20_000, 20_000, 1, 0, b""), "image_too_many_pixels"),
    "header of 4 exapixels": (png(2**31 - 1, 2**31 - 1, 1, 0, b""), "image_too_many_pixels"),
    "JPEG header of 65535 x 65535": (with_size(JPEG, 65_535, 65_535), "image_too_many_pixels"),
    "just above 25 MP": (with_size(JPEG, 5001, 5000), "image_too_many_pixels"),
    "WebP canvas of 268 MP": (wide_webp(), "image_too_many_pixels"),
}


def outcome(data: bytes, box: Box | None = None) -> str:
    """`pixels`, or the reason why there are none; anything else raises."""
    try:
        pixels = to_pixels(data, SPEC, box)
    except BadImage as error:
        return error.reason if str(error) else "no message"
    return "pixels" if (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8) else "wrong pixels"


@pytest.mark.parametrize("name", GOOD)
def test_an_odd_photo_becomes_pixels(name: str) -> None:
    assert outcome(GOOD[name]) == "pixels"


@pytest.mark.parametrize("name", BAD)
def test_a_bad_photo_has_its_exact_reason(name: str) -> None:
    data, reason = BAD[name]
    assert outcome(data) == reason


def test_every_reason_is_covered() -> None:
    found = {reason for _, reason in BAD.values()} | {outcome(JPEG, Box(900, 900, 5, 5))}
    assert found == set(REASONS)


def test_the_messages_say_what_was_expected_and_received() -> None:
    messages = {}
    for name in ("no bytes", "more than 10 MB", "text", "bomb of 144 MP", "animated GIF"):
        with pytest.raises(BadImage) as caught:
            to_pixels(BAD[name][0], SPEC)
        messages[name] = str(caught.value)
    assert messages == {
        "no bytes": "The image is empty. Expected a JPEG, PNG, WebP or GIF.",
        "more than 10 MB": "The image is too large. Expected at most 10000000 bytes. "
        f"Received: {len(JPEG) + 10_000_000}. Save it smaller.",
        "text": "Unknown image format. Expected a JPEG, PNG, WebP or GIF. "
        "Received 16 bytes that start with b'a photo '.",
        "bomb of 144 MP": "The image has too many pixels. Expected at most 25000000. "
        "Received: 12000 x 12000. Save it smaller.",
        "animated GIF": "The image has 2 frames. Expected a still photo.",
    }


def test_the_first_frame_of_an_mpo_counts() -> None:
    first = Image.open(io.BytesIO(GOOD["MPO"]))
    assert (first.format, getattr(first, "n_frames", 1)) == ("MPO", 2)
    alone = to_pixels(encode(Image.fromarray(np.asarray(first)), "PNG"), SPEC)
    np.testing.assert_array_equal(to_pixels(GOOD["MPO"], SPEC), alone)


def test_inks_are_inverted_with_and_without_adobe_s_marker() -> None:
    """Programs that write CMYK without the marker write it like Adobe."""
    marked = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")
    assert ADOBE in marked
    for data in (marked, marked.replace(ADOBE, b"")):
        found = to_pixels(data, PixelSpec(8))
        np.testing.assert_array_equal(found, np.full((8, 8, 3), (255, 0, 0)))


def test_a_profile_changes_no_pixel() -> None:
    tagged = to_pixels(GOOD["wrong ICC profile"], SPEC)
    np.testing.assert_array_equal(tagged, to_pixels(JPEG, SPEC))


def test_garbage_behind_a_photo_changes_no_pixel() -> None:
    for name in ("trailing garbage after JPEG", "ZIP behind a JPEG"):
        np.testing.assert_array_equal(to_pixels(GOOD[name], SPEC), to_pixels(JPEG, SPEC))


def test_the_bomb_is_small_and_large_inside() -> None:
    assert len(BAD["bomb of 144 MP"][0]) < 100_000


PROBE = """
import json, sys
from pathlib import Path
from model.errors import BadImage
from model.pixel_spec import PixelSpec
from model.pixels import to_pixels

def peak():
    # Not ru_maxrss: a child starts with that of its parent.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

files = sorted(Path(sys.argv[1]).iterdir())
to_pixels(Path(sys.argv[2]).read_bytes(), PixelSpec(32))
before, rises = peak(), {}
for file in files:
    start = peak()
    try:
        to_pixels(file.read_bytes(), PixelSpec(32))
    except BadImage:
        pass
    rises[file.name] = peak() - start
print(json.dumps({"rise": peak() - before, "by_file": rises}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the peak of memory")
def test_the_corpus_costs_little_memory(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name, data in {**GOOD, **{name: data for name, (data, _) in BAD.items()}}.items():
        (corpus / name).write_bytes(data)
    (tmp_path / "plain.jpg").write_bytes(JPEG)
    command = [sys.executable, "-c", PROBE, str(corpus), str(tmp_path / "plain.jpg")]
    done = subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[1])
    measured = json.loads(done.stdout)
    assert measured["rise"] < MAX_RISE_MB, measured["by_file"]


@settings(max_examples=200)
@given(
    start=st.sampled_from([b"", b"\xff\xd8\xff", PNG_START, b"GIF89a", b"RIFF\x40\0\0\0WEBP"]),
    rest=st.binary(max_size=300),
)
def test_arbitrary_bytes_are_refused(start: bytes, rest: bytes) -> None:
    assert outcome(start + rest) in ANY


@settings(max_examples=300)
@given(
    whole=st.sampled_from([JPEG, PNG, WEBP, GIF, GOOD["MPO"], GOOD["palette with alpha"]]),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=6),
    keep=st.floats(0, 1),
    box=st.none() | st.builds(Box, *[st.integers(-100, 200)] * 4),
)
def test_damaged_photos_become_pixels_or_a_reason(
    whole: bytes, flips: list[tuple[float, int]], keep: float, box: Box | None
) -> None:
    data = bytearray(whole)
    for place, bits in flips:
        data[int(place * len(data))] ^= bits
    assert outcome(bytes(data[: int(keep * len(data)) or len(data)]), box) in ANY
