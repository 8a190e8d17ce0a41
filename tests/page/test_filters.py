"""What may be found: in the address, on chips, by keyboard, and when nothing is left."""

import httpx
from tiny_bundle import draw_photo

from page.visit import Tab, Visit, text, titles


def test_filters_are_in_the_address(tab: Tab, url: str) -> None:
    """Each is applied at once, has a chip, and goes with Back; a shared link shows the same."""
    visit = tab(f"{url}/?item=item-008")
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
    shared = tab(page.url)
    assert (shared.results(), shared.chips()) == (found, visit.chips())
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


def test_filters_that_were_shared_wait_for_a_photo(tab: Tab, url: str) -> None:
    visit = tab(f"{url}/?brand=Norrby")
    assert text(visit, "#lead") == "These filters wait for your photo."
    visit.choose(draw_photo(8))
    visit.results()
    assert set(visit.page.locator("a.card .maker").all_inner_texts()) == {"Norrby"}
    assert (visit.asked(), visit.chips()) == ([("brand", "Norrby")], ["Norrby"])


def test_filters_by_keyboard(tab: Tab, url: str) -> None:
    visit = tab(f"{url}/?item=item-008")
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


def test_an_empty_answer_says_what_to_loosen(tab: Tab, url: str) -> None:
    visit = tab(f"{url}/?item=item-008&brand=Norrby&max_price=2&in_stock=true")
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


def test_attributes_are_filters(tab: Tab, url: str) -> None:
    """One value of each; those of a shared link are shown too, whether or not they are counted."""
    visit = tab(f"{url}/?item=item-008&attribute=shade:dark:blue")
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
