"""The page for people, in a real browser."""

import base64
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
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


# Texts with less than 4.5:1 between them and what is behind them (WCAG 2.2, 1.4.3).
PALE = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const paint = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((byte) => {
      const c = byte / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const words = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  const seen = (e) => e.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  return [...document.querySelectorAll("body *")].filter((e) => words(e) && seen(e)).filter((e) => {
    const behind = [];
    for (let up = e; up; up = up.parentElement) {
      behind.unshift(getComputedStyle(up).backgroundColor);
    }
    const ground = paint(["#fff", ...behind]);
    const ink = paint(["#fff", ...behind, getComputedStyle(e).color]);
    const [dark, light] = [ground, ink].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05) < 4.5;
  }).map((e) => e.textContent);
}"""
TOO_WIDE = """() => {
  const root = document.documentElement;
  return root.scrollWidth > root.clientWidth || innerWidth > screen.width
    ? [root.scrollWidth, innerWidth] : [];
}"""
# Controls that a finger misses; a link in a line of text may be as high as the line.
TOO_SMALL = """() => [...document.querySelectorAll("button, summary, label, a, [data-edges]")]
  .filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.matches(".skip"))
  .filter((e) => {
    const { width, height } = e.getBoundingClientRect();
    return height < 43.5 || (width < 43.5 && !e.matches("nav a, dd a"));
  }).map((e) => e.textContent || e.dataset.edges)"""
PHONE = {"viewport": {"width": 360, "height": 780}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    with site(root) as url:
        yield url


@pytest.fixture(scope="module")
def boxed_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A site that finds the product in the middle of the upper half of every photo."""
    root = make_root(tmp_path_factory.mktemp("boxed"))
    former = champion(root)
    assert former is not None
    promote(root, add_localiser(root, former.bundle, (0.25, 0.0, 0.75, 0.5)), version="2")
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
        self.page.wait_for_selector("a.card, .notice:not([hidden])")

    def results(self) -> list[str]:
        self.page.wait_for_selector("#query:not([hidden]) ~ .found a.card .likeness")
        self.page.wait_for_selector("#grid[aria-busy=false]")
        return self.page.locator("a.card .title").all_inner_texts()

    def asked(self) -> list[tuple[str, str]]:
        """What the address says."""
        return parse_qsl(urlsplit(self.page.url).query)

    def chips(self) -> list[str]:
        return self.page.locator("#chips [data-chip]").all_inner_texts()

    def tab_to(self, selector: str) -> None:
        """Press Tab until what is meant has the focus."""
        for _ in range(40):
            self.page.keyboard.press("Tab")
            if self.page.evaluate("(s) => document.activeElement.matches(s)", selector):
                return
        raise AssertionError(f"Tab does not lead to {selector}")

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


def titles(url: str, path: str) -> list[str]:
    """Of the hits that the API gives, 24 of them unless the path says."""
    answer = httpx.get(f"{url}/v1/items/{path}{'&' if '?' in path else '?'}k=24")
    return [hit["title"] for hit in answer.raise_for_status().json()["hits"]]


def busy_photo() -> dict[str, str | bytes]:
    """240 by 240, no two parts of it the same, nothing of it plain."""
    blocks = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    photo = io.BytesIO()
    Image.fromarray(blocks).resize((240, 240), Image.Resampling.NEAREST).save(photo, "PNG")
    return {"name": "photo.png", "mimeType": "image/png", "buffer": photo.getvalue()}


@pytest.mark.parametrize("way", ["choose", "drop", "paste"])
def test_a_photo_finds_similar_items(visit: Visit, way: str) -> None:
    if way == "choose":
        visit.choose(draw_photo(8))
    else:
        visit.hand_over(way, draw_photo(8))
    titles = visit.results()
    assert len(titles) == 24
    assert titles[:3] == ["Pendants no. 8", "Pendants no. 44", "Pendants no. 38"]
    assert text(visit, "a.card") == "More like this Same look 100% Pendants no. 8 €17.50 In stock"
    assert text(visit, ".category li") == "Pendants 98% Home › Lamps"
    assert text(visit, "#footer").startswith("Bundle version 1 ")
    assert re.search(r" Index \d+ \w+ old Answered in [\d.]+ ms$", text(visit, "#footer"))
    for image in ("#picture", "a.card img"):
        picture = visit.page.locator(image).first
        sync_api.expect(picture).to_have_js_property("naturalWidth", 240)
    assert visit.complaints == []


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


