"""The generated sample catalogue: same bytes from the same seed, and everything it promises."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipelines.sample import SampleReport, write_sample
from pipelines.sample.encode import encode
from pipelines.sample.faults import IMAGE_FAULTS, KINDS, ROW_FAULTS, fault_reasons
from pipelines.sample.leaves import LEAVES, NEW_LEAF
from pipelines.sample.palette import MATERIALS, choose
from pipelines.sample.plan import MIN_ROWS, first_day, leaf_counts
from pipelines.sample.render import render
from pipelines.sample.sketch import Sketch, curve
from pipelines.sample.surface import FINISHES
from pipelines.sample.texture import PATTERNS, blurred

ITEMS = 600
COLUMNS = {
    "item_id": pa.string(),
    "product_id": pa.string(),
    "image": pa.string(),
    "category": pa.string(),
    "title": pa.string(),
    "brand": pa.string(),
    "attributes": pa.map_(pa.string(), pa.string()),
    "price": pa.float64(),
    "currency": pa.string(),
    "in_stock": pa.bool_(),
    "updated_at": pa.timestamp("us", tz="UTC"),
    "deleted": pa.bool_(),
    "box": pa.list_(pa.int32()),
    "kind": pa.string(),
    "split": pa.string(),
}

Row = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sample")


@pytest.fixture(scope="module")
def report(folder: Path) -> SampleReport:
    return write_sample(folder, items=ITEMS, processes=2)


@pytest.fixture(scope="module")
def day1(folder: Path, report: SampleReport) -> list[Row]:
    return list(pq.read_table(folder / "day1.parquet").to_pylist())


@pytest.fixture(scope="module")
def day2(folder: Path, report: SampleReport) -> list[Row]:
    return list(pq.read_table(folder / "day2.parquet").to_pylist())


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def opened(folder: Path, row: Row) -> Image.Image | None:
    """The row's photo as it should be seen, or None for a planted fault."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            data = io.BytesIO((folder / row["image"]).read_bytes())
            with Image.open(data) as image:
                if getattr(image, "is_animated", False) or image.width * image.height > 25_000_000:
                    return None
                return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, Warning, Image.DecompressionBombError):
        return None


def test_same_bytes_whatever_the_number_of_processes(tmp_path: Path) -> None:
    write_sample(tmp_path / "one", items=90, seed=3, processes=1)
    write_sample(tmp_path / "two", items=90, seed=3, processes=2)
    one = digests(tmp_path / "one")
    assert len(one) > 90
    assert one == digests(tmp_path / "two")


def test_another_seed_is_another_catalogue() -> None:
    titles = [[p.title for p in first_day(90, seed=seed)] for seed in (1, 2, 1)]
    assert titles[0] == titles[2]
    assert titles[0] != titles[1]


def test_schema(folder: Path, report: SampleReport) -> None:
    for day in ("day1", "day2"):
        schema = pq.read_schema(folder / f"{day}.parquet")
        assert dict(zip(schema.names, schema.types, strict=True)) == COLUMNS


def test_report_counts_what_is_there(
    folder: Path, report: SampleReport, day1: list[Row], day2: list[Row]
) -> None:
    files = [path for path in (folder / "images").rglob("*") if path.is_file()]
    assert report.rows == {"day1": ITEMS, "day2": len(day2)}
    assert len(day1) == ITEMS
    assert report.images == len(files)
    assert report.leaves == len(LEAVES) + 1


def test_at_least_sixty_leaves_in_three_levels(day1: list[Row]) -> None:
    good = {row["category"] for row in day1 if row["category"]}
    paths = {path for path in good if len(set(path.split(" > "))) == 3}
    assert len(paths) >= 60
    assert len({path.split(" > ")[0] for path in paths}) >= 5
    assert len({path.rsplit(" > ", 1)[0] for path in paths}) >= 18


def test_a_full_catalogue_has_a_long_tail_over_a_floor() -> None:
    counts = leaf_counts(4000, np.random.default_rng(0))
    assert sum(counts) == 4000
    assert min(counts) >= MIN_ROWS
    assert max(counts) > 5 * min(counts)


@settings(max_examples=40)
@given(items=st.integers(0, 20_000), seed=st.integers(0, 99))
def test_leaf_counts_add_up(items: int, seed: int) -> None:
    counts = leaf_counts(items, np.random.default_rng(seed))
    assert sum(counts) == items
    assert min(counts) >= 0


def test_products_have_one_to_four_views_and_one_identity(day1: list[Row]) -> None:
    views: Counter[str] = Counter()
    shared: dict[str, set[tuple[Any, ...]]] = defaultdict(set)
    for row in day1:
        views[row["product_id"]] += row["kind"] == "catalogue"
        if row["category"] and row["category"].count(">") == 2 and row["price"] > 0:
            shared[row["product_id"]].add((row["title"], row["brand"], row["price"]))
    assert set(views.values()) == {1, 2, 3, 4}
    assert all(len(identity) == 1 for identity in shared.values())


