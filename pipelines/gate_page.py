"""The gate's verdict as one page of HTML: figures by slice, then the worst queries as pictures.

The file needs nothing else: style and thumbnails are inside it, and there is no script. Whatever
comes from the feed is escaped.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from html import escape
from typing import Any

import numpy as np

from pipelines.answer_row import answer_row, tile
from pipelines.page import Pixels, page, picture
from pipelines.worst_queries import Worst

THUMBNAIL = 128  # pixels at most
STAGES = (("reducer", "reducer_loss"), ("precision", "precision_loss"), ("engine", "engine_loss"))

Photos = Callable[[Sequence[str]], Iterable[Pixels]]  # canonical pixels by key


def gate_page(ds: date, verdict: Mapping[str, Any], worst: Sequence[Worst], photos: Photos) -> str:
    """The whole document. `verdict` is the gate's record as it is kept in `verdict.json`."""
    body = "".join(
        (
            _sentence(verdict),
            _slices(verdict),
            _figures(verdict),
            f'<div class="pair">{_rivals(verdict)}{_precisions(verdict)}</div>\n',
            _worst(worst, _thumbnails(worst, photos), verdict),
        )
    )
    day = f"{ds.day} {ds:%B %Y}"
    return page(
        f"Gate of {day}: {_word(verdict)}",
        f'<time datetime="{ds}">Gate of {day}</time>',
        body,
        footer=f"""<p>Truth is the exact nearest items in the full embedding, for photos that are
not in the index. An item as near as the last of them counts as found. Lower bounds hold with 95 %
confidence (bootstrap over queries).</p>
<p>Space <code>{escape(verdict["space_id"])}</code></p>
""",
        styles=["tables.css", "answer_row.css", "gate_page.css"],
    )


def _word(verdict: Mapping[str, Any]) -> str:
    return "passed" if verdict["passed"] else "refused"


def _sentence(verdict: Mapping[str, Any]) -> str:
    word = _word(verdict)
    if verdict["passed"]:
        title, lead = "This index may serve.", _why_it_passed(verdict)
    else:
        title, lead = "This index may not serve.", "What serves now stays. The gate found:"
    items = "".join(f"<li>{_marked_up(failure)}</li>" for failure in verdict["failures"])
    return f"""<section class="verdict {word}">
<p class="word">{word.capitalize()}</p>
<h1>{title}</h1>
<p class="lead">{lead}</p>
{f"<ul>{items}</ul>" if items else ""}
</section>
"""


def _why_it_passed(verdict: Mapping[str, Any]) -> str:
    if not verdict["slices"]:
        return "There was nothing to ask it with."
    overall, judged = verdict["slices"][0], [row for row in verdict["slices"] if row["judged"]]
    return (
        f"It finds at least {overall['lower_bound']:.3f} of the {verdict['k']} nearest items; "
        f"{overall['bound']:.2f} is needed. {_counted(len(judged), 'slice')} had enough queries to "
        f"be judged, and none is below its bound."
    )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _marked_up(sentence: str) -> str:
    """What stands between backticks is a name: a slice or a category."""
    parts = escape(sentence).split("`")
    return "".join(f"<b>{part}</b>" if odd % 2 else part for odd, part in enumerate(parts))


def _slices(verdict: Mapping[str, Any]) -> str:
    """Guilty slices first; the others in the order of the gate."""
    rows = sorted(verdict["slices"], key=lambda row: not _failed(row))
    if not rows:
        return ""
    lowest = min(min(row["lower_bound"], row["bound"], row["recall"]) for row in rows)
    start = max(0.0, np.floor((lowest - 0.02) * 20) / 20)
    body = "".join(_slice(row, float(start)) for row in rows)
    return f"""<section>
<h2>Recall by slice</h2>
<p class="note">How many of the {verdict["k"]} nearest items each kind of query finds, and where
the rest is lost. Bars begin at {start:.2f}.</p>
<ul class="key" aria-hidden="true"><li class="found">found</li><li class="reducer">lost by the
reducer</li><li class="precision">by {escape(verdict["precision"])}</li>\
<li class="engine">by the engine</li><li class="least">at least</li><li class="bound">needed</li>
</ul>
<table class="slices">
<thead><tr><th>Slice</th><th>Queries</th><th class="bars"><span class="unseen">Bar</span></th>
<th>Recall</th><th>At least</th><th>Needed</th><th>Reducer</th>
<th>{escape(verdict["precision"])}</th><th>Engine</th></tr></thead>
<tbody>
{body}</tbody>
</table>
</section>
"""


