"""An approved bundle's way to the shoppers: shadow, canary, all of them; or back.

Where it stands is in the ledger, so that a rollout that was killed goes on from there.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import structlog

from model.errors import Refused
from pipelines.decisions import latest_about
from pipelines.releasable import Registered
from pipelines.release import abort, approval_of, promote_bundle, roll_back, try_beside
from pipelines.replicas import Replica, ask_replicas, compare
from pipelines.settings import Settings
from pipelines.step import locked
from pipelines.trial_verdict import Opinion, judge_trial
from pipelines.waiting import ROLLOUT_LOCK
from serving.ledger import Entry, now, read_ledger, read_standing

POLL_SECONDS = 1.0
WHO = "rollout"

Part = Literal["shadow", "canary"]

log = structlog.get_logger()


@dataclass(frozen=True)
class Way:
    """How a bundle came to serve: a sentence for each part, and who confirmed it."""

    entry: Entry
    parts: tuple[str, ...]
    confirmed: tuple[str, ...]
    silent: tuple[str, ...]  # replicas that do not answer


def roll_out(settings: Settings, candidate: Registered) -> Way:
    """From wherever an approved bundle stands to Production.

    Waits while another process does this. Raises Refused where it is aborted on the way, by its
    figures or by a person, OSError where none of the named replicas answers.
    """
    with locked(settings.root / "locks" / ROLLOUT_LOCK):
        former = read_standing(settings.root).champion
        approval = approval_of(read_ledger(settings.root), candidate)
        parts = [f"{part} {opinion.why}" for part, opinion in _try_parts(settings, candidate)]
        why = "; ".join([approval.why, *parts])
        entry = promote_bundle(settings, candidate, who=approval.who, why=why)
        replicas = _confirmed(settings, candidate, former)
    return Way(
        entry,
        tuple(parts),
        tuple(each.url for each in replicas if each.serves(candidate.digest)),
        tuple(each.url for each in replicas if each.told is None),
    )


def _try_parts(settings: Settings, candidate: Registered) -> Iterator[tuple[Part, Opinion]]:
    """Shadow and canary, as far as they are not behind it, with a server to try it on."""
    champion = read_standing(settings.root).champion
    if champion is None or champion.bundle == candidate.digest or not _answering(settings):
        return
    options = settings.rollout
    latest = latest_about(read_ledger(settings.root), candidate.digest)
    parts: list[tuple[Part, float, float]] = [
        ("shadow", options.shadow_share, options.shadow_seconds),
        ("canary", options.canary_share, options.canary_seconds),
    ]
    if latest is not None and latest.action == "canary":
        parts = parts[1:]
    for part, share, seconds in parts:
        if not seconds:
            continue
        entry = read_standing(settings.root).candidate
        if entry is None or (entry.bundle, entry.action) != (candidate.digest, part):
            entry = try_beside(settings, candidate, part, share, why=f"{seconds:g} s of {part}")
        yield part, _watch(settings, candidate, entry, seconds)


def _answering(settings: Settings) -> bool:
    """Is there a server to try it on? Raises OSError where those that are named are all silent."""
    replicas = ask_replicas(settings)
    if any(replica.told is not None for replica in replicas):
        return True
    if settings.rollout.replicas:
        raise OSError(
            f"None of the replicas answers as an operator is answered: "
            f"{'; '.join(f'{replica.url}: {replica.fault}' for replica in replicas)}. Expected a "
            f"JSON of /v1/rollout. Is one running, and is serve.operator_keys the same here and "
            f"there?"
        )
    log.info("rollout.no_server", url=replicas[0].url, why=replicas[0].fault)
    return False


def _watch(settings: Settings, candidate: Registered, entry: Entry, seconds: float) -> Opinion:
    """Until there is an opinion. Raises Refused where that is an abort, by figures or a person."""
    part = entry.action
    digest = candidate.digest
    _, why = _gather(settings, digest, lambda each: each.tries(digest, part), f"try it in {part}")
    if why is not None:
        raise _aborted(settings, candidate, why)
    # A rollout that was killed does not begin anew.
    end = time.monotonic() + max(0.0, seconds - (now() - entry.at).total_seconds())
    while True:
        _still_there(settings, candidate)
        over = time.monotonic() >= end
        found = compare(ask_replicas(settings), digest)
        opinion = judge_trial(found, settings.rollout, over=over)
        if opinion.word == "abort":
            raise _aborted(settings, candidate, f"in {part}: {opinion.why}")
        if opinion.word == "inconclusive" and settings.rollout.when_inconclusive == "abort":
            raise _aborted(settings, candidate, f"in {part}, inconclusive: {opinion.why}")
        if over:
            log.info("rollout.part", part=part, word=opinion.word, why=opinion.why)
            return Opinion(opinion.word, f"{opinion.word}, {opinion.why}")
        time.sleep(min(POLL_SECONDS, max(0.0, end - time.monotonic())))


def _still_there(settings: Settings, candidate: Registered) -> None:
    """Raises Refused where somebody has taken the candidate out."""
    beside = read_standing(settings.root).candidate
    if beside is None or beside.bundle != candidate.digest:
        latest = read_ledger(settings.root)[-1]
        raise Refused(
            f"The rollout of version {candidate.version} was ended by {latest.who} "
            f"({latest.action}): {latest.why}. Production is version "
            f"{_champion_version(settings)}."
        )


def _aborted(settings: Settings, candidate: Registered, why: str) -> Refused:
    abort(settings, candidate.digest, who=WHO, why=why)
    return Refused(
        f"The rollout of version {candidate.version} is aborted, {why}. Production is version "
        f"{_champion_version(settings)}, as before."
    )


def _champion_version(settings: Settings) -> str:
    champion = read_standing(settings.root).champion
    return champion.version if champion else "none"


def _gather(
    settings: Settings, digest: str, there: Callable[[Replica], bool], what: str
) -> tuple[list[Replica], str | None]:
    """The replicas, once all that answer are `there`; or why they will not be."""
    end = time.monotonic() + settings.rollout.load_seconds
    while True:
        replicas = ask_replicas(settings)
        refusal = next(filter(None, (each.refusal(digest) for each in replicas)), None)
        late = [each.url for each in replicas if each.told is not None and not there(each)]
        if refusal is not None or not late or not _is_concerned(settings, digest):
            return replicas, refusal
        if time.monotonic() > end:
            seconds = settings.rollout.load_seconds
            return replicas, f"{', '.join(late)} did not {what} within {seconds:g} s"
        time.sleep(min(POLL_SECONDS, settings.serve.poll_seconds))


def _is_concerned(settings: Settings, digest: str) -> bool:
    """Does the ledger still want servers to have it? Anybody may decide otherwise meanwhile."""
    standing = read_standing(settings.root)
    return digest in (entry.bundle for entry in (standing.champion, standing.candidate) if entry)


def _confirmed(settings: Settings, candidate: Registered, former: Entry | None) -> list[Replica]:
    """Every replica that answers serves it; else the former champion comes back. Raises Refused."""
    digest = candidate.digest
    replicas, why = _gather(settings, digest, lambda each: each.serves(digest), "serve it")
    if why is None:
        return replicas
    if former is not None and former.bundle != digest:
        roll_back(settings, to=former.version, who=WHO, why=why)
    raise Refused(
        f"Version {candidate.version} is not served everywhere: {why}. Production is version "
        f"{_champion_version(settings)}."
    )
