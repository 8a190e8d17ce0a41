"""A page of one file in Debian's Chromium, at the widths of a phone, a tablet and a desk.

for page in at_every_width(path): ...  # loaded whole: nothing asked for, said or cut off
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
WIDTHS = (320, 390, 768, 1440)

needs_chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium")


def at_every_width(path: Path) -> Iterator["Page"]:
    """No wider than the window, every picture there, no request but the page's own, no message."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        for width in WIDTHS:
            page = browser.new_page(viewport={"width": width, "height": 800})
            asked: list[str] = []
            said: list[str] = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.on("console", lambda message, said=said: said.append(message.text))
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.evaluate("[...document.images].every((image) => image.naturalWidth)")
            yield page
            others = [url for url in asked if not url.startswith("data:")]
            assert (others, said) == ([path.as_uri()], [])
            page.close()
        browser.close()