def test_wild_rows_show_the_product_of_a_catalogue_row(day1: list[Row]) -> None:
    wild = [row for row in day1 if row["kind"] == "wild"]
    catalogue = {row["product_id"] for row in day1 if row["kind"] == "catalogue"}
    assert 0.08 <= len(wild) / len(day1) <= 0.16
    assert {row["product_id"] for row in wild} <= catalogue
    assert all(row["box"] is None for row in day1 if row["kind"] == "catalogue")


def test_boxes_lie_inside_their_photos(folder: Path, day1: list[Row]) -> None:
    for row in day1:
        if row["kind"] != "wild":
            continue
        with Image.open(folder / row["image"]) as image:
            x, y, w, h = row["box"]
            assert x >= 0
            assert y >= 0
            assert x + w <= image.width
            assert y + h <= image.height
            assert w * h >= 0.02 * image.width * image.height


def test_photos_are_small_and_of_several_formats(folder: Path, day1: list[Row]) -> None:
    formats: Counter[str] = Counter()
    for row in day1[::3]:
        image = opened(folder, row)
        if image is None or max(image.size) > 1000:
            continue
        assert 150 <= min(image.size) <= max(image.size) <= 240
        formats[Path(row["image"]).suffix] += 1
    assert formats.most_common(1)[0][0] == ".jpg"
    assert set(formats) == {".jpg", ".png", ".webp"}


def test_faults_are_planted_as_reported(
    folder: Path, report: SampleReport, day1: list[Row]
) -> None:
    ids = [row["item_id"] for row in day1]
    found = {
        "missing_item_id": ids.count(None),
        "duplicate_item_id": len(ids) - ids.count(None) - len(set(ids) - {None}),
        "missing_category": sum(row["category"] is None for row in day1),
        "cyclic_category": sum(
            len(set(parts := row["category"].split(" > "))) < len(parts)
            for row in day1
            if row["category"]
        ),
        "bad_price": sum(row["price"] < 0 for row in day1),
    }
    assert {k: v for k, v in found.items() if v} == {
        k: v for k, v in report.faults.items() if k in ROW_FAULTS
    }
    unreadable = sum(opened(folder, row) is None for row in day1)
    assert unreadable == sum(v for k, v in report.faults.items() if k in IMAGE_FAULTS)
    assert 0 < sum(report.faults.values()) <= 0.008 * ITEMS


@settings(max_examples=60)
@given(st.integers(0, 20_000))
def test_faults_stay_below_the_limit(items: int) -> None:
    reasons = fault_reasons(items)
    assert len(reasons) <= 0.008 * items
    assert items < 125 or reasons
    assert items < 4000 or set(reasons) == set(KINDS) == {*ROW_FAULTS, *IMAGE_FAULTS}


def test_each_broken_photo_is_broken_in_its_own_way() -> None:
    image = Image.new("RGB", (200, 160), (90, 120, 200))
    image.paste((240, 90, 20), (50, 40, 150, 120))
    made = {form: encode(image, form, 85) for form in IMAGE_FAULTS}
    assert made["image_missing"] is None
    assert made["image_empty"] == b""
    assert (made["image_not_an_image"] or b"").startswith(b"<!doctype html>")
    with Image.open(io.BytesIO(made["image_animated"] or b"")) as animated:
        assert getattr(animated, "n_frames", 1) == 3
    with Image.open(io.BytesIO(made["image_too_many_pixels"] or b"")) as huge:
        assert huge.width * huge.height > 25_000_000
    assert len(made["image_too_many_pixels"] or b"") < 300_000
    with (
        Image.open(io.BytesIO(made["image_truncated"] or b"")) as cut,
        pytest.raises(OSError, match="truncated"),
    ):
        cut.load()


@pytest.mark.parametrize(
    ("form", "mode"), [("cmyk", "CMYK"), ("gray16", "I;16"), ("palette", "P"), ("exif", "RGB")]
)
def test_odd_photos_are_valid(form: str, mode: str) -> None:
    image = Image.new("RGB", (200, 160), (40, 60, 200))
    image.paste((250, 240, 20), (0, 0, 200, 40))
    with Image.open(io.BytesIO(encode(image, form, 90) or b"")) as odd:
        assert odd.mode == mode
        upright = ImageOps.exif_transpose(odd)
        assert upright.size == image.size
        if form == "exif":
            assert odd.size == (160, 200)
            pixel = upright.getpixel((100, 10))
            assert isinstance(pixel, tuple)
            assert pixel[0] > 200
            assert pixel[2] < 100


def test_copies_of_photos_hide_under_other_products(folder: Path, day1: list[Row]) -> None:
    owners: dict[str, set[str]] = defaultdict(set)
    titles: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in day1:
        titles[row["title"], row["brand"]].add(row["product_id"])
        path = folder / row["image"]
        if path.is_file() and path.stat().st_size:
            owners[hashlib.sha256(path.read_bytes()).hexdigest()].add(row["product_id"])
    assert any(len(products) > 1 for products in owners.values())
    assert sum(len(products) - 1 for products in titles.values()) >= 0.008 * ITEMS


