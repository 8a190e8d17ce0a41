"""What a rollout's figures say of a candidate: go on, pass, abort, or that nobody can tell."""

from dataclasses import dataclass
from typing import Literal

from pipelines.replicas import Comparison
from pipelines.settings import Rollout

FEW = 3  # failures that may be chance


@dataclass(frozen=True)
class Opinion:
    """And why, in a sentence's part."""

    word: Literal["watching", "passed", "abort", "inconclusive"]
    why: str


def judge_trial(found: Comparison, bounds: Rollout, *, over: bool) -> Opinion:
    """`over`: the time is up. Faults are named as soon as there are enough queries to tell."""
    faults = _faults(found, bounds)
    asked = found.candidate.asked
    if faults:
        return Opinion("abort", "; ".join(faults))
    if not over:
        return Opinion("watching", f"{asked:,} queries so far")
    if asked < bounds.min_queries:
        return Opinion(
            "inconclusive", f"{asked:,} queries, {bounds.min_queries:,} are needed to tell"
        )
    return Opinion("passed", _praise(found))


def _faults(found: Comparison, bounds: Rollout) -> list[str]:
    own, champion = found.candidate, found.champion
    faults = []
    allowed = bounds.max_failed + _share(champion.failed, champion.asked)
    if own.failed > FEW and own.failed > allowed * own.asked:
        faults.append(f"{own.failed:,} of {own.asked:,} queries failed, {allowed:.1%} may")
    if own.asked < bounds.min_queries:
        return faults
    nothing = _share(own.empty + own.unknown, own.asked)
    usual = _share(champion.empty + champion.unknown, champion.asked)
    if nothing > usual + bounds.max_empty:
        faults.append(f"{nothing:.1%} of the queries found nothing, {usual:.1%} of the champion's")
    few = found.compared < bounds.min_queries
    if found.overlap is not None and not few and found.overlap < bounds.min_overlap:
        faults.append(
            f"{found.overlap:.3f} of the champion's answers are given too, "
            f"{bounds.min_overlap:g} are needed"
        )
    times = own.p99_ms, champion.p99_ms
    if times[0] is not None and times[1] is not None and times[0] > bounds.max_slowdown * times[1]:
        faults.append(
            f"p99 {times[0]:.1f} ms, {times[1]:.1f} ms of the champion; at most "
            f"{bounds.max_slowdown:g} times as long is allowed"
        )
    return faults


def _praise(found: Comparison) -> str:
    own = found.candidate
    facts = [f"{own.asked:,} queries", f"{own.failed:,} failed"]
    if found.overlap is not None:
        facts.append(f"{found.overlap:.3f} of the champion's answers")
    if own.p99_ms is not None and found.champion.p99_ms is not None:
        facts.append(f"p99 {own.p99_ms:.1f} ms beside {found.champion.p99_ms:.1f}")
    return ", ".join(facts)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
