"""The page of a search that is not public, in a real browser: the key, the photos, the way out."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tiny_bundle import OPERATOR_SECRET, draw_photo, make_root, site

from page.legible import PALE, TOO_SMALL, TOO_WIDE
from page.visit import PHONE
from serving.sessions import COOKIE

sync_api = pytest.importorskip("playwright.sync_api")

SECRET = "of-the-shop's-own-team-1"
FIRST = "This search is not public"
WRONG = "This key is not known. Check that all of it is there, or ask the shop's team."


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    with site(root, search_keys=f"team:{SECRET}") as url:
        yield url


class Tab:
    """A tab of a browser that knows no key yet, and everything that it complained about."""

    def __init__(self, browser: "sync_api.Browser", url: str, **options: object) -> None:
        self.context = browser.new_context(**{"locale": "en-IE", **options})
        self.context.set_default_timeout(10_000)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url)
        self.field = self.page.get_by_label("Search key")
        self.field.wait_for()

    def text(self, selector: str) -> str:
        return " ".join(self.page.locator(selector).first.inner_text().split())

    def show(self, secret: str) -> None:
        self.field.fill(secret)
        self.field.press("Enter")

    def items(self) -> list[str]:
        self.page.wait_for_selector("#grid[aria-busy=false] a.card")
        return self.page.locator("a.card .title").all_inner_texts()

    def focused(self) -> str:
        found: str = self.page.evaluate("document.activeElement.id")
        return found

    def unexpected(self) -> list[str]:
        """But for Chromium's own line for each answer that is an error."""
        return [
            line for line in self.complaints if "the server responded with a status" not in line
        ]


@pytest.fixture
def tab(browser: "sync_api.Browser", url: str) -> Iterator[Tab]:
    tab = Tab(browser, url)
    yield tab
    tab.context.close()


def test_a_key_opens_the_page_with_its_photos(tab: Tab) -> None:
    page = tab.page
    assert tab.text("#key-form h1") == FIRST
    assert tab.focused() == "key"
    assert tab.field.get_attribute("autocomplete") == "current-password"
    assert page.locator("#hero").is_hidden()
    tab.show(SECRET)
    assert len(tab.items()) == 12
    assert page.locator("#hero").is_visible()
    assert page.locator("#key-form").is_hidden()
    photo = page.locator("a.card img").first
    sync_api.expect(photo).to_have_js_property("naturalWidth", 240)
    [cookie] = tab.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (COOKIE, True, "Strict")
    assert SECRET not in str(cookie)
    assert page.evaluate("document.cookie") == ""
    page.reload()
    assert len(tab.items()) == 12
    page.locator("a.card").first.click()
    page.wait_for_selector(".facts dd")
    assert len(tab.items()) == 24
    assert tab.unexpected() == []


def test_the_keyboard_is_enough_and_a_wrong_key_is_explained(tab: Tab) -> None:
    page = tab.page
    page.keyboard.press("Enter")
    assert tab.text("#key-error") == "Enter the key first."
    page.keyboard.type("a-wrong-key-of-24-letters")
    assert tab.text("#key-error") == ""
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#key-error")).to_have_text(WRONG)
    assert tab.focused() == "key"
    assert tab.field.get_attribute("aria-invalid") == "true"
    assert tab.field.get_attribute("aria-describedby") == "key-error"
    page.keyboard.type(SECRET)  # what was wrong is selected
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert (tab.field.get_attribute("type"), tab.field.input_value()) == ("text", SECRET)
    assert page.get_by_role("button", name="Show the key").get_attribute("aria-pressed") == "true"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert len(tab.items()) == 12
    assert tab.focused() == "main"
    assert tab.unexpected() == []


def test_an_operators_key_is_not_taken(tab: Tab) -> None:
    tab.show(OPERATOR_SECRET)
    sync_api.expect(tab.page.locator("#key-error")).to_have_text(
        "This is an operator's key, which the page never takes. Use a search key."
    )
    assert tab.context.cookies() == []


