"""The evidence for a candidate as one page of HTML, from which a reviewer decides alone.

Style and pictures are inside it, and there is no script. Whatever comes from the feed or the
ledger is escaped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from pipelines.changed_queries import Changed
from pipelines.evidence_answers import changed_section, churn_section, gate_section, right_section
from pipelines.evidence_record import Evidence
from pipelines.evidence_tables import (
    items_section,
    model_section,
    serving_section,
    taxonomy_section,
)
from pipelines.evidence_words import DASH, count_of, counted, day, figure
from pipelines.page import page
from serving.ledger import Entry

DID = {"promote": "promoted", "rollback": "rolled back to"}


@dataclass(frozen=True)
class Page:
    """All that is shown."""

    evidence: Evidence
    manifest: Mapping[str, Any]
    former: Mapping[str, Any] | None  # of the champion
    changed: Sequence[Changed]
    thumbnails: Mapping[str, str]  # data URIs by where the photos are
    decisions: Sequence[Entry]


def evidence_page(shown: Page) -> str:
    """The whole document."""
    evidence = shown.evidence
    body = "".join(
        (
            _sentence(evidence),
            items_section(evidence.data),
            taxonomy_section(evidence.data),
            model_section(shown.manifest, shown.former),
            gate_section(shown.manifest["verdict"], shown.former),
            right_section(shown.manifest["verdict"]),
            changed_section(evidence.answers, shown.changed, shown.thumbnails),
            churn_section(shown.manifest["verdict"]["churn"], evidence.churn_net),
            serving_section(evidence),
            _decisions(shown.decisions, evidence.bundle),
        )
    )
    return page(
        f"Evidence for the bundle of {day(evidence.ds)}",
        f'<time datetime="{evidence.ds}">Evidence of {day(evidence.ds)}</time>',
        body,
        footer=f"""<p>Both bundles were asked the same photos and items, the whole way that a
shopper’s query takes. Nothing was trained on these photos. Pictures show the items’ photos as they
were when this page was written.</p>
<p>Bundle <code>{escape(evidence.bundle)}</code>, space
<code>{escape(shown.manifest["space_id"])}</code></p>
""",
        styles=["tables.css", "answer_row.css", "evidence_page.css"],
    )


def _sentence(evidence: Evidence) -> str:
    fault = ""
    if evidence.champion_fault is not None:
        fault = (
            f'<p class="fault">What serves now could not be read, so nothing is compared with it: '
            f"{escape(evidence.champion_fault)}</p>\n"
        )
    return f"""<section class="verdict">
<p class="word">Candidate <code>{escape(evidence.bundle)}</code></p>
<h1>Should this bundle serve?</h1>
<p class="lead">{_what(evidence)}</p>
{fault}</section>
{_figures(evidence)}"""


def _what(evidence: Evidence) -> str:
    data = evidence.data
    if evidence.champion is None or evidence.champion_ds is None:
        return (
            f"It is the first: nothing serves yet, so there is nothing to compare it with. It "
            f"holds {counted(data.items, 'item')} of {day(evidence.ds)}."
        )
    replaced = (
        f"It holds {counted(data.items, 'item')} of {day(evidence.ds)}, and would replace "
        f"version {escape(evidence.champion_version or DASH)}, the bundle of "
        f"{day(evidence.champion_ds)}."
    )
    if data.champion_items is None:
        return replaced
    embedder = "another" if evidence.retrained else "the same"
    return (
        f"{replaced} {counted(data.added or 0, 'item')} {'is' if data.added == 1 else 'are'} new, "
        f"{count_of(data.removed)} gone, {count_of(data.changed)} with another photo. The embedder "
        f"is {embedder}."
    )


def _figures(evidence: Evidence) -> str:
    answers, serving, former = evidence.answers, evidence.serving, evidence.champion_serving
    asked = sum(answers.asked.values())
    figures = [
        (
            "answers that stay",
            DASH if answers.overlap is None else f"{answers.overlap:.1%}",
            f"{answers.queries_changed:,} of {counted(asked, 'query')} changed"
            if asked
            else "nothing to compare with",
        ),
        ("recall", figure(evidence.recall), _champion(figure(evidence.champion_recall))),
        (
            "answers of the right category",
            figure(evidence.leaf_precision),
            _champion(figure(evidence.champion_leaf_precision)),
        ),
        (
            "a photo’s answer, p99",
            _ms(serving.p99_ms.get("photos")),
            _champion(_ms(former.p99_ms.get("photos") if former else None)),
        ),
    ]
    cells = "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd><dd class='soft'>{note}</dd></div>\n"
        for name, value, note in figures
    )
    return f'<dl class="figures">\n{cells}</dl>\n'


def _champion(figure: str) -> str:
    return "nothing to compare with" if figure == DASH else f"{figure} with what serves now"


def _decisions(decisions: Sequence[Entry], digest: str) -> str:
    if not decisions:
        return ""
    rows = "".join(
        f"<tr><th scope='row'><time datetime='{entry.at.isoformat()}'>"
        f"{entry.at:%Y-%m-%d %H:%M} UTC</time></th>"
        f"<td>{_did(entry, digest)}</td><td>{escape(entry.who)}</td>"
        f"<td>{escape(entry.why)}</td></tr>\n"
        for entry in decisions
    )
    return f"""<section>
<h2>Decisions so far</h2>
<table class="plain decisions"><thead><tr><th>When</th><th>What</th><th>Who</th><th>Why</th></tr>
</thead>
<tbody>
{rows}</tbody></table>
</section>
"""


def _did(entry: Entry, digest: str) -> str:
    if entry.bundle != digest:
        return "rolled back"
    return DID.get(entry.action, escape(entry.action))


def _ms(value: float | None) -> str:
    return DASH if value is None else f"{value:,.0f} ms"
