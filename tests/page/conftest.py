"""One browser and one shop for all tests of the page: to start them takes longer than most tests.

They end with the folder, not with the session: while Playwright runs, no other test can have an
event loop.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tiny_bundle import make_root, site

from page.visit import Tab, Visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
OPTIONS: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, "locale": "en-IE"}
Spare = dict[str, list["Page"]]
"""Tabs that no test has, by the options of their context. What is in the caches of one makes the
next visit twice as fast."""


@pytest.fixture(scope="package")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with site(make_root(tmp_path_factory.mktemp("shop"))) as url:
        yield url


@pytest.fixture(scope="package")
def browser() -> Iterator["Browser"]:
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip("needs Chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def spare() -> Spare:
    return {}


@pytest.fixture
def tab(browser: "Browser", spare: Spare) -> Iterator[Tab]:
    visits: list[tuple[str, Visit]] = []

    def tab(url: str, **options: object) -> Visit:
        wanted = {**OPTIONS, **options}
        alike = spare.setdefault(str(wanted), [])
        page = alike.pop() if alike else browser.new_context(**wanted).new_page()
        page.set_default_timeout(10_000)
        page.set_viewport_size(wanted["viewport"])
        visits.append((str(wanted), Visit(page, url)))
        return visits[-1][1]

    yield tab
    for wanted, visit in visits:
        visit.leave()
        spare[wanted].append(visit.page)


@pytest.fixture
def visit(tab: Tab, url: str) -> Visit:
    return tab(url)