def test_a_shared_link_leads_there_after_the_key(browser: "sync_api.Browser", url: str) -> None:
    tab = Tab(browser, f"{url}/?item=item-014&view=similar&brand=Norrby")
    tab.show(SECRET)
    assert set(tab.items())
    assert tab.text("#name") == "Pendants no. 14"
    shown = tab.page.locator("#picture")
    sync_api.expect(shown).to_have_js_property("naturalWidth", 240)
    assert tab.page.locator("#chips [data-chip]").all_inner_texts() == ["Norrby"]
    tab.context.close()


def test_a_photo_that_was_chosen_is_searched_once_the_key_is_there(tab: Tab) -> None:
    file = {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": draw_photo(8) + bytes(1_900_000)}
    with tab.page.expect_response("**/v1/search?*") as answer:
        tab.page.set_input_files("#photo", file)
    assert answer.value.status == 401
    tab.field.wait_for()
    tab.show(SECRET)
    assert tab.items()[0] == "Pendants no. 8"


def test_a_session_that_ends_asks_again_and_goes_on(tab: Tab) -> None:
    tab.show(SECRET)
    tab.items()
    tab.page.goto(f"{tab.page.url}?item=item-008")
    before = tab.items()
    [cookie] = tab.context.cookies()
    tab.context.add_cookies([{**cookie, "value": "1.00"}])
    tab.page.get_by_label("In stock only").check()
    tab.field.wait_for()
    assert tab.text("#key-form h1") == "Please enter the key again"
    assert tab.text("#name") == "Pendants no. 8"  # what was asked stays
    assert tab.page.get_by_role("button", name="Sign out").is_hidden()
    tab.show(SECRET)
    found = tab.items()
    assert len(found) == 24
    assert found != before
    assert tab.unexpected() == []


def test_signing_out_leaves_nothing(tab: Tab) -> None:
    page = tab.page
    tab.show(SECRET)
    tab.items()
    page.reload()
    tab.items()
    page.locator("a.card").first.click()
    page.wait_for_selector(".facts dd")
    page.get_by_role("button", name="Sign out").click()
    tab.field.wait_for()
    assert tab.context.cookies() == []
    assert page.locator("a.card").count() == 0
    assert page.get_by_role("button", name="Sign out").is_hidden()
    page.go_back()
    page.wait_for_url("**/?item=*")
    tab.field.wait_for()
    assert page.locator("a.card, .facts dd").count() == 0


def test_where_search_is_public_nothing_asks_for_a_key(
    browser: "sync_api.Browser", root: Path
) -> None:
    with site(root) as url:
        assert httpx.get(f"{url}/v1/session").json() == {"needs_key": False, "key": None}
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        page.wait_for_selector("a.card")
        assert page.locator("#key-form").is_hidden()
        assert page.get_by_role("button", name="Sign out").is_hidden()
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_form_can_be_read_and_used(
    browser: "sync_api.Browser", url: str, scheme: str, width: int
) -> None:
    screen = PHONE if width == 390 else {}
    size = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme}
    tab = Tab(browser, url, **{**screen, **size})
    page = tab.page
    tab.show("a-wrong-key-of-24-letters")
    sync_api.expect(page.locator("#key-error")).to_have_text(WRONG)
    assert (page.evaluate(PALE), page.evaluate(TOO_WIDE)) == ([], [])
    field = tab.field.bounding_box()
    assert field is not None
    assert field["height"] >= 44
    assert field["y"] + field["height"] < 844
    if width == 390:
        assert page.evaluate(TOO_SMALL) == ["Search key"]  # the label of a field that is large
    tab.show(SECRET)
    tab.items()
    page.locator("a.card").first.click()
    page.wait_for_selector(".facts dd")
    tab.items()
    assert (page.evaluate(PALE), page.evaluate(TOO_WIDE)) == ([], [])
    tab.context.close()
