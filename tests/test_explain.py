"""How a photo came to its answer: what is told is what happened, and what was missed is seen."""

import base64
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages_in_browser import at_every_width, needs_chromium
from PIL import Image
from test_gate_page import Document
from tiny_bundle import (
    DIMENSIONS,
    SIDE,
    add_localiser,
    add_variant,
    draw_photo,
    make_root,
    promote,
)
from typer.testing import CliRunner, Result

from model.errors import BadImage, BadInput, Damaged
from model.pixel_spec import PixelSpec
from model.pixels import Box, to_pixels
from pipelines.cli import app
from pipelines.explain import PHOTO_SIDE, Explained, Neighbour, explain
from pipelines.explain_page import explain_page
from serving.bundle import MANIFEST, verify
from serving.engine import Engine
from serving.exact import ExactIndex
from serving.ledger import champion

EVIL = "<script>alert('x')</script>\" onload=\"x"
ITEMS = 60


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("shop"), items=ITEMS)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """New to the shop, wider than high."""
    path = tmp_path_factory.mktemp("photos") / "a photo.png"
    image = Image.new("RGB", (480, 240), (250, 250, 250))
    image.paste(Image.open(io.BytesIO(draw_photo(101))), (240, 0))
    image.save(path)
    return str(path)


@pytest.fixture(scope="module")
def engine(root: Path) -> Engine:
    entry = champion(root)
    assert entry is not None
    return Engine(verify(root / "bundles" / entry.bundle, entry.bundle), threads=1)


def copied(root: Path, folder: Path) -> tuple[Path, str]:
    """A shop of its own, and the digest of its bundle."""
    shutil.copytree(root, folder / "shop")
    entry = champion(folder / "shop")
    assert entry is not None
    return folder / "shop", entry.bundle


def forgetful(folder: Path) -> None:
    """The index of a bundle knows other vectors of the first ten rows than the bundle has."""
    vectors = np.load(folder / "vectors.npy")
    for path in (folder / "index").iterdir():
        path.unlink()
    known = vectors[:48].copy()
    known[:10] = -known[:10]
    index = ExactIndex(known)
    index.save(folder / "index")
    manifest = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "index": index.description}))


