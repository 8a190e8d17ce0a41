"""The ledger: one line of JSON for every release decision, only ever appended.

    approve, reject     what a review said of a candidate
    shadow, canary      the candidate answers a share of the traffic, unseen or for shoppers
    promote, rollback   the bundle serves from now on
    abort               the candidate is out, the champion serves all

It says which bundle is in Production; rollback reads it and never guesses. The MLflow registry is
kept in step with it, so that serving goes on when the registry is away.
"""

import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

LEDGER = "ledger.jsonl"
SERVES = ("promote", "rollback")
ROLLS_OUT = ("shadow", "canary")

Action = Literal["approve", "reject", "shadow", "canary", "promote", "abort", "rollback"]
ACTIONS: tuple[Action, ...] = get_args(Action)


class Entry(BaseModel):
    """One decision."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    action: Action
    who: str
    why: str
    verdict: str = ""  # of the gate, in a few words
    ds: date  # of the bundle
    version: str  # in the registry
    former: str | None  # digest that served until now
    bundle: str  # digest of what was decided about
    share: float = Field(default=0.0, ge=0, le=1)  # of the traffic, in shadow and canary

    @property
    def serves(self) -> bool:
        """From now on."""
        return self.action in SERVES


@dataclass(frozen=True)
class Standing:
    """What serves, and the candidate that answers a share of the traffic."""

    champion: Entry | None = None
    candidate: Entry | None = None


def read_ledger(root: Path) -> list[Entry]:
    """All decisions, oldest first."""
    return [Entry.model_validate_json(line) for line in _lines(root)]


def read_standing(root: Path) -> Standing:
    """Servers ask several times a second, so only the last lines are parsed."""
    return standing(Entry.model_validate_json(line) for line in reversed(_lines(root)))


def standing(newest_first: Iterable[Entry]) -> Standing:
    """What the decisions come to: a candidate is out by an abort, or once anything serves."""
    candidate, ended = None, False
    for entry in newest_first:
        if entry.serves:
            return Standing(entry, candidate)
        if not ended and entry.action in (*ROLLS_OUT, "abort"):
            candidate = entry if entry.action in ROLLS_OUT else None
            ended = True
    return Standing(None, candidate)


def champion(root: Path) -> Entry | None:
    """What serves."""
    return read_standing(root).champion


def _lines(root: Path) -> list[bytes]:
    """Without one that a crash cut short, which was never acknowledged."""
    try:
        data = (root / LEDGER).read_bytes()
    except FileNotFoundError:
        return []
    return data[: data.rfind(b"\n") + 1].splitlines()


def append(root: Path, entry: Entry) -> None:
    """Write a decision; it is on the disk when this returns."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / LEDGER).open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json.dumps(entry.model_dump(mode="json"), sort_keys=True).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def now() -> datetime:
    return datetime.now(UTC)