def histogram(image: Image.Image) -> np.ndarray[Any, Any]:
    pixels = np.asarray(image, dtype=np.int64).reshape(-1, 3) // 32
    cells = pixels @ np.array([64, 8, 1])
    return np.bincount(cells, minlength=512) / len(cells)


def test_a_colour_histogram_does_badly(folder: Path, day1: list[Row]) -> None:
    rows = [row for row in day1 if row["category"] and row["category"].count(">") == 2]
    seen = [(row, image) for row in rows if (image := opened(folder, row)) is not None]
    q = np.stack([histogram(image) for _, image in seen])
    # A product's own photos and its copies share colours and would answer for free.
    owner = np.array([row["title"] for row, _ in seen])
    leaf = np.array([row["category"] for row, _ in seen])
    hits = 0
    for i in range(len(q)):
        distance = np.abs(q - q[i]).sum(axis=1)
        distance[owner == owner[i]] = np.inf
        hits += leaf[int(distance.argmin())] == leaf[i]
    assert hits / len(q) < 0.25


def test_second_day_is_a_small_delta(folder: Path, day1: list[Row], day2: list[Row]) -> None:
    old = {row["item_id"]: row for row in day1}
    new = [row for row in day2 if row["item_id"] not in old]
    deleted = [row for row in day2 if row["deleted"]]
    changed = [row for row in day2 if row["item_id"] in old and not row["deleted"]]
    assert (len(new), len(changed), len(deleted)) == (4, 2, 1)
    assert {row["category"] for row in day2} - {row["category"] for row in day1} == {NEW_LEAF.path}
    assert 0 < sum(row["category"] == NEW_LEAF.path for row in new) < len(new)
    again = [row for row in changed if row["image"] != old[row["item_id"]]["image"]]
    priced = [row for row in changed if row["image"] == old[row["item_id"]]["image"]]
    assert len(again) == len(priced) == 1
    assert priced[0]["price"] != old[priced[0]["item_id"]]["price"]
    kept = {"deleted", "updated_at"}
    for row in deleted:
        before = old[row["item_id"]]
        assert {k: v for k, v in row.items() if k not in kept} == {
            k: v for k, v in before.items() if k not in kept
        }
    assert all(opened(folder, row) is not None for row in day2)


def test_days_have_their_times(day1: list[Row], day2: list[Row]) -> None:
    assert day1[0]["updated_at"].isoformat() == "2026-11-19T02:00:00+00:00"
    assert day2[0]["updated_at"].isoformat() == "2026-11-20T02:00:00+00:00"
    assert max(row["updated_at"] for row in day1) < day2[0]["updated_at"]


def test_stock_prices_and_words(day1: list[Row]) -> None:
    absent = sum(not row["in_stock"] for row in day1) / len(day1)
    assert 0.01 <= absent <= 0.13
    assert len({row["brand"] for row in day1}) >= 20
    for row in day1:
        words = dict(row["attributes"])
        assert set(words) == {"colour", "material", "pattern"}
        assert row["title"].startswith(row["brand"])
        assert row["title"].endswith(words["colour"])
        assert row["currency"] == "EUR"
        assert row["split"] is None
    assert len({dict(row["attributes"])["pattern"] for row in day1}) == len(PATTERNS) + 1


@pytest.mark.parametrize("leaf", [*LEAVES, NEW_LEAF], ids=lambda leaf: leaf.slug)
def test_every_leaf_draws_a_product(leaf: Any) -> None:
    for seed in range(2):
        rng = np.random.default_rng(seed)
        style, _ = choose(leaf.family, "star", rng)
        sketch = Sketch(rng)
        leaf.draw(sketch)
        image = render(sketch, style)
        alpha = np.asarray(image.getchannel("A"))
        assert image.mode == "RGBA"
        assert max(image.size) >= 140
        assert 0.12 < (alpha > 128).mean() <= 1.0


def test_materials_have_finishes() -> None:
    assert {finish for family in MATERIALS.values() for finish in family} <= set(FINISHES)
    assert {leaf.family for leaf in LEAVES} <= set(MATERIALS)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=9),
    st.booleans(),
)
def test_curves_pass_through_their_points_and_stay_near(
    points: list[tuple[float, float]], closed: bool
) -> None:
    line = np.array(curve(points, closed=closed))
    if len(line):
        for point in set(points):
            assert np.abs(line - point).sum(axis=1).min() < 1e-6
        assert line.min() > -1.0
        assert line.max() < 2.0


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(30, 60), st.integers(30, 60))
def test_blur_keeps_a_dots_weight(radius: int, height: int, width: int) -> None:
    field = np.zeros((height + 40, width + 40), dtype=np.float32)
    field[height // 2 + 20, width // 2 + 20] = 1
    soft = blurred(field, radius)
    assert soft.shape == field.shape
    assert soft.sum() == pytest.approx(1, abs=1e-3)
    assert soft.max() < 1 / (2 * radius)
