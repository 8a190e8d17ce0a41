"""Release decisions: promote, roll back. The ledger is written first, the registry follows it.

What a decision does not need is imported where it is needed: shoppers who see odd results wait for
the ledger, and MLflow and the engines take seconds to import.

Served bundles form a stack: a promotion puts one on top, a rollback goes back to one below, so
`rollback` never lands on a bundle that was itself rolled back.
"""

import getpass
from datetime import date
from pathlib import Path

import structlog

from model.errors import BadInput, Refused
from pipelines.settings import Settings
from pipelines.step import locked, staging
from serving.bundle import Bundle, store, verify
from serving.ledger import Entry, append, now, read_ledger

LOCK = "release.lock"

log = structlog.get_logger()


def promote_bundle(settings: Settings, ds: date, digest: str, *, who: str, why: str) -> Entry:
    """Make the bundle the champion; the entry that made it so if it is already.

    Raises Refused when a newer day's bundle serves or a blessing is missing, Damaged when the
    files are not the bundle's.
    """
    with locked(settings.root / "locks" / LOCK):
        entries = read_ledger(settings.root)
        current = entries[-1] if entries else None
        if current is None or current.bundle != digest:
            if current is not None and current.ds > ds:
                raise Refused(
                    f"The bundle of {ds} is older than the champion of {current.ds}, which stays. "
                    f"To serve an older bundle on purpose: lookalike rollback --to VERSION."
                )
            version = _version(settings, digest)
            bundle = _verified(settings, digest, version)
            _blessed(settings, ds, bundle)
            _try(bundle)
            current = Entry(
                at=now(), action="promote", who=who, why=why, ds=ds, version=version,
                former=current.bundle if current else None, bundle=digest,
                verdict=_verdict(bundle),
            )  # fmt: skip
            append(settings.root, current)
        _sync(settings)
    return current


def roll_back(settings: Settings, *, to: str | None, who: str, why: str) -> Entry:
    """Serve an earlier champion again: the one before, or version `to`.

    These very bytes have served, so they are verified and not tried again; a server that cannot
    load them keeps what it has. Raises BadInput when there is none, or when `to` never served,
    Damaged when the files are not the bundle's.
    """
    with locked(settings.root / "locks" / LOCK):
        entries = read_ledger(settings.root)
        target = _target(entries, to)
        bundle = _verified(settings, target.bundle, target.version)
        entry = Entry(
            at=now(), action="rollback", who=who, why=why, ds=target.ds, version=target.version,
            former=entries[-1].bundle, bundle=target.bundle, verdict=_verdict(bundle),
        )  # fmt: skip
        append(settings.root, entry)
        _sync(settings)
    return entry


def served(entries: list[Entry]) -> list[Entry]:
    """The stack of bundles that served and were not rolled back, the champion last."""
    stack: list[Entry] = []
    for entry in entries:
        # Forward again, to a bundle that was itself rolled back, puts it on top.
        if entry.action == "rollback" and any(entry.bundle == each.bundle for each in stack):
            while stack[-1].bundle != entry.bundle:
                stack.pop()
        if not stack or stack[-1].bundle != entry.bundle:
            stack.append(entry)
    return stack


def current_user() -> str:
    return getpass.getuser()


def _target(entries: list[Entry], to: str | None) -> Entry:
    stack = served(entries)
    if to is None:
        if len(stack) < 2:
            raise BadInput(
                f"Nothing to roll back to. Expected a bundle that served before the champion. "
                f"The ledger has: {[entry.version for entry in stack]}."
            )
        return stack[-2]
    for entry in reversed(entries):
        if entry.version == to:
            return entry
    raise BadInput(
        f"Version {to} has never served, so there is nothing to go back to. "
        f"Versions that have: {sorted({entry.version for entry in entries})}."
    )


def _version(settings: Settings, digest: str) -> str:
    from pipelines.registry import version_of

    version = version_of(settings, digest)
    if version is None:
        raise BadInput(f"Bundle {digest} is not in the registry. Run step `register` first.")
    return version


def _verified(settings: Settings, digest: str, version: str) -> Bundle:
    """Every byte of it; from the artefact store, if it is not here any more."""
    folder = settings.root / "bundles" / digest
    if not folder.is_dir():
        _restore(settings, digest, version, folder.parent)
    return verify(folder, digest)


def _try(bundle: Bundle) -> None:
    """Load it and ask it: what fails here must not reach shoppers."""
    from serving.champion import self_test
    from serving.engine import Engine

    self_test(Engine(bundle))


def _blessed(settings: Settings, ds: date, bundle: Bundle) -> None:
    """By the gate, and by a server that was started on it. Raises Refused."""
    if not bundle.manifest["verdict"].get("passed"):
        raise Refused(
            f"The gate has not blessed bundle {bundle.digest}. Expected a verdict that passed. "
            f"Received: {_verdict(bundle)}."
        )
    from pipelines.bless import read_blessing

    read_blessing(settings, ds, bundle.digest)


def _verdict(bundle: Bundle) -> str:
    verdict = bundle.manifest["verdict"]
    slices = verdict.get("slices", [])
    k = verdict.get("k")
    recall = f", recall@{k} {slices[0]['recall']:.3f}" if slices else ", nothing asked"
    return ("passed" if verdict.get("passed") else "refused") + recall


def _restore(settings: Settings, digest: str, version: str, bundles: Path) -> None:
    from pipelines.registry import download

    with staging(settings.root, f"restore-{digest}") as folder:
        found = download(settings, version, folder)
        verify(found, digest)
        store(found, bundles, digest)


def _sync(settings: Settings) -> None:
    """The ledger has decided; a registry that is away follows at the next decision."""
    from mlflow.exceptions import MlflowException

    from pipelines.registry import sync

    stack = served(read_ledger(settings.root))
    previous = stack[-2].version if len(stack) > 1 else None
    try:
        sync(settings, champion=stack[-1].version, previous=previous)
    except (MlflowException, OSError) as error:
        log.error("registry.behind", serves=stack[-1].version, error=str(error))
