"""Release decisions: review, shadow, canary, promote, abort, roll back.

Each is one entry in the ledger, written under one lock; the registry follows it. Served bundles
form a stack: a promotion puts one on top, a rollback goes back to one below, so `rollback` never
lands on a bundle that was itself rolled back.

What a decision does not need is imported where it is needed: shoppers who see odd results wait for
the ledger, and MLflow and the engines take seconds to import.
"""

import os
import pwd
from collections.abc import Sequence
from typing import Literal

import structlog

from model.errors import BadInput, Refused
from pipelines.decisions import REVIEWS, fallback, latest_about, served
from pipelines.releasable import Registered, check, try_out, verdict_of, verified
from pipelines.settings import Settings
from pipelines.step import locked
from serving.ledger import ROLLS_OUT, Action, Entry, append, now, read_ledger, standing

LOCK = "release.lock"
POLICY = "policy"  # who decides where nobody is asked
NOBODY = "nobody"  # who was asked, and did not answer
PAST = {"reject": "rejected", "abort": "aborted"}

log = structlog.get_logger()


def review_bundle(
    settings: Settings,
    candidate: Registered,
    action: Literal["approve", "reject"],
    *,
    who: str,
    why: str,
    automatic: bool = False,
) -> Entry:
    """A yes or no to a candidate; the entry that decided it, if that says the same.

    A person may change a review until the bundle serves. What is `automatic`, as the policy is and
    a time that is over, changes nothing that is decided. Raises Refused for a person who is not
    named in `review.reviewers`, for a bundle that has served, and what `check` refuses.
    """
    if not automatic:
        may_review(settings, who)
    with locked(settings.root / "locks" / LOCK):
        entries = read_ledger(settings.root)
        latest = latest_about(entries, candidate.digest)
        if latest is not None and (latest.action == action or automatic):
            return latest
        if any(entry.serves and entry.bundle == candidate.digest for entry in entries):
            raise Refused(
                f"Version {candidate.version} has served, so there is nothing to review. "
                f"To take it away or to serve it again: lookalike rollback [--to VERSION]."
            )
        if action == "approve" and latest is not None and latest.action in ROLLS_OUT:
            return latest
        verdict = verdict_of(check(settings, candidate, entries)) if action == "approve" else ""
        entry = _entry(entries, action, candidate, who=who, why=why, verdict=verdict)
        append(settings.root, entry)
        if latest is not None and latest.action in ROLLS_OUT:
            append(settings.root, _entry(entries, "abort", candidate, who=who, why=why))
        _sync(settings)
    return entry


def try_beside(
    settings: Settings,
    candidate: Registered,
    action: Literal["shadow", "canary"],
    share: float,
    *,
    why: str,
) -> Entry:
    """Have the candidate answer a share of the traffic. Raises Refused as `check` does, and where
    it is not approved or another candidate is in a rollout.
    """
    with locked(settings.root / "locks" / LOCK):
        entries = read_ledger(settings.root)
        approval = approval_of(entries, candidate)
        beside = standing(reversed(entries)).candidate
        if beside is not None and beside.bundle != candidate.digest:
            raise Refused(
                f"Version {beside.version} is in {beside.action}. Expected one candidate at a "
                f"time. Wait for its end, or end it: lookalike rollback."
            )
        verdict = verdict_of(check(settings, candidate, entries))
        entry = _entry(
            entries, action, candidate, who=approval.who, why=why, verdict=verdict, share=share
        )
        append(settings.root, entry)
        _sync(settings)
    return entry


def promote_bundle(settings: Settings, candidate: Registered, *, who: str, why: str) -> Entry:
    """Make the bundle the champion; the entry that made it so if it is already.

    Raises Refused when it was not approved, when a newer day's bundle serves or a blessing is
    missing, Damaged when the files are not the bundle's.
    """
    with locked(settings.root / "locks" / LOCK):
        entries = read_ledger(settings.root)
        current = standing(reversed(entries)).champion
        if current is None or current.bundle != candidate.digest:
            approval_of(entries, candidate)
            bundle = check(settings, candidate, entries)
            try_out(bundle)
            verdict = verdict_of(bundle)
            current = _entry(entries, "promote", candidate, who=who, why=why, verdict=verdict)
            append(settings.root, current)
        _sync(settings)
    return current


def abort(settings: Settings, digest: str, *, who: str, why: str) -> Entry | None:
    """Take the candidate out of shadow or canary; None where it is in neither any more."""
    with locked(settings.root / "locks" / LOCK):
        entries = read_ledger(settings.root)
        beside = standing(reversed(entries)).candidate
        if beside is None or beside.bundle != digest:
            return None
        entry = _again(beside, "abort", former=beside.former, who=who, why=why)
        append(settings.root, entry)
        _sync(settings)
    return entry


