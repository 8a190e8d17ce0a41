"""The policy: what of a candidate is beyond the bounds within which nobody need be asked."""

from pipelines.evidence_record import Evidence
from pipelines.settings import Review

UNNOTICED_MS = 20.0  # by which any answer may become slower


def beyond(evidence: Evidence, bounds: Review) -> list[str]:
    """Sentences, each with the figure and its bound; none for the first bundle of a shop."""
    if evidence.champion is None:
        return []
    if evidence.champion_fault is not None:
        return [f"the champion cannot be compared with: {evidence.champion_fault}"]
    data = evidence.data
    figures = [
        ("churn net of noise", evidence.churn_net, bounds.max_churn),
        ("share of items that came", _share(data.added, data.champion_items),
         bounds.max_item_change),
        ("share of items that went", _share(data.removed, data.champion_items),
         bounds.max_item_change),
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
    former = evidence.champion_serving
    # Medians: the slowest of few queries say more of the machine at that moment.
    for kind, p50 in evidence.serving.p50_ms.items():
        before = None if former is None else former.p50_ms.get(kind)
        if p50 is None or before is None:
            continue
        if p50 > max(bounds.max_slowdown * before, before + UNNOTICED_MS):
            found.append(
                f"p50 of {kind} is {p50:g} ms, above {bounds.max_slowdown:g} times the "
                f"champion's {before:g} ms"
            )
    return found


def _drop(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else before - now


def _share(part: int | None, whole: int | None) -> float | None:
    return part / whole if part is not None and whole else None
