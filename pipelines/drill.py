"""Show that the bundle which a rollback goes to can serve, and how soon, away from shoppers.

    python -m pipelines.drill

Twice, each time in a root of its own, by the entry that `lookalike rollback` writes:

    warm   a server that served the bundle, then the champion, and is asked all the time
    cold   an empty disk: the bundle comes from the artefact store, and a server is started on it

Afterwards every answer must be the one that the engine gives in this process. Beyond the bounds of
`drill`, or with a single error, it ends with exit code 3. The figures go to MLflow and to
`drills/`. A shop where nothing served before the champion has nothing to drill. Cost: 1 minute,
most of it the start of two servers.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from model.errors import LookalikeError, Refused
from pipelines.clients import Clients
from pipelines.decisions import fallback, served
from pipelines.golden import Golden, golden_items, item_ids, similar_path, spread
from pipelines.rehearsal import ask
from pipelines.releasable import verified
from pipelines.release import current_user, undo
from pipelines.server_environment import trial_environment
from pipelines.server_process import free_port, server_process
from pipelines.settings import Drill, Settings, load_settings
from pipelines.step import exit_codes, locked, staging
from serving.bundle import Bundle
from serving.engine import Engine
from serving.ledger import Entry, append, now, read_ledger
from serving.whole_file import write_atomically

FOLDER = "drills"  # under the root
ITEMS = 50  # asked for what looks like them
PATIENCE_SECONDS = 60  # for a swap, however small the bound is
WHY = "a drill"
NOTHING = "no bundle served before the champion"


@dataclass(frozen=True)
class Ways:
    """From the champion back to the bundle before it."""

    champion: Entry
    before: Entry


@dataclass(frozen=True)
class Shown:
    """What one of the ways back showed."""

    seconds: float | None  # from the decision to the first answer; None: there was none
    answers: int = 0
    faults: Sequence[str] = ()

    def failures(self, name: str, most: float) -> Iterator[str]:
        if self.faults:
            more = f" (and {len(self.faults) - 1} more)" if self.faults[1:] else ""
            yield f"{name}: {self.faults[0]}{more}"
        if self.seconds is not None and self.seconds > most:
            yield f"{name}: {self.seconds:.2f} s to the first answer, above {most:g}"


def drill(settings: Settings) -> dict[str, Any]:
    """The record, which is also in MLflow. Raises Refused where a rollback would not do."""
    with locked(settings.root / "locks" / "drill.lock"):
        entries = read_ledger(settings.root)
        before = fallback(entries)
        if before is None:
            return {"drilled": False, "why": NOTHING}
        ways = Ways(served(entries)[-1], before)
        warm = _show(settings, partial(_warm, ways=ways), "drill-warm")
        cold = _show(settings, partial(_cold, ways=ways), "drill-cold")
        record = _record(settings.drill, ways, warm, cold)
        path = settings.root / FOLDER / f"{record['at'][:10]}.json"
        write_atomically(path, json.dumps(record, indent=1).encode())
        _log(settings, record)
    if record["failures"]:
        raise Refused(
            f"A rollback to version {before.version}, bundle {before.bundle}, would not do: "
            f"{'; '.join(record['failures'])}. Expected no error, and its first answer within the "
            f"seconds of `drill`. Shoppers saw nothing of this. Look at {path}."
        )
    return record


def _show(settings: Settings, way: Callable[[Settings, Path], Shown], name: str) -> Shown:
    """A damaged bundle, and a server that does not come up, are what a drill is to find."""
    with staging(settings.root, name) as root:
        try:
            return way(settings, root)
        except LookalikeError as error:
            return Shown(None, faults=[str(error)])


def _warm(settings: Settings, root: Path, *, ways: Ways) -> Shown:
    """A server that has both loaded, asked all the time."""
    alone = _alone(settings, root)
    (root / "bundles").mkdir()
    for entry in (ways.before, ways.champion):
        here = settings.root / "bundles" / entry.bundle
        if here.is_dir():  # else a rollback would fetch it, and so does this
            (root / "bundles" / entry.bundle).symlink_to(here.resolve())
    before, champion = (
        verified(alone, entry.bundle, entry.version) for entry in (ways.before, ways.champion)
    )
    golden = _golden(settings, before)
    append(root, ways.before)
    with _server(settings, root) as (url, headers):
        with Clients(url, headers, _paths(settings, before, champion)) as clients:
            append(root, ways.champion)
            clients.wait_for(champion.digest, since=time.monotonic(), patience=PATIENCE_SECONDS)
            since = time.monotonic()
            undo(alone, to=None, who=current_user(), why=WHY)
            seconds = clients.wait_for(before.digest, since=since, patience=PATIENCE_SECONDS)
        faults = [*clients.faults, *_wrong(url, headers, golden)]
    return Shown(seconds, len(clients.heard) + len(golden), faults)


def _cold(settings: Settings, root: Path, *, ways: Ways) -> Shown:
    """Nothing on the disk but the ledger."""
    alone = _alone(settings, root)
    append(root, ways.before)
    append(root, ways.champion)
    started = time.monotonic()
    undo(alone, to=None, who=current_user(), why=WHY)
    fetched = time.monotonic() - started
    before = verified(alone, ways.before.bundle, ways.before.version)
    golden = _golden(settings, before)
    started = time.monotonic()
    with _server(settings, root) as (url, headers):
        wrong = _wrong(url, headers, golden[:1])
        seconds = fetched + time.monotonic() - started
        wrong += _wrong(url, headers, golden[1:])
    return Shown(seconds, len(golden), wrong)


def _alone(settings: Settings, root: Path) -> Settings:
    """Another root, and the registry of the shop: it is only read."""
    registry = settings.registry.model_copy(update={"tracking_uri": settings.tracking_uri})
    return settings.model_copy(update={"root": root, "registry": registry})


def _golden(settings: Settings, bundle: Bundle) -> list[Golden]:
    return golden_items(Engine(bundle), ITEMS, settings.gate.k)


def _paths(settings: Settings, *bundles: Bundle) -> list[str]:
    """Similar items of items that all have. Raises LookalikeError where they share none."""
    first, *others = (item_ids(bundle.folder) for bundle in bundles)
    shared = set(first).intersection(*others)
    if not shared:
        raise LookalikeError(
            f"The bundles {', '.join(bundle.digest for bundle in bundles)} have no item in common, "
            f"so nothing can be asked of all."
        )
    ids = spread([item_id for item_id in first if item_id in shared], ITEMS)
    return [similar_path(item_id, settings.gate.k) for item_id in ids]


@contextmanager
def _server(settings: Settings, root: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Its address once it is ready, and the headers to ask it with."""
    environment, headers = trial_environment(settings, root)
    address = ("127.0.0.1", free_port(), root / "server.log")
    with server_process(environment, *address, seconds=settings.bless.max_load_seconds) as server:
        yield server.url, headers


