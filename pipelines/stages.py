"""Stages, aliases and notes of the registry, as the ledger says; and what people moved there.

    None -> Staging      registered, and not decided against: `challenger` is the newest
    Production           serves: `champion`
    Archived             has served (`previous` is what a rollback goes to), or was decided against

The ledger decides. But people review and roll back by moving a version to another stage, so every
`sync` keeps in `registry.json` what it leaves, and before it begins what it may leave if killed: a
version whose stage is none of these, nor where the ledger wants it, was moved by a person.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.decisions import fallback, latest_about, served
from pipelines.registry import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    Version,
    list_versions,
    move_stage,
    note,
    point_alias,
)
from pipelines.settings import Settings
from serving.ledger import Entry, read_ledger
from serving.whole_file import write_atomically

LEFT = "registry.json"  # under the root
STATE, WHO, WHY = "release.state", "release.who", "release.why"  # tags
STATES = {
    "approve": "approved",
    "reject": "rejected",
    "shadow": "in shadow",
    "canary": "in canary",
    "abort": "aborted",
}


@dataclass(frozen=True)
class Moved:
    """A version that a person moved to another stage."""

    version: Version
    former: str  # the stage that it was left in


def sync(settings: Settings) -> None:
    """Bring the registry where the ledger is; safe to repeat after a crash in the middle."""
    entries, found = read_ledger(settings.root), list_versions(settings)
    wanted, left = stages(entries, found), _left(settings)
    if any(wanted[version.number] != version.stage for version in found):
        both = {number: [*left.get(number, []), stage] for number, stage in wanted.items()}
        _leave(settings, both)
    for version in found:
        if wanted[version.number] != version.stage:
            move_stage(settings, version.number, wanted[version.number])
        tags = _notes(entries, version)
        if not tags.items() <= version.tags.items():
            note(settings, version.number, tags)
    point_alias(settings, aliases(entries, found, wanted))
    _leave(settings, {number: [stage] for number, stage in wanted.items()})


def stages(entries: Sequence[Entry], found: Sequence[Version]) -> dict[str, str]:
    """By version."""
    stack = served(entries)
    champion = stack[-1] if stack else None

    def stage(version: Version) -> str:
        latest = latest_about(entries, version.digest)
        if champion is not None and version.digest == champion.bundle:
            return "Production"
        if any(entry.serves and entry.bundle == version.digest for entry in entries):
            return "Archived"
        if latest is not None and latest.action in ("reject", "abort"):
            return "Archived"
        return "Archived" if champion and champion.ds > version.ds else "Staging"

    return {version.number: stage(version) for version in found}


def aliases(
    entries: Sequence[Entry], found: Sequence[Version], wanted: Mapping[str, str]
) -> dict[str, str | None]:
    """Versions by alias; None: the alias points to none."""
    stack, before = served(entries), fallback(entries)
    by_digest = {version.digest: version.number for version in found}
    champion = by_digest.get(stack[-1].bundle) if stack else None
    previous = by_digest.get(before.bundle) if before else None
    staged = [number for number, stage in wanted.items() if stage == "Staging"]
    return {
        CHAMPION: champion,
        PREVIOUS: previous,
        CHALLENGER: max(staged, key=int, default=None),
    }


def moved(settings: Settings) -> list[Moved]:
    """Versions that people moved since the last `sync`, oldest first."""
    found, left = list_versions(settings), _left(settings)
    wanted = stages(read_ledger(settings.root), found)
    moves = []
    for version in found:
        former = left.get(version.number, ["Staging"])  # where `register` leaves it
        if version.stage not in (*former, wanted[version.number], "None"):
            moves.append(Moved(version, former[-1]))
    return sorted(moves, key=lambda move: int(move.version.number))


def _notes(entries: Sequence[Entry], version: Version) -> dict[str, str]:
    """What people read beside the version: its state, and whose decision that was."""
    latest = latest_about(entries, version.digest)
    if latest is None:
        return {STATE: "waits for a review"}
    stack = served(entries)
    if stack and stack[-1].bundle == version.digest:
        state = "serves"
    elif latest.serves:
        state = "has served"
    else:
        state = STATES[latest.action]
    return {STATE: state, WHO: latest.who, WHY: latest.why}


def _left(settings: Settings) -> dict[str, list[str]]:
    try:
        return dict(json.loads((settings.root / LEFT).read_bytes()))
    except FileNotFoundError:
        return {}


def _leave(settings: Settings, left: Mapping[str, Sequence[str]]) -> None:
    write_atomically(settings.root / LEFT, json.dumps(dict(left), indent=1).encode())