def test_every_stage_is_what_the_engine_does(root: Path, photo: str, engine: Engine) -> None:
    box = Box(240, 0, 240, 240)
    found = explain(root, photo, "240,0,240,240", k=7)
    answer = engine.search(Path(photo).read_bytes(), 7, box)
    assert found.name == "a photo.png"
    assert (found.look.searched, found.look.searched.by) == (answer.searched, "given")
    np.testing.assert_array_equal(
        found.look.pixels, to_pixels(Path(photo).read_bytes(), PixelSpec(SIDE), box)
    )
    assert found.photo.shape == (PHOTO_SIDE // 2, PHOTO_SIDE, 3)  # without padding
    assert np.linalg.norm(found.vector) == pytest.approx(1)
    assert (found.vector.shape, found.items, found.k) == ((DIMENSIONS,), ITEMS, 7)
    assert found.guesses == answer.category
    assert [level["path"] for level in found.levels][-1] == answer.category[0]["path"]
    assert list(found.seconds) == ["decode", "embed", "search", "exact search"]
    assert [
        {**each.item, "score": round(each.given_score or 0, 4)} for each in found.neighbours
    ] == (answer.hits)
    scores = np.asarray(engine.vectors @ found.vector)
    for place, each in enumerate(found.neighbours, start=1):
        row = engine.items.row(each.item["item_id"])
        assert (each.rank, each.given_rank, each.is_new) == (place, place, row >= 48)
        assert each.score == pytest.approx(float(scores[row]), abs=1e-6)
        assert each.given_score == pytest.approx(each.score, abs=1e-3)
        assert each.photo is not None
        assert each.photo.shape[2] == 3
    assert (found.found, {(each.missed, each.instead) for each in found.neighbours}) == (
        7,
        {(False, False)},
    )


def test_what_the_index_missed_is_seen(root: Path, tmp_path: Path) -> None:
    shop, digest = copied(root, tmp_path)
    promote(shop, add_variant(shop, digest, forgetful), version="2")
    photo = tmp_path / "own.jpg"
    photo.write_bytes(draw_photo(2))
    found = explain(shop, str(photo), k=5)
    missed = [each for each in found.neighbours if each.missed]
    instead = [each for each in found.neighbours if each.instead]
    assert found.version == "2"
    assert found.neighbours[0].item["item_id"] == "item-002"
    assert found.neighbours[0].missed
    assert len(missed) == len(instead) == 5 - found.found > 0
    assert {each.given_rank for each in missed} == {None}
    assert {each.rank <= 5 for each in missed} == {True}
    assert {each.rank > 5 for each in instead} == {True}
    assert sorted(each.given_rank for each in found.neighbours if each.given_rank) == [*range(1, 6)]
    ranks = [each.rank for each in found.neighbours]
    assert ranks == sorted(ranks)
    page = explain_page(found)
    assert page.count('<li class="missed">') == len(missed)
    assert page.count('<li class="instead">') == len(instead)
    assert f"The index gave {found.found} of the 5 nearest items, of 60." in page


def test_the_localisers_box_is_told(root: Path, photo: str, tmp_path: Path) -> None:
    shop, digest = copied(root, tmp_path)
    ground = Image.fromarray(np.random.default_rng(0).integers(0, 256, (240, 480, 3), np.uint8))
    for x in (10, 250):
        product = Image.open(io.BytesIO(draw_photo(20))).crop((10, 10, 230, 230))
        ground.paste(product, (x, 10))
    ground.save(tmp_path / "street.png")
    promote(shop, add_localiser(shop, digest, (0.5, 0.25, 1.0, 0.75)), version="2")
    found = explain(shop, str(tmp_path / "street.png"))
    assert (found.look.searched.by, found.look.searched.box) == ("found", Box(240, 0, 240, 240))
    assert "where the localiser found the product, 240 × 240 at 240, 0." in explain_page(found)
    assert "left:50.00%;top:0.00%;width:50.00%;height:100.00%" in explain_page(found)


def test_more_than_there_is(root: Path, photo: str) -> None:
    found = explain(root, photo, k=200)
    assert (found.found, len(found.neighbours)) == (ITEMS, ITEMS)


def test_a_photo_of_an_item_that_is_gone(root: Path, photo: str, tmp_path: Path) -> None:
    shop, _ = copied(root, tmp_path)
    shutil.rmtree(shop / "images")
    found = explain(shop, photo, k=3)
    assert [each.photo for each in found.neighbours] == [None] * 3
    assert explain_page(found).count("photo gone") == 3


@pytest.mark.parametrize("box", ["", "1,2,3", "1,2,0,4", "a,b,c,d", "1,2,3,4,5", "-1,0,5,5"])
def test_what_is_no_box(root: Path, photo: str, box: str) -> None:
    with pytest.raises(BadInput) as caught:
        explain(root, photo, box)
    assert str(caught.value) == (
        f"Invalid --box. Expected `x,y,width,height` in pixels of the upright photo, width and "
        f"height at least 1. Received: {box!r}."
    )


def test_no_file_no_photo_no_area_no_bundle(root: Path, photo: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone.jpg"
    with pytest.raises(BadInput) as caught:
        explain(root, str(gone))
    assert str(caught.value) == (
        f"There is no photo at {gone}. Expected a JPEG, PNG, WebP or GIF. "
        f"Received: No such file or directory."
    )
    with pytest.raises(BadInput, match=r"Received: Is a directory\.$"):
        explain(root, str(tmp_path))
    (tmp_path / "note.txt").write_text("hat")
    with pytest.raises(BadImage, match=r"^Unknown image format\. Expected a JPEG"):
        explain(root, str(tmp_path / "note.txt"))
    with pytest.raises(BadImage) as outside:
        explain(root, photo, "480,0,10,10")
    assert outside.value.reason == "box_outside_image"
    with pytest.raises(BadInput) as none:
        explain(tmp_path / "nowhere", photo)
    assert str(none.value) == (
        f"Nothing serves from {tmp_path / 'nowhere'}. Expected a promotion in its `ledger.jsonl`. "
        f"Found none. Promote a bundle with `lookalike promote`, or name another --root."
    )


def test_a_damaged_bundle_is_not_explained(root: Path, photo: str, tmp_path: Path) -> None:
    shop, digest = copied(root, tmp_path)
    (shop / "bundles" / digest / "vectors.npy").write_bytes(b"")
    with pytest.raises(Damaged, match="vectors.npy"):
        explain(shop, photo)


# The page


def evil(explained: Explained) -> Explained:
    """What comes from the feed and the file system says something else."""
    changed: dict[str, Any] = dict.fromkeys(("title", "category", "item_id", "brand"), EVIL)
    neighbours = tuple(
        Neighbour(**{**vars(each), "item": {**each.item, **changed}})
        for each in explained.neighbours
    )
    level = {"path": EVIL, "confidence": 0.5}
    given = {"neighbours": neighbours, "name": EVIL, "levels": [level], "guesses": [level]}
    given["brand"] = {"name": EVIL, "confidence": 1.0}
    return Explained(**{**vars(explained), **given})


def test_the_page_needs_nothing_else_and_what_the_feed_says_is_text(root: Path, photo: str) -> None:
    for explained in (explain(root, photo, k=4), evil(explain(root, photo, k=4))):
        page = explain_page(explained)
        document = Document(re.sub(r"<rect [^>]*/>", "", page))
        assert document.open == []
        assert {"script", "link", "iframe"} & {tag for tag, _ in document.tags} == set()
        assert all("onload" not in attributes for _, attributes in document.tags)
        assert re.findall(r"url\(|@import|https?:", page) == []
        sources = [str(image["src"]) for image in document.all("img")]
        assert len(sources) == 2 + 4
        assert all(source.startswith("data:image/") for source in sources)
        assert page.count("<rect ") == DIMENSIONS


def test_the_pixels_on_the_page_are_those_of_the_embedder(root: Path, photo: str) -> None:
    found = explain(root, photo)
    (source,) = re.findall(
        r'class="pixels" src="data:image/png;base64,([^"]+)"', explain_page(found)
    )
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(source))))
    np.testing.assert_array_equal(shown, found.look.pixels)


