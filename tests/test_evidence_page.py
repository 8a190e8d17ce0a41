"""The evidence as a page: whole in one file, safe whatever the feed says, readable on a phone."""

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pages_in_browser import WIDTHS, at_every_width, needs_chromium
from test_gate_page import EVIL, LINKS, Document, record

from pipelines.answer_row import Shown
from pipelines.changed_queries import Changed, Query
from pipelines.evidence_page import Page, evidence_page
from pipelines.evidence_record import (
    AnswerFacts,
    DataFacts,
    Evidence,
    Serving,
    Shift,
    StepCost,
)
from pipelines.page import picture
from serving.ledger import Entry

DAY, BEFORE = date(2026, 11, 20), date(2026, 11, 19)
PHOTO = picture(np.full((8, 8, 3), 90, np.uint8))


def manifest(text: str = "scann", **given: Any) -> dict[str, Any]:
    return {
        "embedder": "b60d", "trained": "2026-11-19", "precision": "int8", "space_id": "1981",
        "pixel_spec": "decode|orient|resize(64)|pad", "files": {},
        "index": {"engine": text, "form": "tree", "effort": {"leaves": 7}, "dimensions": 96},
        "verdict": record((("all", 0.97), (f"category {text}", 0.94))), **given,
    }  # fmt: skip


def evidence(text: str = "Lamps", **given: Any) -> Evidence:
    """Of a second day; `text` wherever the feed speaks."""
    data = DataFacts(
        items=101, champion_items=100, added=3, removed=2, changed=1, restated={"in_stock": 4},
        categories_added=(text,), categories_gone=(text,), categories_moved={text: (text, "B")},
        categories_unlearned=(text,), shifts=(Shift(category=text, was=5, now=3),),
    )  # fmt: skip
    facts: dict[str, Any] = {
        "ds": DAY, "bundle": "680a", "champion": "d88e", "champion_ds": BEFORE,
        "champion_version": "1", "champion_fault": None, "data": data, "retrained": False,
        "space_changed": False, "recall": 0.975, "champion_recall": 0.98, "leaf_precision": 0.61,
        "champion_leaf_precision": 0.62, "churn_net": 0.02,
        "answers": AnswerFacts(
            asked={"photos": 1, "items": 1}, overlap=0.75, overlaps={"photos": 0.5, "items": 1.0},
            queries_changed=1,
        ),
        "serving": Serving(
            p50_ms={"items": 12.0, "photos": 80.0},
            p99_ms={"items": 40.04, "photos": 296.2}, load_seconds=17.42, memory_bytes=400_500_000
        ),
        "champion_serving": Serving(
            p50_ms={"items": 11.0, "photos": None},
            p99_ms={"items": 33.0, "photos": None}, load_seconds=None, memory_bytes=None
        ),
        "steps": (
            StepCost(step="ingest", seconds=1.5, rows=4002),
            StepCost(step="train", seconds=600.0, rows=3292),
        ),
    }  # fmt: skip
    return Evidence(**{**facts, **given})


def first() -> Evidence:
    """Of a shop's first day."""
    nothing = ("champion", "champion_ds", "champion_version", "champion_recall", "churn_net",
               "champion_leaf_precision", "champion_serving")  # fmt: skip
    return evidence(
        data=DataFacts(items=1), answers=AnswerFacts(), retrained=True, **dict.fromkeys(nothing)
    )


def changed(text: str = "Lamp", image: str = "a.jpg") -> Changed:
    same, gone, new = (
        Shown(image, f"{text} {n}", text, 0.9 - n / 10, marked=n > 0) for n in range(3)
    )
    return Changed(Query("photos", "9", text, text, image), 0.5, 2, (same, gone), (same, new))


def decision(text: str = "policy") -> Entry:
    return Entry(
        at=datetime(2026, 11, 20, 9, 30, tzinfo=UTC), action="promote", who=text, why=text, ds=DAY,
        version="2", former="d88e", bundle="680a",
    )  # fmt: skip


def shown(text: str = "Lamp", **given: Any) -> Page:
    page: dict[str, Any] = {
        "evidence": evidence(text), "manifest": manifest(text), "former": manifest(text),
        "changed": [changed(text)], "thumbnails": {"a.jpg": PHOTO}, "decisions": [decision(text)],
    }  # fmt: skip
    return Page(**{**page, **given})


def first_page() -> str:
    return evidence_page(shown(evidence=first(), former=None, changed=[], decisions=[]))


def test_its_parts_come_in_the_order_of_a_decision() -> None:
    page = evidence_page(shown())
    assert Document(page).open == []
    assert re.findall(r"<h[12]>(.*)</h", page) == [
        "Should this bundle serve?",
        "Items",
        "Categories",
        "Model",
        "Index",
        "Recall by slice",
        "Answers of the right category",
        "What shoppers would see",
        "Churn, net of luck",
        "A server on it",
        "What the day took",
        "Decisions so far",
    ]


