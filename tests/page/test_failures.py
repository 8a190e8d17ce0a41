"""What the page does when an answer is late, refused, or never comes."""

from pathlib import Path

from tiny_bundle import make_root, site

from page.visit import Tab, text, titles


def test_a_slow_answer_does_not_replace_a_newer_one(tab: Tab, url: str) -> None:
    visit = tab(f"{url}/?item=item-008")
    page = visit.page
    visit.results()
    held: list[object] = []
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


def test_a_failure_says_what_the_server_said(tab: Tab, url: str) -> None:
    visit = tab(f"{url}/?item=item-008&min_price=cheap")
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


def test_without_a_bundle_the_page_waits_for_one(tab: Tab, tmp_path: Path) -> None:
    with site(tmp_path) as url:
        visit = tab(url)
        assert text(visit, "#notice h2") == "The catalogue is being prepared"
        make_root(tmp_path, items=20)
        visit.page.wait_for_selector("a.card")
        assert visit.page.locator("#notice").is_hidden()
