"""Bring the day's bundle to the shoppers once a review has approved it.

    python -m pipelines.promote --ds 2026-11-20

First in shadow, then in canary, beside the champion on all replicas that answer; then it serves,
and each replica confirms it. Figures beyond the bounds of `rollout`, or a `lookalike rollback`,
end it with exit code 3, and shoppers keep the champion. Without a review it waits. The ledger
says how far it is: killed, it goes on from there. Cost: 12 s, plus the seconds of shadow and
canary where a server runs.
"""

import json
from datetime import date
from pathlib import Path

import structlog

from pipelines.bundle import bundle_digest
from pipelines.decisions import REVIEWS, latest_about
from pipelines.freshness import log_freshness, when_served
from pipelines.releasable import Registered
from pipelines.rollout import roll_out
from pipelines.settings import Settings
from pipelines.step import Outcome, Report, command, run_step
from serving.ledger import ROLLS_OUT, Entry, read_ledger, read_standing

DECISION = "decision.json"

log = structlog.get_logger()


def run(settings: Settings, ds: date) -> Report:
    """Once for each review of the bundle; a later rollback is not undone by this."""
    digest = bundle_digest(settings, ds)
    review = latest_about(read_ledger(settings.root), digest, REVIEWS)
    inputs = {"bundle": digest, "review": f"{review.action} {review.at}" if review else ""}
    return run_step(
        settings,
        "promote",
        ds,
        inputs=inputs,
        body=lambda folder: _promote(settings, digest, folder),
    )


def _promote(settings: Settings, digest: str, folder: Path) -> Outcome:
    latest = latest_about(read_ledger(settings.root), digest)
    details: dict[str, object] = {"bundle": digest, "version": latest.version if latest else None}
    if latest is None:
        details |= {"promoted": False, "why": "waits for a review"}
    elif latest.action in ("approve", *ROLLS_OUT):
        way = roll_out(settings, Registered(latest.version, latest.ds, digest))
        details |= {"promoted": True, "former": way.entry.former, "parts": way.parts}
        details |= {"confirmed": way.confirmed, "silent": way.silent}
        details |= _freshness(settings, way.entry)
    else:
        promoted = serves(settings, digest)
        details |= {"promoted": promoted, "why": f"{latest.action} by {latest.who}: {latest.why}"}
    (folder / DECISION).write_text(json.dumps(details, indent=1))
    return Outcome(rows=1, details=details)


def _freshness(settings: Settings, entry: Entry) -> dict[str, object]:
    """The bundle serves, whether or not this can be told."""
    try:
        freshness = when_served(settings, entry)
    except OSError as error:
        log.error("freshness.unknown", error=str(error))
        return {}
    if freshness.folded:
        log_freshness(settings, entry.ds, "promote", entry.bundle, freshness)
    return freshness.details


def serves(settings: Settings, digest: str) -> bool:
    champion = read_standing(settings.root).champion
    return champion is not None and champion.bundle == digest


if __name__ == "__main__":
    command(run)