def test_the_found_box_is_drawn_on_the_photo(browser: "sync_api.Browser", boxed_url: str) -> None:
    """Where it was searched, with the rest of it dim, and gone with the next item."""
    visit = Visit(browser, boxed_url)
    visit.page.set_input_files("#photo", busy_photo())
    visit.results()
    assert part_of(visit) == pytest.approx([0.25, 0.0, 0.5, 0.5], abs=0.03)
    sync_api.expect(visit.page.locator("#dim")).to_be_visible()
    visit.page.locator("a.card").first.click()
    visit.page.wait_for_selector(".facts dd")
    sync_api.expect(visit.page.locator("#box")).to_be_hidden()
    sync_api.expect(visit.page.locator("#dim")).to_be_hidden()
    assert visit.complaints == []
    visit.context.close()


def test_the_box_is_moved_and_resized_by_mouse(browser: "sync_api.Browser", boxed_url: str) -> None:
    visit = Visit(browser, boxed_url)
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
    visit.context.close()


def test_the_box_is_moved_by_touch(browser: "sync_api.Browser", boxed_url: str) -> None:
    visit = Visit(browser, boxed_url, **PHONE)
    visit.page.set_input_files("#photo", busy_photo())
    visit.results()
    box = visit.page.locator("#box").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    fingers = visit.context.new_cdp_session(visit.page)
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
    visit.context.close()


def test_the_box_is_moved_by_keyboard(browser: "sync_api.Browser", boxed_url: str) -> None:
    visit = Visit(browser, boxed_url)
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
    visit.context.close()


def test_filters_are_in_the_address(browser: "sync_api.Browser", url: str) -> None:
    """Each is applied at once, has a chip, and goes with Back; a shared link shows the same."""
    visit = Visit(browser, f"{url}/?item=item-008")
    page = visit.page
    everything = visit.results()
    page.locator("summary", has_text="Category").click()
    assert text(visit, "#categories") == "Home 30 Fashion 20 Sports 10"
    page.get_by_role("button", name="Home 30").click()
    page.get_by_role("button", name="Kitchen 10").click()
    page.get_by_role("button", name="Plates 10").click()
    assert text(visit, "#trail") == "All Home Kitchen Plates"
    page.get_by_role("button", name="Home", exact=True).click()
    page.locator("summary", has_text="Brand").click()
    page.get_by_label("Find a brand").fill("norr")
    assert text(visit, "#brands") == "Norrby 20"
    page.get_by_role("checkbox", name="Norrby 20").check()
    page.locator("summary", has_text="Price").click()
    page.get_by_role("spinbutton", name="From").fill("60")
    page.get_by_role("spinbutton", name="From").press("Enter")
    page.get_by_role("spinbutton", name="To").fill("20.5")
    page.get_by_role("spinbutton", name="To").press("Enter")
    page.get_by_label("In stock only").check()
    page.get_by_label("One per product").check()
    found = visit.results()
    asked = [
        ("category", "Home"),
        ("brand", "Norrby"),
        ("min_price", "20.5"),
        ("max_price", "60"),
        ("in_stock", "true"),
        ("per_product", "1"),
    ]
    assert visit.asked() == [("item", "item-008"), *asked]
    assert found == titles(url, f"item-008/similar?{httpx.QueryParams(asked)}")
    assert visit.chips() == [
        "Home",
        "Norrby",
        "From 20.5",
        "Up to 60",
        "In stock only",
        "One per product",
    ]
    shared = Visit(browser, page.url)
    assert (shared.results(), shared.chips()) == (found, visit.chips())
    shared.context.close()
    page.go_back()
    assert visit.results() == titles(url, f"item-008/similar?{httpx.QueryParams(asked[:-1])}")
    page.get_by_role("button", name="Remove the filter Norrby").click()
    visit.results()
    assert visit.chips() == ["Home", "From 20.5", "Up to 60", "In stock only"]
    page.get_by_role("button", name="Clear all").click()
    assert visit.results() == everything
    assert visit.asked() == [("item", "item-008")]
    assert page.locator("#chips").is_hidden()
    assert visit.complaints == []
    visit.context.close()