def roll_back(settings: Settings, *, to: str | None, who: str, why: str) -> Entry:
    """Undo the last release: end the candidate's rollout, else serve the champion before it again,
    or the one of version `to`. Raises as `undo`.
    """
    with locked(settings.root / "locks" / LOCK):
        entry = undo(settings, to=to, who=who, why=why)
        _sync(settings)
    return entry


def undo(settings: Settings, *, to: str | None, who: str, why: str) -> Entry:
    """What servers see of a rollback, under the lock of whoever calls it.

    These very bytes have served, so they are verified and not tried again; a server that cannot
    load them keeps what it has. Raises BadInput when there is none, or when `to` never served,
    Damaged when the files are not the bundle's.
    """
    entries = read_ledger(settings.root)
    beside = standing(reversed(entries)).candidate
    if beside is not None and to in (None, beside.version):
        entry = _again(beside, "abort", former=beside.former, who=who, why=why)
    else:
        target = _target(entries, to)
        bundle = verified(settings, target.bundle, target.version)
        entry = _again(
            target, "rollback", former=_serving(entries), who=who, why=why,
            verdict=verdict_of(bundle),
        )  # fmt: skip
    append(settings.root, entry)
    return entry


def current_user() -> str:
    """By the account of this process: an environment can say anything."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # as in a container
        return f"user {os.getuid()}"


def may_review(settings: Settings, who: str) -> None:
    """Raises Refused for a person who is not named, or calls himself what no person is."""
    named = settings.review.reviewers
    if who in (POLICY, NOBODY):
        raise Refused(f"`{who}` is no person. Expected who decides. Nothing was changed.")
    if named and who not in named:
        raise Refused(
            f"{who} may not review. Expected one of review.reviewers: {', '.join(named)}. "
            f"Nothing was changed."
        )


def approval_of(entries: Sequence[Entry], candidate: Registered) -> Entry:
    """The yes of its last review. Raises Refused where there is none, or a no since."""
    latest = latest_about(entries, candidate.digest)
    review = latest_about(entries, candidate.digest, REVIEWS)
    if latest is None or review is None:
        raise Refused(
            f"Nobody has approved version {candidate.version}. Expected a review first: "
            f"lookalike review {candidate.version} --approve --why TEXT."
        )
    if latest.action in ("reject", "abort"):
        raise Refused(
            f"Version {candidate.version} was {PAST[latest.action]} by {latest.who}: {latest.why}. "
            f"To try it again: lookalike review {candidate.version} --approve --why TEXT."
        )
    return review


def _target(entries: Sequence[Entry], to: str | None) -> Entry:
    if to is None:
        before = fallback(entries)
        if before is None:
            raise BadInput(
                f"Nothing to roll back to. Expected a bundle that served before the champion. "
                f"The ledger has: {[entry.version for entry in served(entries)]}."
            )
        return before
    past = [entry for entry in entries if entry.serves]
    for entry in reversed(past):
        if entry.version == to:
            return entry
    raise BadInput(
        f"Version {to} has never served, so there is nothing to go back to. "
        f"Versions that have: {sorted({entry.version for entry in past})}."
    )


def _serving(entries: Sequence[Entry]) -> str | None:
    champion = standing(reversed(entries)).champion
    return champion.bundle if champion else None


def _entry(
    entries: Sequence[Entry],
    action: Action,
    candidate: Registered,
    *,
    who: str,
    why: str,
    verdict: str = "",
    share: float = 0,
) -> Entry:
    return Entry(
        at=now(), action=action, who=who, why=why, verdict=verdict, ds=candidate.ds,
        version=candidate.version, former=_serving(entries), bundle=candidate.digest, share=share,
    )  # fmt: skip


def _again(
    about: Entry, action: Action, *, former: str | None, who: str, why: str, verdict: str = ""
) -> Entry:
    """Another decision about the bundle of one."""
    return Entry(
        at=now(), action=action, who=who, why=why, verdict=verdict, ds=about.ds,
        version=about.version, former=former, bundle=about.bundle,
    )  # fmt: skip


def _sync(settings: Settings) -> None:
    """The ledger has decided; a registry that is away follows at the next decision."""
    from mlflow.exceptions import MlflowException

    from pipelines.stages import sync

    try:
        sync(settings)
    except (MlflowException, OSError) as error:
        log.error("registry.behind", error=str(error))
