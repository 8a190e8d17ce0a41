"""Contrast, width and the size of what is touched, on phones and wide screens, light and dark."""

import pytest
from tiny_bundle import draw_photo

from page.legible import PALE, TOO_SMALL, TOO_WIDE
from page.visit import PHONE, Tab

sync_api = pytest.importorskip("playwright.sync_api")

# Texts with less than 4.5:1 between them and what is behind them (WCAG 2.2, 1.4.3).


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scroll(tab: Tab, url: str, scheme: str) -> None:
    visit = tab(url, **PHONE, color_scheme=scheme)
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


def test_filters_are_a_sheet_on_a_phone(tab: Tab, url: str) -> None:
    visit = tab(f"{url}/?item=item-008", **PHONE, reduced_motion="reduce")
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_words_can_be_read(tab: Tab, url: str, scheme: str) -> None:
    """On a wide screen, in the start, a sold-out item with a filter, and an empty answer."""
    visit = tab(url, viewport={"width": 1440, "height": 900}, color_scheme=scheme)
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