def _failed(row: Mapping[str, Any]) -> bool:
    return bool(row["judged"] and row["lower_bound"] < row["bound"])


def _slice(row: Mapping[str, Any], start: float) -> str:
    failed = _failed(row)
    state = "guilty" if failed else "judged" if row["judged"] else "unjudged"
    mark = ' <span class="mark">below its bound</span>' if failed else ""
    needed = f"{row['bound']:.2f}" if row["judged"] else "too few"
    losses = "".join(
        f'<td class="loss {stage}">{_loss(row[column])}</td>' for stage, column in STAGES
    )
    return f"""<tr class="{state}">
<th scope="row">{escape(row["slice"])}{mark}</th>
<td class="queries">{row["queries"]:,}</td>
<td class="bars">{_bar(row, start)}</td>
<td class="recall">{row["recall"]:.3f}</td>
<td class="least">{row["lower_bound"]:.3f}</td>
<td class="needed">{needed}</td>
{losses}
</tr>
"""


def _loss(value: float) -> str:
    """Of three digits, without a sign for what is nothing."""
    return "0" if abs(value) < 0.0005 else f"{value:.3f}"


def _bar(row: Mapping[str, Any], start: float) -> str:
    """Found, then what each stage loses, as shares of the part of the scale that is drawn."""
    parts = [("found", row["recall"] - start)]
    parts += [(stage, row[column]) for stage, column in reversed(STAGES)]
    segments = "".join(
        f'<i class="{name}" style="width:{_share(size, start)}"></i>'
        for name, size in parts
        if size > 0
    )
    ticks = f'<i class="least" style="left:{_share(row["lower_bound"] - start, start)}"></i>'
    if row["judged"]:
        ticks += f'<i class="bound" style="left:{_share(row["bound"] - start, start)}"></i>'
    return f'<span class="bar" aria-hidden="true">{segments}{ticks}</span>'


def _share(size: float, start: float) -> str:
    return f"{100 * min(1.0, max(0.0, size / (1 - start))):.2f}%"


def _figures(verdict: Mapping[str, Any]) -> str:
    latency, churn = verdict["latency_ms"], verdict["churn"]
    net = churn["net"]
    figures = [
        ("one search, p99", f"{latency['p99']:.2f} ms", f"p50 {latency['p50']:.2f} ms"),
        ("per item", f"{verdict['bytes_per_item']:,.0f} bytes", f"{verdict['items']:,} items"),
        ("coverage", f"{verdict['coverage']:.4f}", "items that their own photo finds"),
        ("self-match", f"{verdict['self_match']:.4f}", "items that it finds first"),
        (
            "answers of the right category",
            f"{verdict['leaf_precision']:.3f}",
            f"{verdict['leaf_chance']:.3f} by chance",
        ),
        ("churn, net of noise", "–" if net is None else f"{net:.3f}", _changed(churn)),
    ]
    cells = "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd><dd class='soft'>{note}</dd></div>\n"
        for name, value, note in figures
    )
    return f'<section>\n<h2>The index</h2>\n<dl class="figures">\n{cells}</dl>\n</section>\n'


