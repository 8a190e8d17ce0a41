"""Near-duplicates: what groups, what does not, and that order does not matter."""

import io

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from tiny_feed import encoded, scene

from pipelines.duplicates import (
    DETAIL,
    HASH_BYTES,
    MAX_CELL,
    MAX_COLOUR,
    SPREAD,
    WINDOW,
    Look,
    group,
    near_duplicates,
    perceptual_hash,
)

BITS = 12
Looks = npt.NDArray[np.uint8]


def table(looks: list[Look | None], names: list[str] | None = None) -> pa.Table:
    """Items that nothing but their looks joins."""
    names = names or [f"item-{n:04}" for n in range(len(looks))]
    return pa.table(
        {
            "item_id": pa.array(names, pa.string()),
            "product_id": pa.array(names, pa.string()),
            "image_digest": pa.array(names, pa.string()),
            "phash": pa.array([look and look.phash for look in looks], pa.binary()),
            "signature": pa.array([look and look.signature for look in looks], pa.binary()),
        }
    )


def together(one: bytes, other: bytes) -> bool:
    groups = group(table([perceptual_hash(one), perceptual_hash(other)]), BITS)
    return bool(groups[0] == groups[1])


def product(colour: str = "#c03028", ground: str = "white") -> Image.Image:
    """A studio shot: a plain ground and a lamp."""
    image = Image.new("RGB", (240, 300), ground)
    draw = ImageDraw.Draw(image)
    draw.polygon([(60, 120), (180, 120), (150, 30), (90, 30)], fill=colour)
    draw.rectangle([112, 120, 128, 250], fill="#303030")
    draw.ellipse([70, 240, 170, 275], fill="#505050")
    for x in range(70, 175, 14):
        draw.line([(x, 118), (x - 4, 60)], fill="#f0d0c0", width=5)
    return image


def near(looks: Looks, bits: int) -> set[tuple[int, int]]:
    """The rule of the module, pair by pair."""
    hashes = np.unpackbits(looks[:, :HASH_BYTES], axis=1)
    colours = looks[:, HASH_BYTES:].astype(int)
    detailed = [DETAIL <= row.sum() <= 256 - DETAIL for row in hashes]
    return {
        (i, j)
        for i in range(len(looks))
        for j in range(i)
        if detailed[i]
        and detailed[j]
        and (hashes[i] != hashes[j]).sum() <= bits
        and np.abs(colours[i] - colours[j]).mean() <= MAX_COLOUR
        and np.abs(colours[i] - colours[j]).max() <= MAX_CELL
    }


def components(size: int, edges: set[tuple[int, int]]) -> list[int]:
    labels = list(range(size))
    for i, j in sorted(edges) * size:
        labels[i] = labels[j] = min(labels[i], labels[j])
    return labels


def random_looks(seed: int, size: int) -> Looks:
    """A few photos, each with copies that differ in some bits and levels."""
    rng = np.random.default_rng(seed)
    kinds = rng.random((4, 256)) < rng.choice([0.05, 0.3, 0.5], (4, 1))
    bits = kinds[rng.integers(0, 4, size)] ^ (rng.random((size, 256)) < 0.03)
    colours = 100 + rng.integers(0, 3, (size, 1)) * 7 + rng.integers(0, 3, (size, 48))
    colours[rng.random(size) < 0.2, 0] += 14
    return np.concatenate([np.packbits(bits, axis=1), colours.astype(np.uint8)], axis=1)


def as_looks(rows: Looks) -> list[Look | None]:
    return [Look(row[:HASH_BYTES].tobytes(), row[HASH_BYTES:].tobytes()) for row in rows]


@pytest.mark.parametrize("original", [product(), scene(1), scene(2)])
def test_a_copy_of_a_photo_groups_with_it(original: Image.Image) -> None:
    width, height = original.size
    photo = encoded(original, quality=95)
    assert together(photo, encoded(original, quality=40))
    assert together(photo, encoded(original, "PNG"))
    assert together(photo, encoded(original, "WEBP", 80))
    assert together(photo, encoded(original.resize((width * 3, height * 3))))
    assert together(photo, encoded(original.crop((1, 1, width - 1, height - 1))))
    assert together(photo, encoded(original.point(lambda level: level * 0.98)))


def test_another_colour_or_photo_stays_apart() -> None:
    red = encoded(product())
    assert not together(red, encoded(product("#2838c0")))
    assert not together(red, encoded(product(ground="#d8d8d8")))
    assert not together(
        red, encoded(product().transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(90))
    )
    assert not together(encoded(scene(1)), encoded(scene(2)))


def test_another_colour_of_a_small_part_stays_apart() -> None:
    other = product()
    ImageDraw.Draw(other).ellipse([70, 240, 170, 275], fill="#504080")
    assert not together(encoded(product()), encoded(other))