def test_attributes_are_filters(browser: "sync_api.Browser", url: str) -> None:
    """One value of each; those of a shared link are shown too, whether or not they are counted."""
    visit = Visit(browser, f"{url}/?item=item-008&attribute=shade:dark:blue")
    page = visit.page
    page.wait_for_selector("#empty .button")
    page.locator("summary", has_text="Details").click()
    colour, shade = (page.get_by_label(name, exact=True) for name in ("colour", "shade"))
    assert colour.locator("option").all_inner_texts() == ["Any", "blue (20)", "red (20)"]
    assert (colour.input_value(), shade.input_value()) == ("", "dark:blue")
    shade.select_option("Any")
    visit.results()
    colour.select_option("blue")
    assert visit.results() == titles(url, "item-008/similar?attribute=colour:blue")
    colour.select_option("red")
    assert visit.results() == titles(url, "item-008/similar?attribute=colour:red")
    assert visit.asked() == [("item", "item-008"), ("attribute", "colour:red")]
    assert visit.chips() == ["colour: red"]
    page.go_back()
    visit.results()
    assert colour.input_value() == "blue"
    page.get_by_role("button", name="Remove the filter colour: blue").click()
    visit.results()
    assert (colour.input_value(), visit.chips()) == ("", [])
    assert visit.complaints == []
    visit.context.close()


def test_a_filter_searches_the_same_photo_again(visit: Visit, url: str) -> None:
    visit.choose(draw_photo(8))
    visit.results()
    with visit.page.expect_request("**/v1/search?*") as request:
        visit.page.get_by_role("button", name="Pendants 98%").click()
    assert request.value.all_headers()["content-length"] == str(len(draw_photo(8)))
    found = visit.results()
    assert {title.split(" no. ")[0] for title in found} == {"Pendants"}
    assert visit.asked() == [("category", "Home > Lamps > Pendants")]
    assert visit.page.evaluate("document.activeElement.dataset.category") == visit.asked()[0][1]
    visit.page.locator("a.card").nth(1).click()
    visit.page.wait_for_selector(".facts dd")
    assert visit.chips() == ["Home › Lamps › Pendants"]
    visit.page.go_back()
    visit.page.wait_for_selector(".category li")
    assert visit.results() == found
    visit.choose(draw_photo(9))
    visit.results()
    assert visit.chips() == []  # another photo may show something else
    assert visit.complaints == []


def test_filters_that_were_shared_wait_for_a_photo(browser: "sync_api.Browser", url: str) -> None:
    visit = Visit(browser, f"{url}/?brand=Norrby")
    assert text(visit, "#lead") == "These filters wait for your photo."
    visit.choose(draw_photo(8))
    visit.results()
    assert set(visit.page.locator("a.card .maker").all_inner_texts()) == {"Norrby"}
    assert (visit.asked(), visit.chips()) == ([("brand", "Norrby")], ["Norrby"])
    visit.context.close()


def test_filters_by_keyboard(browser: "sync_api.Browser", url: str) -> None:
    visit = Visit(browser, f"{url}/?item=item-008")
    page = visit.page
    visit.results()
    visit.tab_to("#by-category summary")
    page.keyboard.press("Enter")
    visit.tab_to("#categories button")
    page.keyboard.press("Enter")
    visit.results()
    assert text(visit, ":focus") == "Home"
    page.keyboard.press("Escape")
    assert page.locator("#by-category .panel").is_hidden()
    assert text(visit, ":focus") == "Category"
    visit.tab_to("#by-brand summary")
    page.keyboard.press("Enter")
    visit.tab_to("#brands input")
    page.keyboard.press("Space")
    visit.results()
    assert page.evaluate("document.activeElement.checked")
    visit.tab_to("[data-chip]")
    page.keyboard.press("Enter")
    visit.results()
    assert visit.asked() == [("item", "item-008"), ("brand", "Norrby")]
    assert text(visit, ":focus") == "Norrby"
    assert visit.complaints == []
    visit.context.close()


