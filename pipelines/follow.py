"""Take what people did in the MLflow registry as release decisions.

    python -m pipelines.follow

Who moves a version to another stage decides: from Staging to Production approves it, to Archived
rejects it; a version that has served, back to Production, is a rollback to it, and the champion
out of Production is one to the bundle before. MLflow does not say who moved a stage, so the tags
`reviewed_by` and `review` of the version say who and why; where `review.reviewers` are named,
`reviewed_by` must be one of them. What is refused is put back, and the tag `release.refused` says
why. Cost: 3 s, every minute by the DAG `follow_registry`.
"""

import json
import sys

import structlog

from model.errors import LookalikeError
from pipelines.registry import note
from pipelines.releasable import Registered
from pipelines.release import LOCK, may_review, review_bundle, roll_back
from pipelines.settings import Settings, load_settings
from pipelines.stages import Moved, moved, sync
from pipelines.step import exit_codes, locked
from pipelines.waiting import to_carry_on
from serving.ledger import Entry, read_ledger

SOMEBODY = "somebody in MLflow"
REVIEWED_BY, REVIEW, REFUSED = "reviewed_by", "review", "release.refused"  # tags

log = structlog.get_logger()


def follow(settings: Settings) -> list[Entry]:
    """The decisions that this made; afterwards registry and ledger agree."""
    made: list[Entry] = []
    lock = settings.root / "locks" / LOCK
    with locked(lock):  # half of what another decision does there is no person's move
        moves = moved(settings)
    # Who puts a version into Production has MLflow archive the champion: one decision, not two.
    into = [move for move in moves if move.version.stage == "Production"]
    for move in into[-1:] or moves:
        try:
            entry = _decide(settings, move)
        except LookalikeError as error:
            log.error("move.refused", version=move.version.number, error=str(error))
            note(settings, move.version.number, {REFUSED: str(error)})
        else:
            made += [] if entry is None else [entry]
    with locked(lock):
        sync(settings)
    return made


def _decide(settings: Settings, move: Moved) -> Entry | None:
    """None for a move that says nothing, such as back to Staging."""
    version = move.version
    who = version.tags.get(REVIEWED_BY, SOMEBODY)
    why = version.tags.get(REVIEW) or f"moved from {move.former} to {version.stage} in MLflow"
    entries = read_ledger(settings.root)
    candidate = Registered(version.number, version.ds, version.digest)
    has_served = any(entry.serves and entry.bundle == version.digest for entry in entries)
    if version.stage == "Production" and not has_served:
        return review_bundle(settings, candidate, "approve", who=who, why=why)
    if version.stage == "Production":
        may_review(settings, who)
        return roll_back(settings, to=version.number, who=who, why=why)
    if move.former == "Production":
        may_review(settings, who)
        return roll_back(settings, to=None, who=who, why=why)
    if version.stage == "Archived" and not has_served:
        return review_bundle(settings, candidate, "reject", who=who, why=why)
    return None


def main() -> None:
    """The last line says what was decided, and which day's candidate is to be carried on."""
    with exit_codes():
        settings = load_settings()
        made = follow(settings)
        ahead = to_carry_on(settings)
        facts = {
            "decided": [entry.model_dump(mode="json") for entry in made],
            "waiting": ahead and ahead.ds.isoformat(),
        }
        sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