def test_a_turned_photo_with_its_exif_mark_is_the_same() -> None:
    upright = scene(3, 160).resize((200, 120))
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # the viewer turns it by 270 degrees
    upright.transpose(Image.Transpose.ROTATE_90).save(file, "JPEG", quality=95, exif=exif)
    assert together(encoded(upright), file.getvalue())


def test_a_see_through_ground_is_white() -> None:
    layer = product().convert("RGBA")
    pixels = np.asarray(layer).copy()
    pixels[(pixels[..., :3] == 255).all(axis=2)] = 0
    assert together(encoded(product(), "PNG"), encoded(Image.fromarray(pixels), "PNG"))


def test_plain_pictures_join_nothing_but_equal_bytes() -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 160).astype(np.uint8)[None, :, None], (160, 160, 3))
    plain = [
        Image.new("RGB", (160, 160), "white"),
        Image.new("RGB", (160, 160), "#fdfdfd"),
        Image.fromarray(np.ascontiguousarray(ramp)),
        Image.fromarray(np.ascontiguousarray(ramp[:, :158])),
    ]
    looks = [perceptual_hash(encoded(image)) for image in plain]
    assert len(set(group(table(looks), BITS).tolist())) == 4
    items = table([looks[0], looks[0]])
    items = items.set_column(2, "image_digest", pa.array(["same", "same"]))
    assert len(set(group(items, BITS).tolist())) == 1


@pytest.mark.parametrize("data", [b"", b"words", encoded(scene(1))[:500], b"GIF89a"])
def test_bytes_that_do_not_decode_have_no_look(data: bytes) -> None:
    assert perceptual_hash(data) is None


def test_a_look_has_80_bytes() -> None:
    look = perceptual_hash(encoded(scene(1)))
    assert look is not None
    assert (len(look.phash), len(look.signature)) == (32, 48)


def test_products_and_digests_and_looks_chain() -> None:
    alike = as_looks(random_looks(7, 1)) * 2
    items = pa.table(
        {
            "item_id": ["e", "d", "c", "b", "a", "z"],
            "product_id": ["p1", "p1", "p2", "p3", "p4", "p5"],
            "image_digest": ["1", "2", "2", "3", "4", "5"],
            "phash": pa.array([None, None, *(look and look.phash for look in alike), None, None]),
            "signature": pa.array(
                [None, None, *(look and look.signature for look in alike), None, None]
            ),
        }
    )
    first = group(items, BITS).tolist()
    assert [first.index(number) for number in first] == [0, 0, 0, 0, 4, 5]


def test_a_group_keeps_its_id_when_others_come() -> None:
    looks = as_looks(random_looks(1, 3))
    few = group(table(looks[:1], ["m"]), BITS)
    more = group(table([None, looks[0], None], ["a", "m", "z"]), BITS)
    assert few.tolist() == more.tolist()[1:2]
    assert group(table([]), BITS).tolist() == []
    assert more.dtype == np.int64


@given(st.integers(0, 10_000), st.integers(0, 40), st.integers(1, 15))
@settings(max_examples=60)
def test_pairs_are_those_of_brute_force(seed: int, size: int, bits: int) -> None:
    looks = random_looks(seed, size)
    found = {(max(pair), min(pair)) for pair in near_duplicates(looks, bits).tolist()}
    assert found == near(looks, bits)


@given(st.integers(0, 10_000), st.integers(1, 40))
@settings(max_examples=40)
def test_groups_do_not_depend_on_the_order_of_rows(seed: int, size: int) -> None:
    looks = random_looks(seed, size)
    items = table(as_looks(looks))
    groups = group(items, BITS).tolist()
    expected = components(size, near(looks, BITS))
    assert [groups.index(number) for number in groups] == expected
    order = np.random.default_rng(seed).permutation(size)
    assert group(items.take(order), BITS).tolist() == [groups[place] for place in order]


def test_a_band_that_everything_shares_keeps_equal_and_nearest_hashes() -> None:
    rng = np.random.default_rng(0)
    size = WINDOW * 4
    bits = rng.random((size, 256)) < 0.5
    bits[:, SPREAD[:16]] = False  # band 0 is the same everywhere
    bits[:, ::2] = False  # and half of all bits say nothing
    bits[size // 2 :] = bits[: size // 2]
    colours = np.full((size, 48), 100)
    colours[size // 2 :] += 5
    looks = np.concatenate([np.packbits(bits, axis=1), colours.astype(np.uint8)], axis=1)
    groups = group(table(as_looks(looks)), BITS).tolist()
    assert groups[: size // 2] == groups[size // 2 :]
    assert len(set(groups)) == size // 2
