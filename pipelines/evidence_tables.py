"""What changed between two bundles, and what it costs, as tables of HTML."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pipelines.evidence_record import DataFacts, Evidence, Serving, Shift, StepCost
from pipelines.evidence_words import DASH, count_of, duration, signed

COLUMNS = {"in_stock": "stock", "product_id": "product"}  # as people say

Row = tuple[str, str, str]  # a name, the champion's value, the candidate's


def items_section(data: DataFacts) -> str:
    """Counts of what is new, gone and other, beside the categories that moved most."""
    if data.champion_items is None:
        return f"""<section>
<h2>Items</h2>
<p class="note">{data.items:,} items. There is nothing to compare them with.</p>
</section>
"""
    counts = [
        ("before", data.champion_items),
        ("new", data.added),
        ("gone", data.removed),
        ("now", data.items),
        ("with another photo", data.changed),
        *((f"with another {COLUMNS.get(name, name)}", count) for name, count in _most(data)),
    ]
    rows = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td>{count_of(count)}</td></tr>\n"
        for name, count in counts
    )
    unknown = ""
    if data.changed is None:
        unknown = (
            "<p class='note'>Nobody can tell which photos are others: the champion’s day was done "
            "again, or cleared away.</p>\n"
        )
    return f"""<section>
<h2>Items</h2>
{unknown}<div class="pair">
<table class="plain"><thead><tr><th>Items</th><th>Count</th></tr></thead>
<tbody>
{rows}</tbody></table>
{_shifts(data.shifts)}</div>
</section>
"""


def _most(data: DataFacts) -> list[tuple[str, int]]:
    return sorted(data.restated.items(), key=lambda pair: -pair[1])


def _shifts(shifts: Sequence[Shift]) -> str:
    if not shifts:
        return ""
    rows = "".join(
        f"<tr><th scope='row'>{escape(each.category)}</th><td>{each.was:,}</td>"
        f"<td>{each.now:,}</td><td>{signed(f'{each.now - each.was:+,}')}</td></tr>\n"
        for each in shifts
    )
    return f"""<table class="plain"><thead><tr><th>Category</th><th>Before</th><th>Now</th>
<th>Change</th></tr></thead>
<tbody>
{rows}</tbody></table>
"""


def taxonomy_section(data: DataFacts) -> str:
    """Categories that came, went or moved."""
    moved = [
        f"{escape(path)} → {', '.join(map(escape, nows)) or 'retired'}"
        for path, nows in data.categories_moved.items()
    ]
    lists = [
        ("New", [*map(escape, data.categories_added)]),
        ("Without items now", [*map(escape, data.categories_gone)]),
        ("Moved", moved),
        ("Not taught to the embedder", [*map(escape, data.categories_unlearned)]),
    ]
    parts = "".join(
        f"<dt>{name}</dt><dd><ul>{''.join(f'<li>{each}</li>' for each in some)}</ul></dd>\n"
        for name, some in lists
        if some
    )
    if not parts and data.champion_items is None:
        return ""
    body = f'<dl class="paths">\n{parts}</dl>' if parts else '<p class="note">As they were.</p>'
    return f"<section>\n<h2>Categories</h2>\n{body}\n</section>\n"


def model_section(manifest: Mapping[str, Any], former: Mapping[str, Any] | None) -> str:
    """The two embedders, and the two indexes."""
    return f"""<div class="pair">
<section>
<h2>Model</h2>
{beside(_rows(_model, manifest, former), has_champion=former is not None)}</section>
<section>
<h2>Index</h2>
{beside(_rows(_index, manifest, former), has_champion=former is not None)}</section>
</div>
"""


def _model(manifest: Mapping[str, Any]) -> dict[str, str]:
    localiser = manifest["files"].get("localiser.onnx")
    return {
        "embedder": manifest["embedder"],
        "trained": manifest["trained"],
        "precision": manifest["precision"],
        "space": manifest["space_id"],
        "pixels": manifest["pixel_spec"],
        "localiser": localiser[:16] if localiser else "none",
    }


def _index(manifest: Mapping[str, Any]) -> dict[str, str]:
    index = manifest["index"]
    effort = ", ".join(f"{name} {value}" for name, value in index["effort"].items())
    return {
        "engine": index["engine"],
        "form": index["form"],
        "effort": effort or DASH,
        "dimensions": f"{index['dimensions']}",
        "bytes per item": f"{manifest['verdict']['bytes_per_item']:,.0f}",
    }


def _rows(facts: Any, manifest: Mapping[str, Any], former: Mapping[str, Any] | None) -> list[Row]:
    now, was = facts(manifest), facts(former) if former is not None else {}
    return [(name, str(was.get(name, DASH)), str(value)) for name, value in now.items()]


def serving_section(evidence: Evidence) -> str:
    """What shoppers wait, what a server needs, and what the day took."""
    now, was = _served(evidence.serving), _served(evidence.champion_serving)
    rows = [(name, was.get(name, DASH), value) for name, value in now.items()]
    return f"""<div class="pair">
<section>
<h2>A server on it</h2>
<p class="note">As it was blessed, with several clients at a time.</p>
{beside(rows, has_champion=evidence.champion is not None, marked=False)}</section>
<section>
<h2>What the day took</h2>
<p class="note">{duration(evidence.seconds)} in all. A step that had nothing to do took nothing.</p>
{_costs(evidence.steps)}</section>
</div>
"""


def _served(serving: Serving | None) -> dict[str, str]:
    if serving is None:
        return {}
    times = {
        f"p99 of {kind}": DASH if p99 is None else f"{p99:,.1f} ms"
        for kind, p99 in serving.p99_ms.items()
    }
    load, memory = serving.load_seconds, serving.memory_bytes
    return times | {
        "ready after": DASH if load is None else f"{load:,.1f} s",
        "memory": DASH if memory is None else f"{memory / 1e6:,.0f} MB",
    }


def _costs(steps: Sequence[StepCost]) -> str:
    most = max((step.seconds for step in steps), default=0) or 1
    rows = "".join(
        f"<tr><th scope='row'>{step.step}</th><td class='bars'><span class='bar' "
        f"aria-hidden='true'><i style='width:{100 * step.seconds / most:.1f}%'></i></span></td>"
        f"<td>{step.rows:,}</td><td>{duration(step.seconds)}</td></tr>\n"
        for step in steps
    )
    return f"""<table class="plain costs"><thead><tr><th>Step</th>
<th><span class="unseen">Bar</span></th><th>Rows</th><th>Time</th></tr></thead>
<tbody>
{rows}</tbody></table>
"""


def beside(rows: Sequence[Row], *, has_champion: bool, marked: bool = True) -> str:
    """The candidate's values beside the champion's; `marked`: those that are others stand out."""
    body = "".join(
        f"<tr{' class=other' if has_champion and marked and was != now else ''}>"
        f"<th scope='row'>{escape(name)}</th>"
        f"{f'<td>{escape(was)}</td>' if has_champion else ''}<td>{escape(now)}</td></tr>\n"
        for name, was, now in rows
    )
    champion = "<th>Serves now</th>" if has_champion else ""
    return f"""<table class="plain beside"><thead><tr><th><span class="unseen">Name</span></th>
{champion}<th>Candidate</th></tr></thead>
<tbody>
{body}</tbody></table>
"""
