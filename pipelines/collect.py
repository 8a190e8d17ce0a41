"""Remove bundles from this disk that nothing needs here any more.

    python -m pipelines.collect --ds 2026-11-20

Last of the day. A bundle stays as long as one of these holds:

    it serves, is the one that a rollback goes to, or served within KEPT_FOR
    it was made within NEW_FOR, or its manifest is damaged
    its version in the registry waits in Staging, has an alias, or a tag `pinned` that says so
    the artefact store does not have all of it: a rollback could not fetch it

No release is decided meanwhile. What the steps made of a day stays as well: this step knows nothing
of partitions. Cost: below 1 s while all is young, or 6 s, most of them to import MLflow.
"""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import structlog

from model.errors import Damaged
from pipelines.decisions import served
from pipelines.release import LOCK
from pipelines.settings import Settings
from pipelines.step import Outcome, Report, command, locked, run_step, staging
from serving.bundle import read_manifest
from serving.ledger import read_ledger, standing

KEPT_FOR = timedelta(days=30)
NEW_FOR = timedelta(days=7)
COLLECTED = "collected.json"
PINNED = "pinned"  # a tag of a version in MLflow
NO = ("", "false")  # values of that tag which pin nothing
CANDIDATES = ("Staging", "Production")  # Production: the ledger decides, the registry may be behind

log = structlog.get_logger()


def run(settings: Settings, ds: date) -> Report:
    """Once for each set of bundles that stay. Raises MlflowException where MLflow is away."""
    with locked(settings.root / "locks" / LOCK):  # no bundle comes to serve meanwhile
        stay = needed(settings, ds)
        return run_step(
            settings,
            "collect",
            ds,
            inputs={"stay": json.dumps(stay, sort_keys=True)},
            body=lambda folder: _collect(settings, stay, folder),
        )


def needed(settings: Settings, ds: date) -> dict[str, str]:
    """The bundles on this disk that stay, and why."""
    here = sorted(path.name for path in _bundles(settings))
    why = _by_ledger(settings, ds)
    for digest in here:
        if digest not in why and (reason := _by_manifest(settings, digest, ds)):
            why[digest] = reason
    others = [digest for digest in here if digest not in why]
    if others:
        why |= _by_registry(settings, others)
    return {digest: why[digest] for digest in here if digest in why}


def _collect(settings: Settings, stay: dict[str, str], folder: Path) -> Outcome:
    """Out of `bundles` by a rename, so that a kill in the middle leaves no half of one there."""
    gone = sorted(path.name for path in _bundles(settings) if path.name not in stay)
    with staging(settings.root, "collected") as out:
        for digest in gone:
            (settings.root / "bundles" / digest).rename(out / digest)
            log.info("bundle.collected", bundle=digest)
    (folder / COLLECTED).write_text(json.dumps(gone, indent=1))
    return Outcome(len(gone), {"kept": len(stay), "why": stay})


def _by_ledger(settings: Settings, ds: date) -> dict[str, str]:
    entries, first = read_ledger(settings.root), _midnight(ds) - KEPT_FOR
    lately = [entry for entry in entries if entry.at >= first]
    why = {
        digest: "decided about"
        for entry in lately
        for digest in (entry.bundle, entry.former)
        if digest
    }
    why |= {entry.bundle: "previous" for entry in served(entries)[-2:-1]}
    now = standing(reversed(entries))
    why |= {now.candidate.bundle: "candidate"} if now.candidate else {}
    why |= {now.champion.bundle: "champion"} if now.champion else {}
    return why


def _by_manifest(settings: Settings, digest: str, ds: date) -> str | None:
    try:
        _, manifest = read_manifest(settings.root / "bundles" / digest, digest)
        is_new = datetime.fromisoformat(manifest["created"]) >= _midnight(ds) - NEW_FOR
    except (Damaged, KeyError, TypeError, ValueError):
        return "damaged"  # nobody knows how old it is
    return "new" if is_new else None


def _by_registry(settings: Settings, digests: list[str]) -> dict[str, str]:
    from pipelines.artefacts import is_in_store  # MLflow takes seconds to import
    from pipelines.registry import stage_of, versions
    from pipelines.tracking import client

    version_of = {version.tags.get("bundle"): version for version in versions(settings)}
    model = client(settings).get_registered_model(settings.registry.model) if version_of else None
    aliased = {str(version) for version in model.aliases.values()} if model else set()
    why = {}
    for digest in digests:
        version = version_of.get(digest)
        if version is None:
            why[digest] = "not registered"
        elif stage_of(version) in CANDIDATES or str(version.version) in aliased:
            why[digest] = "candidate"
        elif version.tags.get(PINNED, "").strip().lower() not in NO:
            why[digest] = "pinned"
        elif not is_in_store(settings, version, settings.root / "bundles" / digest):
            why[digest] = "not in the artefact store"
    return why


def _bundles(settings: Settings) -> Iterator[Path]:
    return (path for path in (settings.root / "bundles").glob("*") if path.is_dir())


def _midnight(ds: date) -> datetime:
    return datetime.combine(ds, time(), UTC)


if __name__ == "__main__":
    command(run)