def test_a_sold_out_item_shows_its_substitutes(browser: "sync_api.Browser", url: str) -> None:
    visit = Visit(browser, f"{url}/?item=item-014")
    page = visit.page
    assert visit.results() == titles(url, "item-014/substitutes")
    assert text(visit, "#heading") == "Sold out: these are in stock"
    assert set(page.locator("a.card .stock").all_inner_texts()) == {"In stock"}
    assert text(visit, ".about") == (
        "Home Lamps Pendants Pendants no. 14 €23.50 Sold out Colour red"
    )
    views = {
        "Similar": ("similar", "Similar items"),
        "Goes on the same page": ("lookalikes", "Goes on the same page"),
        "Substitutes": ("substitutes", "Sold out: these are in stock"),
    }
    for name, (view, heading) in views.items():
        page.get_by_role("link", name=name).click()
        page.wait_for_url(f"**&view={view}")
        assert visit.results() == titles(url, f"item-014/{view}")
        assert text(visit, "#heading") == heading
        assert page.locator("[aria-current=page]").all_inner_texts() == [name]
        assert text(visit, ":focus") == name
        assert page.locator("#filters").is_visible() == (view == "similar")
    page.go_back()
    page.wait_for_selector("#tabs a:nth-child(3)[aria-current]")
    assert visit.results() == titles(url, "item-014/lookalikes")
    page.locator("#facts").get_by_role("link", name="red").click()
    visit.results()
    assert visit.chips() == ["colour: red"]
    assert visit.complaints == []
    visit.context.close()


def test_variants_are_all_that_there_are(browser: "sync_api.Browser", url: str) -> None:
    visit = Visit(browser, f"{url}/?item=item-008&view=variants")
    answer = httpx.get(f"{url}/v1/items/item-008/variants").json()
    assert visit.results() == [hit["title"] for hit in answer["hits"]]
    assert visit.page.locator("#more").is_hidden()
    visit.context.close()


def test_more_is_shown(browser: "sync_api.Browser", url: str) -> None:
    visit = Visit(browser, f"{url}/?item=item-008")
    first = visit.results()
    more = visit.page.get_by_role("button", name="Show more")
    for count in (24, 48):
        assert len(visit.results()) == count
        more.click()
        visit.page.wait_for_selector(f"#grid li:nth-child({count + 1})")
        focused = "[...document.querySelectorAll('a.card')].indexOf(document.activeElement)"
        assert visit.page.evaluate(focused) == count
    assert visit.results()[:24] == first
    assert len(visit.results()) == 59
    assert visit.asked() == [("item", "item-008"), ("k", "72")]
    assert more.is_hidden()
    place = visit.page.evaluate("scrollY")
    assert place > 500
    visit.page.locator("a.card").nth(30).click()
    visit.page.wait_for_url("**/?item=item-*")
    visit.results()
    visit.page.go_back()
    visit.page.wait_for_selector("#grid li:nth-child(59)")
    assert visit.page.evaluate("scrollY") > 500
    visit.context.close()


def test_an_empty_answer_says_what_to_loosen(browser: "sync_api.Browser", url: str) -> None:
    visit = Visit(browser, f"{url}/?item=item-008&brand=Norrby&max_price=2&in_stock=true")
    page = visit.page
    page.wait_for_selector("#empty .button")
    assert text(visit, "#empty") == (
        "Nothing matches Nothing has all of these filters. Loosen one: Any price Clear all filters"
    )
    assert text(visit, "#status") == "0 items"
    page.get_by_role("button", name="Any price").click()
    assert visit.results() == titles(url, "item-008/similar?brand=Norrby&in_stock=true")
    assert visit.chips() == ["Norrby", "In stock only"]
    assert page.locator("#empty").is_hidden()
    assert page.evaluate("document.activeElement.id") == "heading"
    page.goto(f"{url}/?item=item-008&brand=nobody&max_price=2")
    page.get_by_role("button", name="Clear all filters").click()
    assert len(visit.results()) == 24
    visit.context.close()


def test_a_slow_answer_does_not_replace_a_newer_one(visit: Visit, url: str) -> None:
    page = visit.page
    page.goto(f"{url}/?item=item-008")
    visit.results()
    held: list[sync_api.Route] = []
    page.route("**/similar?*brand=Norrby*", lambda route: held.append(route))
    page.locator("summary", has_text="Brand").click()
    page.get_by_role("checkbox", name="Norrby 20").check()
    page.wait_for_selector("#grid[aria-busy=true]")
    page.get_by_role("checkbox", name="Norrby 20").uncheck()
    page.get_by_label("In stock only").check()
    newer = visit.results()
    assert newer == titles(url, "item-008/similar?in_stock=true")
    assert len(held) == 1
    page.wait_for_timeout(50)
    assert (visit.results(), visit.chips()) == (newer, ["In stock only"])
    assert visit.complaints == []