def _changed(churn: Mapping[str, Any]) -> str:
    builds = f"{churn['noise']:.3f} between two builds of this index"
    if churn["recall"] is not None:
        builds += f", which find {churn['recall']:.3f} and {churn['recall_again']:.3f}"
    if churn["against_champion"] is None:
        return f"nothing to compare with; {builds}"
    return f"{churn['against_champion']:.3f} of the champion’s answers changed, {builds}"


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _rivals(verdict: Mapping[str, Any]) -> str:
    if not verdict["rivals"]:
        return ""
    rows = "".join(
        f"<tr><th scope='row'>{escape(row['slice'])}</th><td>{row['queries']:,}</td>"
        f"<td>{row['leaf_precision']:.3f}</td><td>{row['champion']:.3f}</td></tr>\n"
        for row in verdict["rivals"]
    )
    return f"""<section>
<h2>Beside what serves now</h2>
<p class="note">Share of the answers that are of the query’s own category, on the same queries.
</p>
<table class="plain"><thead><tr><th>Slice</th><th>Queries</th><th>This index</th>
<th>Serves now</th></tr></thead>
<tbody>
{rows}</tbody></table>
</section>
"""


def _precisions(verdict: Mapping[str, Any]) -> str:
    rows = "".join(_precision(row, verdict["precision"]) for row in verdict["precisions"])
    return f"""<section>
<h2>Precisions of the embedder</h2>
<p class="note">The fastest that passes every bound answers queries.</p>
<table class="plain"><thead><tr><th>Precision</th><th>Photos a second</th>
<th>Least cosine</th><th>Recall, at least</th><th>Verdict</th></tr></thead>
<tbody>
{rows}</tbody></table>
</section>
"""


def _precision(row: Mapping[str, Any], chosen: str) -> str:
    name = f"<th scope='row'>{escape(row['precision'])}</th>"
    if row["photos_per_second"] is None:
        return f"<tr>{name}<td class='why' colspan='4'>{escape(row['failures'][0])}</td></tr>\n"
    least = row["slices"][0]["lower_bound"] if row["slices"] else None
    cosine = "–" if row["cosine"] is None else f"{row['cosine']:.4f}"
    state = "refused" if not row["passed"] else "chosen" if row["precision"] == chosen else "passed"
    return (
        f"<tr>{name}<td>{row['photos_per_second']:,.0f}</td><td>{cosine}</td>"
        f"<td>{_or_dash(least)}</td><td>{state}</td></tr>\n"
    )


def _worst(
    worst: Sequence[Worst], thumbnails: Mapping[str, str], verdict: Mapping[str, Any]
) -> str:
    if not worst:
        return (
            "<section>\n<h2>Where it misses most</h2>\n"
            "<p class='note'>No query missed a neighbour.</p>\n</section>\n"
        )
    rows = "".join(_query(each, thumbnails, verdict["precision"]) for each in worst)
    return f"""<section class="worst">
<h2>Where it misses most</h2>
<p class="note">The queries of least recall. Above, the nearest items in the full space;
<em class="missed">framed</em>: not found. Below, what the index gave;
<em class="instead">framed</em>: given instead. The number is the cosine to the query.</p>
{rows}</section>
"""


def _query(worst: Worst, thumbnails: Mapping[str, str], precision: str) -> str:
    found = sum(not shown.marked for shown in worst.given)
    reduced, precise, recall = worst.recalls
    k = len(worst.nearest)
    lost = [
        f"{name} lost {round(k * share)}"
        for name, share in (
            ("reducer", 1 - reduced),
            (escape(precision), reduced - precise),
            ("engine", precise - recall),
        )
        if round(k * share) > 0
    ]
    asked = worst.asked
    return f"""<article>
<figure class="asked">
{tile(thumbnails[asked.key], "")}
<figcaption><b>{escape(asked.title)}</b>
<span class="soft">{escape(asked.category)}</span>
<span class="facts"><span class="kind">{escape(worst.kind)}</span>
{found} of {k} found</span>
<span class="soft">{", ".join(lost)}</span></figcaption>
</figure>
<div class="answers">
{answer_row("Nearest", worst.nearest, "missed", thumbnails)}
{answer_row("Given", worst.given, "instead", thumbnails)}
</div>
</article>
"""


def _thumbnails(worst: Sequence[Worst], photos: Photos) -> dict[str, str]:
    """A data URI for each photo that is shown."""
    keys = {shown.key for each in worst for shown in (each.asked, *each.nearest, *each.given)}
    ordered = sorted(keys)
    seen = photos(ordered) if ordered else ()
    return {key: picture(pixels, most=THUMBNAIL) for key, pixels in zip(ordered, seen, strict=True)}
