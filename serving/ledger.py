"""The ledger: one line of JSON for every release decision, only ever appended.

Its last line says which bundle is in Production; rollback reads it and never guesses. The MLflow
registry is kept in step with it, so that serving goes on when the registry is away.
"""

import fcntl
import json
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

LEDGER = "ledger.jsonl"


class Entry(BaseModel):
    """One decision."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    action: Literal["promote", "rollback"]
    who: str
    why: str
    verdict: str = ""  # of the gate, in a few words
    ds: date  # of the bundle that serves from now on
    version: str  # in the registry
    former: str | None  # digest that served until now
    bundle: str  # digest that serves from now on


def read_ledger(root: Path) -> list[Entry]:
    """All decisions, oldest first."""
    return [Entry.model_validate_json(line) for line in _lines(root)]


def champion(root: Path) -> Entry | None:
    """What serves. Servers ask several times a second, so only this line is parsed."""
    lines = _lines(root)
    return Entry.model_validate_json(lines[-1]) if lines else None


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
