"""The evidence for a candidate as one page of HTML, from which a reviewer decides alone.

Style and pictures are inside it, and there is no script. Whatever comes from the feed or the
ledger is escaped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from typing import Any

from pipelines.answer_row import answer_row, tile
from pipelines.changed_queries import Changed
from pipelines.evidence_record import Evidence
from pipelines.evidence_tables import (
    DASH,
    count_of,
    items_section,
    model_section,
    serving_section,
    signed,
    taxonomy_section,
)
from pipelines.page import page
from serving.ledger import Entry

ASKED = {"photos": "photo", "items": "item"}
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
            _gate(shown.manifest["verdict"], shown.former),
            _right(shown.manifest["verdict"]),
            _most_changed(shown),
            _churn(shown),
            serving_section(evidence),
            _decisions(shown.decisions, evidence.bundle),
        )
    )
    return page(
        f"Evidence for the bundle of {_day(evidence.ds)}",
        f'<time datetime="{evidence.ds}">Evidence of {_day(evidence.ds)}</time>',
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
            f"holds {_counted(data.items, 'item')} of {_day(evidence.ds)}."
        )
    replaced = (
        f"It holds {_counted(data.items, 'item')} of {_day(evidence.ds)}, and would replace "
        f"version {escape(evidence.champion_version or DASH)}, the bundle of "
        f"{_day(evidence.champion_ds)}."
    )
    if data.champion_items is None:
        return replaced
    embedder = "another" if evidence.retrained else "the same"
    return (
        f"{replaced} {count_of(data.added)} items are new, {count_of(data.removed)} gone, "
        f"{count_of(data.changed)} have another photo. The embedder is {embedder}."
    )


def _figures(evidence: Evidence) -> str:
    answers, serving, former = evidence.answers, evidence.serving, evidence.champion_serving
    asked = sum(answers.asked.values())
    figures = [
        (
            "answers that stay",
            DASH if answers.overlap is None else f"{answers.overlap:.1%}",
            f"{answers.queries_changed:,} of {_counted(asked, 'query')} changed"
            if asked
            else "nothing to compare with",
        ),
        ("recall", _figure(evidence.recall), _champion(_figure(evidence.champion_recall))),
        (
            "answers of the right category",
            _figure(evidence.leaf_precision),
            _champion(_figure(evidence.champion_leaf_precision)),
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


def _gate(verdict: Mapping[str, Any], former: Mapping[str, Any] | None) -> str:
    if not verdict["slices"]:
        return ""
    recalls = None
    if former:
        recalls = {row["slice"]: row["recall"] for row in former["verdict"]["slices"]}
    champion = "<th>Serves now</th>" if former else ""
    rows = "".join(_slice(row, recalls) for row in verdict["slices"])
    note = "Beside it the champion’s, on the queries of its own day." if former else ""
    return f"""<section>
<h2>Recall by slice</h2>
<p class="note">How many of the {verdict["k"]} nearest items each kind of query finds. {note}</p>
<table class="plain"><thead><tr><th>Slice</th><th class="wide">Queries</th><th>Candidate</th>
{champion}<th>At least</th><th class="wide">Needed</th></tr></thead>
<tbody>
{rows}</tbody></table>
</section>
"""


def _slice(row: Mapping[str, Any], recalls: Mapping[str, float] | None) -> str:
    champion = "" if recalls is None else f"<td>{_figure(recalls.get(row['slice']))}</td>"
    needed = f"{row['bound']:.2f}" if row["judged"] else "too few"
    return (
        f"<tr><th scope='row'>{escape(row['slice'])}</th>"
        f"<td class='wide'>{row['queries']:,}</td><td class='figure'>{row['recall']:.3f}</td>"
        f"{champion}<td>{row['lower_bound']:.3f}</td><td class='wide'>{needed}</td></tr>\n"
    )


def _right(verdict: Mapping[str, Any]) -> str:
    if not verdict["rivals"]:
        return ""
    rows = "".join(
        f"<tr><th scope='row'>{escape(row['slice'])}</th>"
        f"<td class='wide'>{row['queries']:,}</td>"
        f"<td class='figure'>{row['leaf_precision']:.3f}</td><td>{row['champion']:.3f}</td>"
        f"<td>{_difference(row['leaf_precision'] - row['champion'])}</td></tr>\n"
        for row in verdict["rivals"]
    )
    return f"""<section>
