"""The policy: what of a candidate is beyond the bounds within which nobody need be asked."""

from pipelines.evidence import Evidence
from pipelines.settings import Review


def beyond(evidence: Evidence, bounds: Review) -> list[str]:
    """Sentences, each with the figure and its bound; none for the first bundle of a shop."""
    if evidence.champion is None:
        return []
    changed = _share(evidence.added + evidence.removed, evidence.champion_items)
    figures = [
        ("churn net of noise", evidence.churn_net, bounds.max_churn),
        ("share of items that came or went", changed, bounds.max_item_change),
        ("recall below the champion's", _drop(evidence.champion_recall, evidence.recall),
         bounds.max_recall_drop),
        ("right answers below the champion's",
         _drop(evidence.champion_leaf_precision, evidence.leaf_precision), bounds.max_leaf_drop),
    ]  # fmt: skip
    found = [
        f"{name} is {value:.3f}, above {bound:g}"
        for name, value, bound in figures
        if value is not None and value > bound
    ]
    for kind, p99 in evidence.p99_ms.items():
        before = (evidence.champion_p99_ms or {}).get(kind)
        if p99 is not None and before is not None and p99 > bounds.max_slowdown * before:
            found.append(
                f"p99 of {kind} is {p99:g} ms, above {bounds.max_slowdown:g} times the "
                f"champion's {before:g} ms"
            )
    return found


def _drop(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else before - now


def _share(part: int, whole: int | None) -> float | None:
    return part / whole if whole else None
