"""The page for people, in a real browser."""

import base64
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import add_localiser, draw_photo, make_root, promote, site

from serving.ledger import champion

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium")

HAND_OVER = """([kind, name, data]) => {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
  const event = kind === "paste"
    ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
    : new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    with site(root) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A tab and everything that it complained about."""

    def __init__(self, browser: "sync_api.Browser", url: str, **options: object) -> None:
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "locale": "en-IE", **options}
        )
        self.context.set_default_timeout(10_000)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url)
        self.page.wait_for_selector("a.card, #notice:not([hidden])")

    def results(self) -> list[str]:
        self.page.wait_for_selector("#query:not([hidden]) ~ .found a.card .score")
        return self.page.locator("a.card .title").all_inner_texts()

    def hand_over(self, kind: str, data: bytes, name: str = "photo.jpg") -> None:
        self.page.evaluate(HAND_OVER, [kind, name, base64.b64encode(data).decode()])

    def choose(self, data: bytes, name: str = "photo.jpg") -> None:
        file = {"name": name, "mimeType": "image/jpeg", "buffer": data}
        self.page.set_input_files("#photo", file)


@pytest.fixture
def visit(browser: "sync_api.Browser", url: str) -> Iterator[Visit]:
    visit = Visit(browser, url)
    yield visit
    visit.context.close()


def text(visit: Visit, selector: str) -> str:
    return " ".join(visit.page.locator(selector).first.inner_text().split())


@pytest.mark.parametrize("way", ["choose", "drop", "paste"])
def test_a_photo_finds_similar_items(visit: Visit, way: str) -> None:
    if way == "choose":
        visit.choose(draw_photo(8))
    else:
        visit.hand_over(way, draw_photo(8))
    titles = visit.results()
    assert len(titles) == 24
    assert titles[:3] == ["Pendants no. 8", "Pendants no. 44", "Pendants no. 38"]
    assert text(visit, "a.card") == "100% similar Pendants no. 8 €17.50 In stock Pendants"
    assert text(visit, ".category li") == "Pendants Home › Lamps 98%"
    assert text(visit, "footer").startswith("Bundle version 1 ")
    assert " Index " in text(visit, "footer")
    for image in (".query img", "a.card img"):
        picture = visit.page.locator(image).first
        sync_api.expect(picture).to_have_js_property("naturalWidth", 240)
    assert visit.complaints == []


def test_the_found_box_is_drawn_on_the_photo(browser: "sync_api.Browser", tmp_path: Path) -> None:
    """Where it was searched, and gone with the next item."""
    root = make_root(tmp_path)
    former = champion(root)
    assert former is not None
    promote(root, add_localiser(root, former.bundle, (0.25, 0.0, 0.75, 0.5)), version="2")
    blocks = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    photo = io.BytesIO()
    Image.fromarray(blocks).resize((240, 240), Image.Resampling.NEAREST).save(photo, "PNG")
    with site(root) as url:
        visit = Visit(browser, url)
        visit.choose(photo.getvalue(), "photo.png")
        visit.results()
        shown, box = (
            visit.page.locator(place).bounding_box() for place in (".shown img", "#searched rect")
        )
        assert shown is not None
        assert box is not None
        part = [
            (box["x"] - shown["x"]) / shown["width"],
            (box["y"] - shown["y"]) / shown["height"],
            box["width"] / shown["width"],
            box["height"] / shown["height"],
        ]
        assert part == pytest.approx([0.25, 0.0, 0.5, 0.5], abs=0.03)
        visit.page.locator("a.card").first.click()
        visit.page.wait_for_selector(".facts dd")
        sync_api.expect(visit.page.locator("#searched")).to_be_hidden()
        assert visit.complaints == []
        visit.context.close()


def test_a_card_leads_to_its_own_similar_items_and_back(visit: Visit, url: str) -> None:
    start = visit.page.locator("a.card .title").all_inner_texts()
    assert len(start) == 12
    visit.choose(draw_photo(8))
    by_photo = visit.results()
    visit.page.locator("a.card", has_text="Pendants no. 44").click()
    visit.page.wait_for_selector(".facts dd")
    assert visit.page.url == f"{url}/?item=item-044"
    assert visit.page.title() == "Pendants no. 44 · Lookalike"
    assert text(visit, ".query") == (
        "Pendants no. 44 Home › Lamps › Pendants Price €53.50 Stock In stock"
    )
    assert "Pendants no. 44" not in visit.results()
    visit.page.go_back()
    visit.page.wait_for_selector(".category li")
    assert visit.results() == by_photo
    visit.page.go_back()
    visit.page.wait_for_selector("#hero:not([hidden]) ~ .split a.card")
    assert visit.page.locator("a.card .title").all_inner_texts() == start
    visit.page.go_forward()
    visit.page.wait_for_selector(".category li")
    assert visit.results() == by_photo
    assert visit.complaints == []


