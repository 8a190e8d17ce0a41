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

from pipelines.bundle import bundle_digest
from pipelines.releasable import Registered
from pipelines.release import latest_about, served
from pipelines.rollout import UnderWay, roll_out
from pipelines.settings import Settings
from pipelines.step import Outcome, Report, command, run_step
from serving.ledger import ROLLS_OUT, Entry, read_ledger

DECISION = "decision.json"


def run(settings: Settings, ds: date) -> Report:
    """Once for each decision about the bundle; a later rollback is not undone by this."""
    digest = bundle_digest(settings, ds)
    entries = read_ledger(settings.root)
    latest = latest_about(entries, digest)
    inputs = {"bundle": digest, "decided": f"{latest.action} {latest.at}" if latest else ""}
    return run_step(
        settings,
        "promote",
        ds,
        inputs=inputs,
        body=lambda folder: _promote(settings, digest, latest, folder),
    )


def _promote(settings: Settings, digest: str, latest: Entry | None, folder: Path) -> Outcome:
    details: dict[str, object] = {"bundle": digest, "version": latest.version if latest else None}
    if latest is None:
        details |= {"promoted": False, "why": "waits for a review"}
    elif latest.action == "approve" or latest.action in ROLLS_OUT:
        candidate = Registered(latest.version, latest.ds, digest)
        try:
            way = roll_out(settings, candidate)
        except UnderWay:
            details |= {"promoted": False, "why": "another process carries the rollout"}
        else:
            details |= {"promoted": True, "former": way.entry.former, "parts": way.parts}
            details |= {"confirmed": way.confirmed, "silent": way.silent}
    else:
        serves = served(read_ledger(settings.root))[-1:]
        promoted = bool(serves) and serves[0].bundle == digest
        details |= {"promoted": promoted, "why": f"{latest.action} by {latest.who}: {latest.why}"}
    (folder / DECISION).write_text(json.dumps(details, indent=1))
    return Outcome(rows=1, details=details)


if __name__ == "__main__":
    command(run)