<h2>Answers of the right category</h2>
<p class="note">Share of the answers that are of the query’s own category, on the same queries: this
bundle, and what served before its day.</p>
<table class="plain"><thead><tr><th>Slice</th><th class="wide">Queries</th><th>Candidate</th>
<th>Served before</th><th>Difference</th></tr></thead>
<tbody>
{rows}</tbody></table>
</section>
"""


def _most_changed(shown: Page) -> str:
    answers = shown.evidence.answers
    asked = sum(answers.asked.values())
    if not asked:
        return ""
    if not shown.changed:
        return (
            f"<section>\n<h2>What shoppers would see</h2>\n<p class='note'>All "
            f"{_counted(asked, 'query')} are answered as before.</p>\n</section>\n"
        )
    rows = "".join(_query(each, shown.thumbnails) for each in shown.changed)
    kinds = ", ".join(
        f"{answers.overlaps[kind]:.1%} of those to {count:,} {kind}"
        for kind, count in answers.asked.items()
        if count
    )
    return f"""<section class="changed">
<h2>What shoppers would see</h2>
<p class="note">{answers.queries_changed:,} of {_counted(asked, "query")} are answered otherwise;
{_here(len(shown.changed), answers.queries_changed)} here, what changes most first. Of all answers
stay {kinds}. Above, what serves now; <em class="gone">framed</em>: not given any more. Below, the
candidate; <em class="new">framed</em>: given anew. The number is the score.</p>
{rows}</section>
"""


def _here(shown: int, changed: int) -> str:
    return "all of them" if shown == changed else f"{shown} of them"


def _query(changed: Changed, thumbnails: Mapping[str, str]) -> str:
    query, longest = changed.query, max(len(changed.was), len(changed.now))
    stay = round(changed.overlap * longest)
    order = " <span class='soft'>in another order</span>" if stay == longest else ""
    return f"""<article>
<figure class="asked">
{tile(thumbnails.get(query.image), "")}
<figcaption><b>{escape(query.title or query.item_id)}</b>
<span class="soft">{escape(query.category)}</span>
<span class="facts"><span class="kind">{ASKED[query.kind]}</span>
{stay} of {longest} stay{order}</span></figcaption>
</figure>
<div class="answers">
{answer_row("Serves now", changed.was, "gone", thumbnails)}
{answer_row("Candidate", changed.now, "new", thumbnails)}
</div>
</article>
"""


def _churn(shown: Page) -> str:
    churn, net = shown.manifest["verdict"]["churn"], shown.evidence.churn_net
    if net is None:
        sentence = (
            f"Two builds of this very index differ in {churn['noise']:.2%} of their answers; the "
            f"gate did not compare it with what serves now."
        )
    else:
        sentence = (
            f"Of the champion’s answers to the gate’s queries {churn['against_champion']:.2%} are "
            f"others now, and two builds of this very index differ in {churn['noise']:.2%}, so "
            f"{net:.2%} is change and the rest is luck."
        )
    return f"<section>\n<h2>Churn, net of luck</h2>\n<p class='note'>{sentence}</p>\n</section>\n"


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


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _counted(count: int, noun: str) -> str:
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else many}"


def _figure(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"


def _ms(value: float | None) -> str:
    return DASH if value is None else f"{value:,.0f} ms"


def _difference(value: float) -> str:
    return "0" if abs(value) < 0.0005 else signed(f"{value:+.3f}")