@needs_chromium
def test_a_browser_shows_it_at_any_width(root: Path, photo: str, tmp_path: Path) -> None:
    path = tmp_path / "explain.html"
    path.write_text(explain_page(evil(explain(root, photo, "250,10,200,220"))))
    for page in at_every_width(path):
        image, box = (page.locator(name).bounding_box() for name in (".photo img", ".photo .box"))
        assert image is not None
        assert box is not None
        assert box["x"] - image["x"] == pytest.approx(250 / 480 * image["width"], abs=2)
        assert box["height"] == pytest.approx(220 / 240 * image["height"], abs=2)


# The command


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["explain", *arguments], env={"COLUMNS": "120"})


def test_the_command_tells_the_stages_and_writes_the_page(
    root: Path, photo: str, tmp_path: Path
) -> None:
    out = tmp_path / "page.html"
    done = run(photo, "--box", "240,0,240,240", "--root", str(root), "--out", str(out), "-k", "3")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:8]] == [
        *("photo", "box", "pixels", "vector", "category", "index", "exact", "page"),
    ]
    assert lines[0].split(maxsplit=1)[1].strip() == "a photo.png, 480 × 240 pixels"
    assert lines[1].split(maxsplit=1)[1].strip() == "240 × 240 at 240, 0: given"
    assert "16 numbers of space tiny-16, length 1.0000" in lines[3]
    assert lines[9].split() == ["exact", "index", "item", "category", "cosine", "score"]
    found = explain(root, photo, "240,0,240,240", k=3)
    for line, each in zip(lines[10:13], found.neighbours, strict=True):
        assert line.split()[:2] == [str(each.rank), str(each.given_rank)]
        assert str(each.item["title"]) in line
        assert f"{each.score:.4f}" in line
    assert lines[-1] == "The index gave 3 of the 3 nearest items, of 60."
    assert out.read_text().startswith("<!doctype html>")


def test_the_command_fails_in_one_line(root: Path, photo: str, tmp_path: Path) -> None:
    done = run(str(tmp_path / "gone.jpg"), "--root", str(root), "--out", str(tmp_path / "a.html"))
    assert done.exit_code == 65
    assert done.stderr.startswith(f"BadInput: There is no photo at {tmp_path / 'gone.jpg'}.")
    assert run(photo, "--root", str(tmp_path)).exit_code == 65
    assert run(photo, "-k", "0").exit_code == 2
    assert list(tmp_path.iterdir()) == []
