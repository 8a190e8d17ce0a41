"""An item and what is like it: its views, more of them, and the way there and back."""

import httpx
from tiny_bundle import draw_photo

from page.visit import Tab, Visit, text, titles


def test_a_sold_out_item_shows_its_substitutes(tab: Tab, url: str) -> None:
    visit = tab(f"{url}/?item=item-014")
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


def test_variants_are_all_that_there_are(tab: Tab, url: str) -> None:
    visit = tab(f"{url}/?item=item-008&view=variants")
    answer = httpx.get(f"{url}/v1/items/item-008/variants").json()
    assert visit.results() == [hit["title"] for hit in answer["hits"]]
    assert visit.page.locator("#more").is_hidden()


def test_more_is_shown(tab: Tab, url: str) -> None:
    visit = tab(f"{url}/?item=item-008")
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


def test_an_address_can_be_shared(tab: Tab, url: str) -> None:
    visit = tab(f"{url}/?item=St%C3%BChle%234%3Fx%3D1%26y%3D2")
    visit.results()
    assert text(visit, "#name") == "Round rugs no. 4"
    visit.page.get_by_role("link", name="Lookalike").click()
    visit.page.wait_for_selector("#hero:not([hidden]) ~ .split a.card")
    assert visit.page.url == f"{url}/"
    assert visit.complaints == []


def test_an_unknown_item_is_explained(tab: Tab, url: str) -> None:
    visit = tab(f"{url}/?item=nobody")
    visit.page.wait_for_selector("#notice:not([hidden])")
    assert text(visit, "#notice h2") == "This item is not in the catalogue"
