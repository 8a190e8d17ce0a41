"""The gate's page: whole in one file, safe whatever the feed says, readable on a phone."""

import base64
import io
import re
from collections.abc import Sequence
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pages_in_browser import at_every_width, needs_chromium
from PIL import Image

from pipelines.answer_row import Shown
from pipelines.gate_page import THUMBNAIL, gate_page
from pipelines.settings import Gate
from pipelines.verdict import Answers, Health, Rival, Slice, choose, judge
from pipelines.worst_queries import Worst

DAY = date(2026, 11, 20)
EVIL = "<script>alert('x')</script>\" onload=\"x & `b`"
VOID = {"meta", "img", "circle", "br"}


class Document(HTMLParser):
    """Every tag with its attributes, the text, and whether tags close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def photos(keys: Sequence[str]) -> list[npt.NDArray[np.uint8]]:
    """A plain photo of its own brightness for each key."""
    return [np.full((200, 200, 3), 40 + int(key), np.uint8) for key in keys]


def record(names: Sequence[tuple[str, float]] = (("all", 0.99),), **given: Any) -> dict[str, Any]:
    """A verdict as the gate keeps it; `names` are slices and their lower bounds."""
    health = Health(
        10, 1000, given.pop("missing", {}), 0, 0, 0, 0, 256, 1.0, 0.9981, {}, {"p50": 1, "p99": 2}
    )
    slices = tuple(Slice(name, 200, least + 0.005, least, 0.002, 0, 0.003) for name, least in names)
    rivals = (Rival("all", 200, 0.61, 0.62, 0.01),)
    answers = Answers("float32", 2000.0, 1.0, slices, rivals, 0.61, 0.02, {})
    verdict, precisions = choose([judge(health, answers, Gate())], {"int8": EVIL})
    return {
        **verdict.to_json(),
        "precisions": precisions,
        "bytes_per_item": 384.4,
        "space_id": "9ca1",
        "churn": {
            "against_champion": 0.031,
            "noise": 0.011,
            "net": 0.02,
            "recall": 0.99,
            "recall_again": 0.98,
        },
        **given,
    }


def worst(title: str = "Lamp") -> list[Worst]:
    nearest = tuple(Shown(str(n), title, "Home > Lamps", 0.9 - n / 100, n == 2) for n in range(3))
    given = tuple(Shown(str(n), title, "Home > Lamps", 0.9 - n / 100, n == 3) for n in (0, 1, 3))
    return [
        Worst(Shown("9", title, "Home > Lamps", 1.0), "wild", (1.0, 1.0, 2 / 3), nearest, given)
    ]


def test_it_needs_nothing_but_itself() -> None:
    page = gate_page(DAY, record(), worst(), photos)
    document = Document(page)
    assert document.open == []
    used = [v for _, attributes in document.tags for n, v in attributes.items() if n in LINKS]
    assert len(used) == 7
    assert all(str(value).startswith("data:image/jpeg;base64,") for value in used)
    assert re.findall(r"url\(|@import|https?:", page) == []
    assert {"script", "link", "iframe", "form"} & {tag for tag, _ in document.tags} == set()


LINKS = {"src", "href", "srcset", "action", "data"}


def test_thumbnails_are_the_photos() -> None:
    page = gate_page(DAY, record(), worst(), photos)
    sources = [str(image["src"]) for image in Document(page).all("img")]
    for source, key in zip(sources, ("9", "0", "1", "2", "0", "1", "3"), strict=True):
        image = Image.open(io.BytesIO(base64.b64decode(source.split(",")[1])))
        assert (image.format, image.size) == ("JPEG", (THUMBNAIL, THUMBNAIL))
        assert abs(int(np.asarray(image).mean()) - 40 - int(key)) <= 1


def test_what_the_feed_says_is_text() -> None:
    """As a title, a category of a slice, a missing category, and a reason of the embedder."""
    names = (("all", 0.99), (f"category {EVIL}", 0.5))
    page = gate_page(DAY, record(names, missing={EVIL: 2}), worst(EVIL), photos)
    document = Document(page)
    assert document.open == []
    assert "script" not in {tag for tag, _ in document.tags}
    assert all("onload" not in attributes for _, attributes in document.tags)
    assert f"category {EVIL}" in [text.strip() for text in document.text]
    assert [str(image["alt"]) for image in document.all("img")] == [
        "",
        f"{EVIL}, Home > Lamps",
        f"{EVIL}, Home > Lamps",
        f"missed: {EVIL}, Home > Lamps",
        f"{EVIL}, Home > Lamps",
        f"{EVIL}, Home > Lamps",
        f"instead: {EVIL}, Home > Lamps",
    ]


def test_guilty_slices_come_first_and_are_marked() -> None:
    names = (("all", 0.99), ("held-out", 0.97), ("wild", 0.7), ("new", 0.91), ("filter 1 %", 0.2))
    page = gate_page(DAY, record(names), [], photos)
    rows = re.findall(r'<tr class="(\w+)">\n<th scope="row">([^<]*?) ?<(.)', page)
    assert rows == [
        ("guilty", "wild", "s"),
        ("guilty", "filter 1 %", "s"),
        ("judged", "all", "/"),
        ("judged", "held-out", "/"),
        ("judged", "new", "/"),
    ]
    assert page.count("below its bound") == 2
    assert "This index may not serve." in page
    assert page.count("<li>slice <b>") == 2


def test_a_good_day_says_so() -> None:
    page = gate_page(DAY, record(), [], photos)
    assert "<title>Gate of 20 November 2026: passed</title>" in page
    assert (
        "It finds at least 0.990 of the 10 nearest items; 0.95 is needed. 1 slice had enough "
        "queries to be judged, and none is below its bound."
    ) in page
    assert "No query missed a neighbour." in page
    for figure in ("2.00 ms", "384 bytes", "1.0000", "0.9981", "0.610", "0.020"):
        assert f"<dd>{figure}</dd>" in page
    assert (
        "0.031 of the champion’s answers changed, 0.011 between two builds of this index, which "
        "find 0.990 and 0.980"
    ) in page


def test_a_first_day_without_queries() -> None:
    empty = {"against_champion": None, "noise": 0.0, "net": None, "recall": None}
    day = record((), churn={**empty, "recall_again": None}, rivals=[])
    page = gate_page(DAY, day, [], photos)
    assert Document(page).open == []
    assert "There was nothing to ask it with." in page
    assert "nothing to compare with; 0.000 between two builds of this index<" in page
    assert "Beside what serves now" not in page


def test_where_it_was_lost_is_told() -> None:
    page = gate_page(DAY, record(), worst(), photos)
    assert "2 of 3 found" in page
    assert '<span class="soft">engine lost 1</span>' in page
    assert (page.count("<li class=missed"), page.count("<li class=instead")) == (1, 1)


@needs_chromium
def test_a_browser_shows_it_at_any_width(tmp_path: Path) -> None:
    names = (("all", 0.99), ("category Arts, crafts and very long names of things", 0.4))
    path = tmp_path / "gate.html"
    path.write_text(gate_page(DAY, record(names), worst(EVIL) * 3, photos))
    for page in at_every_width(path):
        box = page.locator("tr.guilty .bar i.found").bounding_box()
        assert box is not None
        assert box["width"] > 0
