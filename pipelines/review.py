"""Say whether the day's candidate may serve, by policy; or that a person must say it.

    python -m pipelines.review --ds 2026-11-20

Within the bounds of `review` the policy approves. Beyond one, or with `review.by = "person"`, a
person decides: with `lookalike review`, in Airflow, or by moving the version's stage in MLflow. All
of them end in one entry of the ledger. Cost: 4 s.
"""

import json
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.decisions import REVIEWS, latest_about
from pipelines.evidence_record import PAGE, read_evidence
from pipelines.policy import beyond
from pipelines.releasable import Registered
from pipelines.release import POLICY, review_bundle
from pipelines.settings import Settings
from pipelines.step import Outcome, Partition, Report, command, run_step
from serving.ledger import read_ledger

REVIEW = "review.json"
ASK = "ask"


def run(settings: Settings, ds: date) -> Report:
    """Once for each bundle and its evidence; what a person has decided stays."""
    registered = Partition(settings, "register", ds).done().details
    candidate = Registered(str(registered["version"]), ds, str(registered["bundle"]))
    evidence = Partition(settings, "evidence", ds).done().digest
    reviewed = latest_about(read_ledger(settings.root), candidate.digest, REVIEWS)
    person = reviewed is not None and reviewed.who != POLICY
    inputs = {
        "bundle": candidate.digest,
        "version": candidate.version,
        "evidence": evidence,
        "settings": settings.review.model_dump_json(),
        "review": f"{reviewed.action} {reviewed.at}" if reviewed and person else "",
    }
    return run_step(
        settings, "review", ds, inputs=inputs, body=lambda to: _review(settings, candidate, to)
    )


def _review(settings: Settings, candidate: Registered, folder: Path) -> Outcome:
    latest = latest_about(read_ledger(settings.root), candidate.digest, REVIEWS)
    reasons = beyond(read_evidence(settings, candidate.ds, candidate.digest), settings.review)
    if settings.review.by == "person":
        reasons = ["review.by is `person`", *reasons]
    details: dict[str, Any] = {"bundle": candidate.digest, "version": candidate.version}
    details |= {"reviewers": list(settings.review.reviewers), "hours": settings.review.hours}
    page = Partition(settings, "evidence", candidate.ds).output / PAGE
    details["page"] = str(page.relative_to(settings.root))
    if latest is None and reasons:
        details |= {"decision": ASK, "who": None, "why": "; ".join(reasons)}
    else:
        why = "within the bounds of the policy"
        entry = latest or review_bundle(
            settings, candidate, "approve", who=POLICY, why=why, automatic=True
        )
        details |= {"decision": entry.action, "who": entry.who, "why": entry.why}
    (folder / REVIEW).write_text(json.dumps(details, indent=1))
    return Outcome(rows=1, details=details)


if __name__ == "__main__":
    command(run)