def test_what_it_would_replace_and_what_changes_is_told_first() -> None:
    page = evidence_page(shown())
    assert (
        "It holds 101 items of 20 November 2026, and would replace version 1, the bundle of "
        "19 November 2026. 3 items are new, 2 gone, 1 with another photo. The embedder is the same."
    ) in page
    figures = re.findall(r"<dt>(.*)</dt><dd>(.*)</dd><dd class='soft'>(.*)</dd>", page)
    assert figures == [
        ("answers that stay", "75.0%", "1 of 2 queries changed"),
        ("recall", "0.975", "0.980 with what serves now"),
        ("answers of the right category", "0.610", "0.620 with what serves now"),
        ("a photo’s answer, p99", "296 ms", "nothing to compare with"),
    ]


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the tables below a heading, as text."""
    section = page.split(f"<h2>{heading}</h2>")[1].split("</section>")[0]
    lines = re.findall(r"<tr[^>]*>(<th scope.*)</tr>", section)
    cells = (re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in lines)
    return [[re.sub("<[^>]*>", "", cell) for cell in line] for line in cells]


def test_the_tables() -> None:
    page = evidence_page(shown(former=manifest("Lamp", embedder="a1")))
    assert rows(page, "Items") == [
        ["before", "100"],
        ["new", "3"],
        ["gone", "2"],
        ["now", "101"],
        ["with another photo", "1"],
        ["with another stock", "4"],
        ["Lamp", "5", "3", "−2"],
    ]
    assert rows(page, "Model")[:2] == [
        ["embedder", "a1", "b60d"],
        ["trained", "2026-11-19", "2026-11-19"],
    ]
    assert page.count("<tr class=other>") == 1
    assert rows(page, "Index")[:3] == [
        ["engine", "Lamp", "Lamp"],
        ["form", "tree", "tree"],
        ["effort", "leaves 7", "leaves 7"],
    ]
    assert rows(page, "Recall by slice") == [
        ["all", "200", "0.975", "0.975", "0.970", "0.95"],
        ["category Lamp", "200", "0.945", "0.945", "0.940", "0.90"],
    ]
    assert rows(page, "Answers of the right category") == [
        ["all", "200", "0.610", "0.620", "−0.010"]
    ]
    assert rows(page, "A server on it") == [
        ["p99 of items", "33.0 ms", "40.0 ms"],
        ["p99 of photos", "–", "296.2 ms"],
        ["ready after", "–", "17.4 s"],
        ["memory", "–", "400 MB"],
    ]
    assert rows(page, "What the day took") == [
        ["ingest", "", "4,002", "1.5 s"],
        ["train", "", "3,292", "10 min"],
    ]
    assert rows(page, "Decisions so far") == [["2026-11-20 09:30 UTC", "promoted", "Lamp", "Lamp"]]


def test_churn_is_told_in_one_sentence() -> None:
    assert (
        "Of the champion’s answers to the gate’s queries 3.10% are others now, and two builds of "
        "this very index differ in 1.10%, so 2.00% is change and the rest is luck."
    ) in evidence_page(shown())
    assert (
        "Two builds of this very index differ in 1.10% of their answers; the gate did not compare "
        "it with what serves now."
    ) in first_page()


def test_what_changes_is_framed_and_a_photo_that_is_gone_is_an_empty_tile() -> None:
    page = evidence_page(shown())
    assert (page.count("<li class=gone"), page.count("<li class=new")) == (1, 1)
    assert "1 of 2 stay" in page
    assert [image["alt"] for image in Document(page).all("img")] == [
        "", "Lamp 0, Lamp", "gone: Lamp 1, Lamp", "Lamp 0, Lamp", "new: Lamp 2, Lamp",
    ]  # fmt: skip
    page = evidence_page(shown(thumbnails={}))
    assert (page.count("<img"), page.count('class="tile empty"')) == (0, 5)
    assert Document(page).open == []


def test_a_first_bundle_has_nothing_beside_it() -> None:
    page = first_page()
    assert Document(page).open == []
    assert (
        "It is the first: nothing serves yet, so there is nothing to compare it with. It holds "
        "1 item of 20 November 2026."
    ) in page
    assert "Serves now" not in page
    assert "What shoppers would see" not in page
    assert "Decisions so far" not in page


def test_a_champion_that_cannot_be_read_is_told() -> None:
    fault = evidence(champion_fault="its <file> is gone", data=DataFacts(items=7))
    page = evidence_page(shown(evidence=fault, former=None, changed=[]))
    assert (
        "What serves now could not be read, so nothing is compared with it: its &lt;file&gt; is "
        "gone"
    ) in page
    assert "would replace version 1, the bundle of 19 November 2026.</p>" in page


def test_the_same_answers_are_told() -> None:
    same = AnswerFacts(asked={"photos": 2}, overlap=1.0, overlaps={"photos": 1.0})
    page = evidence_page(shown(evidence=evidence(answers=same), changed=[]))
    assert "All 2 queries are answered as before." in page


def test_it_needs_nothing_but_itself() -> None:
    page = evidence_page(shown())
    document = Document(page)
    used = [v for _, attributes in document.tags for n, v in attributes.items() if n in LINKS]
    assert used == [PHOTO] * 5
    assert re.findall(r"url\(|@import|https?:", page) == []
    assert {"script", "link", "iframe", "form"} & {tag for tag, _ in document.tags} == set()


HOSTILE = st.one_of(
    st.text(alphabet="<>\"'&/=`{} script", max_size=30),
    st.sampled_from([EVIL, "</style><script>", "'><img src=x onerror=y>", "&lt;b&gt;"]),
)


@hypothesis_settings(max_examples=30)
@given(HOSTILE)
def test_whatever_the_feed_says_is_text(text: str) -> None:
    """The tags and attributes are those of a page without it, and its text is there."""
    hostile, plain = (Document(evidence_page(shown(word))) for word in (text, "Lamp"))
    assert hostile.open == []
    names = [[(tag, [*attributes]) for tag, attributes in d.tags] for d in (hostile, plain)]
    assert names[0] == names[1]
    assert f"category {text}".strip() in [found.strip() for found in hostile.text]


@needs_chromium
def test_a_browser_shows_it_at_any_width(tmp_path: Path) -> None:
    path = tmp_path / "evidence.html"
    path.write_text(evidence_page(shown(f"{EVIL} {'long' * 30}")))
    assert len([*at_every_width(path)]) == len(WIDTHS)