def _wrong(url: str, headers: dict[str, str], golden: Sequence[Golden]) -> list[str]:
    """One after the other: asked together, the last digit of a score may be another one."""
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        return [told.fault for each in golden if (told := ask(client, each)).fault is not None]


def _record(bounds: Drill, ways: Ways, warm: Shown, cold: Shown) -> dict[str, Any]:
    failures = [
        *warm.failures("warm", bounds.max_warm_seconds),
        *cold.failures("cold", bounds.max_cold_seconds),
    ]
    return {
        "drilled": True,
        "at": now().isoformat(timespec="seconds"),
        "champion": ways.champion.bundle,
        "bundle": ways.before.bundle,
        "version": ways.before.version,
        "warm_seconds": warm.seconds and round(warm.seconds, 2),
        "cold_seconds": cold.seconds and round(cold.seconds, 2),
        "answers": warm.answers + cold.answers,
        "errors": len(warm.faults) + len(cold.faults),
        "failures": failures,
    }


def _log(settings: Settings, record: dict[str, Any]) -> None:
    """One run in MLflow."""
    from pipelines.tracking import client, experiment_id

    tracker = client(settings)
    run = tracker.create_run(
        experiment_id(settings),
        run_name=f"rollback drill {record['at'][:10]}",
        tags={"step": "drill", "bundle": record["bundle"]},
    )
    for name in ("warm_seconds", "cold_seconds", "errors"):
        if record[name] is not None:
            tracker.log_metric(run.info.run_id, name, record[name])
    tracker.log_dict(run.info.run_id, record, "drill.json")
    tracker.set_terminated(run.info.run_id, "FAILED" if record["failures"] else "FINISHED")


def main() -> None:
    """The record on the last line."""
    with exit_codes():
        sys.stdout.write(json.dumps(drill(load_settings())) + "\n")


if __name__ == "__main__":
    main()
