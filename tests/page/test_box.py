"""The part of the photo that is searched: found, drawn, and moved by mouse, touch and keyboard."""

import io
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from PIL import Image
from tiny_bundle import add_localiser, make_root, promote, site

from page.visit import PHONE, Tab, Visit, text
from serving.ledger import champion

sync_api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def boxed_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A site that finds the product in the middle of the upper half of every photo."""
    root = make_root(tmp_path_factory.mktemp("boxed"))
    former = champion(root)
    assert former is not None
    promote(root, add_localiser(root, former.bundle, (0.25, 0.0, 0.75, 0.5)), version="2")
    with site(root) as url:
        yield url


def busy_photo() -> dict[str, str | bytes]:
    """240 by 240, no two parts of it the same, nothing of it plain."""
    blocks = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    photo = io.BytesIO()
    Image.fromarray(blocks).resize((240, 240), Image.Resampling.NEAREST).save(photo, "PNG")
    return {"name": "photo.png", "mimeType": "image/png", "buffer": photo.getvalue()}


def part_of(visit: Visit) -> list[float]:
    """Left, top, width and height of the box, shares of the photo."""
    shown, box = (visit.page.locator(place).bounding_box() for place in ("#picture", "#box"))
    assert shown is not None
    assert box is not None
    return [
        (box["x"] - shown["x"]) / shown["width"],
        (box["y"] - shown["y"]) / shown["height"],
        box["width"] / shown["width"],
        box["height"] / shown["height"],
    ]


def test_the_found_box_is_drawn_on_the_photo(tab: Tab, boxed_url: str) -> None:
    """Where it was searched, with the rest of it dim, and gone with the next item."""
    visit = tab(boxed_url)
    visit.page.set_input_files("#photo", busy_photo())
    visit.results()
    assert part_of(visit) == pytest.approx([0.25, 0.0, 0.5, 0.5], abs=0.03)
    sync_api.expect(visit.page.locator("#dim")).to_be_visible()
    visit.page.locator("a.card").first.click()
    visit.page.wait_for_selector(".facts dd")
    sync_api.expect(visit.page.locator("#box")).to_be_hidden()
    sync_api.expect(visit.page.locator("#dim")).to_be_hidden()
    assert visit.complaints == []


def test_the_box_is_moved_and_resized_by_mouse(tab: Tab, boxed_url: str) -> None:
    visit = tab(boxed_url)
    page, mouse = visit.page, visit.page.mouse
    page.set_input_files("#photo", busy_photo())
    found = visit.results()
    shown = page.locator("#picture").bounding_box()
    assert shown is not None
    scale = shown["width"] / 240

    def drag(start: tuple[int, int], end: tuple[int, int]) -> None:
        """From and to pixels of the photo; releasing searches."""
        mouse.move(shown["x"] + start[0] * scale, shown["y"] + start[1] * scale)
        mouse.down()
        mouse.move(shown["x"] + end[0] * scale, shown["y"] + end[1] * scale, steps=3)
        with page.expect_response("**/v1/search?*") as answer:
            mouse.up()
        assert answer.value.json()["searched"]["by"] == "given"

    def box() -> list[int]:
        return [int(side) for side in dict(visit.asked())["box"].split(",")]

    first = httpx.post(f"{boxed_url}/v1/search", content=busy_photo()["buffer"]).json()
    x, y, width, height = first["searched"]["box"]
    drag((x + width // 2, y + height // 2), (x + width // 2 + 30, y + height // 2 + 40))
    assert box() == pytest.approx([x + 30, y + 40, width, height], abs=1)
    drag((x + 30 + width, y + 40 + height), (x + 10 + width, y + 70 + height))
    assert box() == pytest.approx([x + 30, y + 40, width - 20, height + 30], abs=1)
    drag(
        (x + 30, y + 40), (400, 400)
    )  # no smaller than a twentieth or so, whatever the pointer does
    assert box()[2:] == [14, 14]
    changed = visit.results()
    page.get_by_role("button", name="What was found").click()
    assert visit.results() == found
    assert changed != found
    page.get_by_role("button", name="Whole photo").click()
    visit.results()
    assert visit.asked() == [("box", "whole")]
    assert part_of(visit) == pytest.approx([0, 0, 1, 1], abs=0.01)
    pressed = page.locator("#parts [aria-pressed=true]")
    assert pressed.all_inner_texts() == ["Whole photo"]
    assert visit.complaints == []


def test_the_box_is_moved_by_touch(tab: Tab, boxed_url: str) -> None:
    visit = tab(boxed_url, **PHONE)
    visit.page.set_input_files("#photo", busy_photo())
    visit.results()
    box = visit.page.locator("#box").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    fingers = visit.page.context.new_cdp_session(visit.page)
    with visit.page.expect_response("**/v1/search?*&box=*"):
        for kind, points in (
            ("touchStart", [{"x": x, "y": y}]),
            ("touchMove", [{"x": x - 20, "y": y + 30}]),
            ("touchMove", [{"x": x - 40, "y": y + 60}]),
            ("touchEnd", []),
        ):
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    moved = visit.page.locator("#box").bounding_box()
    assert moved == pytest.approx({**box, "x": box["x"] - 40, "y": box["y"] + 60}, abs=2)
    assert visit.page.evaluate("scrollY") == 0


def test_the_box_is_moved_by_keyboard(tab: Tab, boxed_url: str) -> None:
    visit = tab(boxed_url)
    page = visit.page
    page.set_input_files("#photo", busy_photo())
    visit.results()
    before = part_of(visit)
    page.keyboard.press("Shift+Tab")
    for _ in range(6):
        if page.evaluate("document.activeElement.id") == "box":
            break
        page.keyboard.press("Shift+Tab")
    assert page.locator("#box-help").is_visible()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "Shift+ArrowLeft", "Shift+ArrowDown"):
        page.keyboard.press(key)
    after = [before[0] + 0.02, before[1] + 0.04, before[2] - 0.02, before[3] + 0.02]
    assert part_of(visit) == pytest.approx(after, abs=0.005)
    x, y, width, height = (round(100 * share) for share in after)
    assert text(visit, "#status") == (
        f"{x}% from the left, {y}% from the top, {width}% wide, {height}% high"
    )
    assert visit.asked() == []
    page.keyboard.press("Escape")
    assert part_of(visit) == pytest.approx(before, abs=0.005)
    page.keyboard.press("ArrowRight")
    with page.expect_response("**/v1/search?*&box=*"):
        page.keyboard.press("Enter")
    visit.results()
    assert page.evaluate("document.activeElement.id") == "box"
    assert visit.complaints == []
