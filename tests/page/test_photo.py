"""A photo, however it is given, finds items; one that is too large for the wire is made smaller."""

import re
from pathlib import Path

import pytest
from PIL import Image
from tiny_bundle import draw_photo

from page.visit import Visit, text

sync_api = pytest.importorskip("playwright.sync_api")


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


def test_a_large_photo_is_made_smaller_before_it_is_sent(visit: Visit, tmp_path: Path) -> None:
    photo = tmp_path / "phone.jpg"
    Image.effect_noise((4000, 3000), 120).convert("RGB").save(photo, quality=95)
    assert photo.stat().st_size > 10_000_000
    with visit.page.expect_request("**/v1/search*") as request:
        visit.page.set_input_files("#photo", photo)
    assert 100_000 < int(request.value.all_headers()["content-length"]) < 4_000_000
    visit.results()
    assert visit.complaints == []