def test_a_failure_says_what_the_server_said(browser: "sync_api.Browser", url: str) -> None:
    visit = Visit(browser, f"{url}/?item=item-008&min_price=cheap")
    page = visit.page
    message = "Invalid `min_price`. Expected a number, at least 0. Received: 'cheap'."
    assert text(visit, "#notice h2") == "This search is not possible"
    assert text(visit, ".said") == message
    page.get_by_role("button", name="Clear all filters").click()
    assert len(visit.results()) == 24
    page.route("**/similar?*", lambda route: route.abort())
    page.get_by_label("In stock only").check()
    page.wait_for_selector("#notice:not([hidden])")
    assert text(visit, "#notice h2") == "The server cannot be reached"
    assert text(visit, "#name") == "Pendants no. 8"  # what was asked stays
    page.unroute("**/similar?*")
    page.get_by_role("button", name="Try again").click()
    assert visit.results() == titles(url, "item-008/similar?in_stock=true")
    assert page.locator("#notice").is_hidden()
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
    assert text(visit, ".about") == "Home Lamps Pendants Pendants no. 44 €53.50 In stock Colour red"
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
    assert text(visit, "#name") == "Round rugs no. 4"
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
    visit.tab_to("a.card")
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
    visit: Visit, tmp_path: Path, data: bytes, title: str
) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(data)
    visit.page.set_input_files("#photo", file)
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
    visit = Visit(browser, url, **PHONE, color_scheme=scheme)
    page = visit.page
    assert page.evaluate(TOO_WIDE) == []
    assert page.get_by_role("button", name="Take a photo").is_visible()
    visit.choose(draw_photo(8))
    visit.results()
    assert (page.evaluate(TOO_WIDE), page.evaluate(TOO_SMALL)) == ([], [])
    assert page.evaluate(PALE) == []
    page.locator("a.card").first.tap()
    page.wait_for_selector(".facts dd")
    visit.results()
    assert (page.evaluate(TOO_WIDE), page.evaluate(TOO_SMALL)) == ([], [])
    assert page.evaluate(PALE) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(251, 251, 250)", "dark": "rgb(18, 19, 22)"}[scheme]
    assert visit.complaints == []
    visit.context.close()


def test_filters_are_a_sheet_on_a_phone(browser: "sync_api.Browser", url: str) -> None:
    visit = Visit(browser, f"{url}/?item=item-008", **PHONE, reduced_motion="reduce")
    page = visit.page
    visit.results()
    page.get_by_role("button", name="Filters").tap()
    assert page.evaluate("document.getAnimations()") == []
    page.locator("summary", has_text="Category").tap()
    page.get_by_role("button", name="Home 30").tap()
    page.get_by_label("In stock only").tap()
    visit.results()
    sheet = page.get_by_role("dialog", name="Filters")
    assert (page.evaluate(TOO_WIDE), page.evaluate(TOO_SMALL)) == ([], [])
    assert page.evaluate(PALE) == []
    sheet.get_by_role("button", name="Show items").tap()
    sync_api.expect(sheet).to_be_hidden()
    assert visit.chips() == ["Home", "In stock only"]
    assert page.get_by_role("button", name="Filters (2)").is_visible()
    assert visit.complaints == []
    visit.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_words_can_be_read(browser: "sync_api.Browser", url: str, scheme: str) -> None:
    """On a wide screen, in the start, a sold-out item with a filter, and an empty answer."""
    visit = Visit(browser, url, viewport={"width": 1440, "height": 900}, color_scheme=scheme)
    assert (visit.page.evaluate(PALE), visit.page.evaluate(TOO_WIDE)) == ([], [])
    visit.page.goto(f"{url}/?item=item-014&view=similar&brand=Norrby")
    visit.results()
    visit.page.locator("summary", has_text="Price").click()
    assert (visit.page.evaluate(PALE), visit.page.evaluate(TOO_WIDE)) == ([], [])
    visit.page.set_viewport_size({"width": 780, "height": 900})
    assert visit.page.evaluate(TOO_WIDE) == []
    visit.page.goto(f"{url}/?item=item-014&view=similar&brand=nobody")
    visit.page.wait_for_selector("#empty .button")
    assert visit.page.evaluate(PALE) == []
    visit.context.close()
