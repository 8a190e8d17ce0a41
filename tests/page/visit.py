"""A tab of a real browser on the page, and what a visitor does there."""

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import httpx

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Error, Page

HAND_OVER = """([kind, name, data]) => {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
  const event = kind === "paste"
    ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
    : new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""
PHONE = {"viewport": {"width": 360, "height": 780}, "has_touch": True, "is_mobile": True}


class Visit:
    """A tab and everything that it complained about."""

    def __init__(self, page: "Page", url: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", self._error)
        self.page.goto(url)
        self.page.wait_for_selector("a.card, .notice:not([hidden])")

    def leave(self) -> None:
        """Nothing of the visit stays in the tab, so that another can be made in it."""
        self.page.remove_listener("console", self._console)
        self.page.remove_listener("pageerror", self._error)
        self.page.unroute_all()
        self.page.goto("about:blank")

    def _console(self, message: "ConsoleMessage") -> None:
        self.complaints.append(message.text)

    def _error(self, error: "Error") -> None:
        self.complaints.append(str(error))

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


def text(visit: Visit, selector: str) -> str:
    return " ".join(visit.page.locator(selector).first.inner_text().split())


def titles(url: str, path: str) -> list[str]:
    """Of the hits that the API gives, 24 of them unless the path says."""
    answer = httpx.get(f"{url}/v1/items/{path}{'&' if '?' in path else '?'}k=24")
    return [hit["title"] for hit in answer.raise_for_status().json()["hits"]]


Tab = Callable[..., Visit]  # `tab(url, **options)`: options of the context, such as PHONE
