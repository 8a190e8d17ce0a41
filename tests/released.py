"""Candidates of a shop that was drawn: the second day's bundle sealed once more, and what is said.

candidate = add_candidate(settings)           # registered as the next version, not reviewed
approve(settings, candidate)
with replicas(settings, 2) as shop: ...  # the shop served by two servers, under load
"""

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path

import httpx
from pydantic import SecretStr
from test_registry import sealed
from tiny_bundle import OPERATOR, OPERATOR_SECRET, site
from tiny_shop import DAY_1, DAY_2

from pipelines.blessing import keep_blessing, read_blessing
from pipelines.bundle import bundle_digest
from pipelines.evidence_record import read_evidence
from pipelines.golden import item_ids
from pipelines.registry import list_versions, register_bundle
from pipelines.releasable import Registered
from pipelines.release import review_bundle
from pipelines.settings import Rollout, Serve, Settings
from pipelines.stages import STATE, WHO, WHY
from serving.bundle import MANIFEST, seal, store, verify
from serving.ledger import Entry, champion, read_ledger


def add_candidate(
    settings: Settings,
    *,
    ds: date = DAY_2,
    hour: int = 23,
    edit: Callable[[Path], object] = lambda folder: None,
) -> Registered:
    """The second day's bundle after `edit`, sealed at another time, as the next version."""
    bundle = sealed(settings, DAY_2)
    folder = settings.root / "again"
    shutil.copytree(bundle.folder, folder)
    edit(folder)
    (folder / MANIFEST).unlink()
    facts = {k: v for k, v in bundle.manifest.items() if k not in ("files", "schema_version")}
    digest = seal(folder, {**facts, "created": f"2026-11-20T{hour}:00:00+00:00"})
    placed = store(folder, settings.root / "bundles", digest)
    blessing = {**read_blessing(settings, bundle.digest), "bundle": digest}
    keep_blessing(settings, digest, blessing)
    evidence = read_evidence(settings, DAY_2, bundle.digest)
    version = register_bundle(settings, ds, verify(placed, digest), blessing, evidence)
    return Registered(version, ds, digest)


def approve(settings: Settings, candidate: Registered, who: str = "ada") -> Entry:
    return review_bundle(settings, candidate, "approve", who=who, why="looks good")


def history(settings: Settings) -> list[tuple[str, str, str | None]]:
    """Action, version, and the version that served until then; without approvals."""
    entries = [entry for entry in read_ledger(settings.root) if entry.action != "approve"]
    version = {entry.bundle: entry.version for entry in entries}
    return [(e.action, e.version, e.former and version[e.former]) for e in entries]


def notes(settings: Settings, version: str) -> tuple[str, ...]:
    """State, who and why, as people read them in the registry."""
    (found,) = [each for each in list_versions(settings) if each.number == version]
    return tuple(found.tags[name] for name in (STATE, WHO, WHY) if name in found.tags)


def items_of_both_days(settings: Settings) -> list[str]:
    """What neither bundle answers with nothing: the second day deletes one."""
    first, second = (
        set(item_ids(settings.root / "bundles" / bundle_digest(settings, ds)))
        for ds in (DAY_1, DAY_2)
    )
    return sorted(first & second)


def champion_version(settings: Settings) -> str:
    entry = champion(settings.root)
    assert entry is not None
    return entry.version


def damage(settings: Settings, digest: str) -> None:
    """One bit of its vectors; the file is another one than that of the shop that was copied."""
    path = settings.root / "bundles" / digest / "vectors.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()
    path.write_bytes(data)


@contextmanager
def replicas(settings: Settings, count: int, **rollout: object) -> Iterator[Settings]:
    """The shop's settings with the addresses of that many servers of it, and a rollout in haste."""
    haste = {"shadow_seconds": 2, "canary_seconds": 2, "shadow_share": 1, "canary_share": 0.5}
    with ExitStack() as stack:
        urls = [stack.enter_context(site(settings.root)) for _ in range(count)]
        keys = SecretStr(f"{OPERATOR}:{OPERATOR_SECRET}")
        given = {**haste, "min_queries": 5, "replicas": urls, **rollout}
        yield settings.model_copy(
            update={
                "serve": Serve(operator_keys=keys, port=1),
                "rollout": Rollout.model_validate(given),
            }
        )


@contextmanager
def shoppers(urls: Sequence[str], items: Sequence[str]) -> Iterator[list[httpx.Response]]:
    """Somebody asks each server all the time; the answers so far."""
    answers: list[httpx.Response] = []
    stopped = threading.Event()

    def ask(url: str) -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            while not stopped.is_set():
                for item in items:
                    answers.append(client.get(f"/v1/items/{item}/similar"))

    threads = [threading.Thread(target=ask, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