def test_an_address_can_be_shared(browser: "sync_api.Browser", url: str) -> None:
    visit = Visit(browser, f"{url}/?item=St%C3%BChle%234%3Fx%3D1%26y%3D2")
    visit.results()
    assert text(visit, "figcaption") == "Round rugs no. 4"
    visit.page.get_by_role("link", name="Lookalike").click()
    visit.page.wait_for_selector("#hero:not([hidden]) ~ .split a.card")
    assert visit.page.url == f"{url}/"
    assert visit.complaints == []
    visit.context.close()


def test_the_keyboard_is_enough(visit: Visit) -> None:
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.press("Enter")
    assert visit.page.evaluate("document.activeElement.id") == "main"
    with visit.page.expect_file_chooser() as chooser:
        visit.page.keyboard.press("Tab")
        visit.page.keyboard.press("Enter")
    chooser.value.set_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": draw_photo(8)})
    visit.results()
    assert visit.page.evaluate("document.activeElement.id") == "heading"
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_url("**/?item=item-008")
    assert "Pendants no. 8" not in visit.results()


@pytest.mark.parametrize(
    ("data", "title"),
    [
        (b"<html></html>", "This is not a photo we can read"),
        (b"", "This file is empty"),
        (draw_photo(8)[:1500], "This photo is damaged"),
        (b"\xff" * 10_000_001, "This photo is too large"),
    ],
)
def test_a_bad_photo_is_explained_and_the_next_one_works(
    visit: Visit, data: bytes, title: str
) -> None:
    visit.choose(data)
    visit.page.wait_for_selector("#notice:not([hidden])")
    assert text(visit, "#notice h2") == title
    assert visit.page.locator("#notice button:visible").all_inner_texts() == [
        "Choose another photo"
    ]
    visit.choose(draw_photo(8))
    assert visit.results()[0] == "Pendants no. 8"
    assert visit.page.locator("#notice").is_hidden()
    only = [line for line in visit.complaints if "the server responded with a status of 4" in line]
    assert visit.complaints == only  # Chromium's own line for each answer that is an error


def test_an_unknown_item_is_explained(browser: "sync_api.Browser", url: str) -> None:
    visit = Visit(browser, f"{url}/?item=nobody")
    visit.page.wait_for_selector("#notice:not([hidden])")
    assert text(visit, "#notice h2") == "This item is not in the catalogue"
    visit.context.close()


def test_a_large_photo_is_made_smaller_before_it_is_sent(visit: Visit, tmp_path: Path) -> None:
    from PIL import Image

    photo = tmp_path / "phone.jpg"
    Image.effect_noise((5000, 4000), 120).convert("RGB").save(photo, quality=95)
    assert photo.stat().st_size > 10_000_000
    with visit.page.expect_request("**/v1/search*") as request:
        visit.page.set_input_files("#photo", photo)
    assert 100_000 < int(request.value.all_headers()["content-length"]) < 4_000_000
    visit.results()
    assert visit.complaints == []


def test_without_a_bundle_the_page_waits_for_one(
    browser: "sync_api.Browser", tmp_path: Path
) -> None:
    with site(tmp_path) as url:
        visit = Visit(browser, url)
        assert text(visit, "#notice h2") == "The catalogue is being prepared"
        make_root(tmp_path, items=20)
        visit.page.wait_for_selector("a.card")
        assert visit.page.locator("#notice").is_hidden()
        visit.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scroll(
    browser: "sync_api.Browser", url: str, scheme: str
) -> None:
    visit = Visit(
        browser,
        url,
        viewport={"width": 390, "height": 844},
        has_touch=True,
        is_mobile=True,
        color_scheme=scheme,
    )
    width = "document.documentElement.scrollWidth"
    assert visit.page.evaluate(width) == 390
    assert visit.page.get_by_role("button", name="Take a photo").is_visible()
    visit.choose(draw_photo(8))
    visit.results()
    assert visit.page.evaluate(width) == 390
    visit.page.locator("a.card").first.tap()
    visit.page.wait_for_selector(".facts dd")
    assert visit.page.evaluate(width) == 390
    ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(251, 251, 250)", "dark": "rgb(18, 19, 22)"}[scheme]
    assert visit.complaints == []
    visit.context.close()
