"""What a candidate answers beside the champion, as HTML: by slice, and query by query."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pipelines.answer_row import answer_row, tile
from pipelines.changed_queries import Changed
from pipelines.evidence_record import AnswerFacts
from pipelines.evidence_words import counted, figure, signed

ASKED = {"photos": "photo", "items": "item"}


def gate_section(verdict: Mapping[str, Any], former: Mapping[str, Any] | None) -> str:
    """Recall of every slice, beside the champion's. `former`: the champion's manifest."""
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
    champion = "" if recalls is None else f"<td>{figure(recalls.get(row['slice']))}</td>"
    needed = f"{row['bound']:.2f}" if row["judged"] else "too few"
    return (
        f"<tr><th scope='row'>{escape(row['slice'])}</th>"
        f"<td class='wide'>{row['queries']:,}</td><td class='figure'>{row['recall']:.3f}</td>"
        f"{champion}<td>{row['lower_bound']:.3f}</td><td class='wide'>{needed}</td></tr>\n"
    )


def right_section(verdict: Mapping[str, Any]) -> str:
    """Answers of the query's own category in every slice, beside the champion's."""
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


def changed_section(
    answers: AnswerFacts, changed: Sequence[Changed], thumbnails: Mapping[str, str]
) -> str:
    """The queries that are answered most differently, as pictures."""
    asked = sum(answers.asked.values())
    if not asked:
        return ""
    if not changed:
        return (
            f"<section>\n<h2>What shoppers would see</h2>\n<p class='note'>All "
            f"{counted(asked, 'query')} are answered as before.</p>\n</section>\n"
        )
    rows = "".join(_query(each, thumbnails) for each in changed)
    kinds = ", ".join(
        f"{answers.overlaps[kind]:.1%} of those to {count:,} {kind}"
        for kind, count in answers.asked.items()
        if count
    )
    return f"""<section class="changed">
<h2>What shoppers would see</h2>
<p class="note">{answers.queries_changed:,} of {counted(asked, "query")} are answered otherwise;
{_here(len(changed), answers.queries_changed)} here, what changes most first. Of all answers
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


def churn_section(churn: Mapping[str, Any], net: float | None) -> str:
    """`net`: None where the gate compared with another bundle, or with none."""
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


def _difference(value: float) -> str:
    return "0" if abs(value) < 0.0005 else signed(f"{value:+.3f}")
