"""Back to the bundle before: from the command to the first answer that is right again.

    make demo && make demo && make bench NAME=rollback

A copy of the demo's shop with its two versions, a server on one core under 200 requests a second
from another, and `lookalike rollback` as a person types it. Warm: the server still has the bundle
before. Cold: the server was started anew and the bundle's folder is gone, so that it comes from the
artefact store. Forward again by `lookalike rollback --to`, ROUNDS times. Cost: 2 minutes.
"""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np

from pipelines.airflow import program
from pipelines.decisions import fallback
from pipelines.golden import item_ids
from pipelines.server_process import OURS
from pipelines.settings import Settings, load_settings
from serving.ledger import Entry, champion, read_ledger
from tests.bench.figures import Row, median, quick, write
from tests.bench.load import Answers, get, offered
from tests.bench.servers import Server, serving, two_cores
from tests.tiny_shop import copy_shop

ROOT = Path(os.environ.get("SHOP", "build/demo"))
RATE = 200.0
ROUNDS = 5
WARM, COLD = 1.0, 60.0  # seconds wanted
PATIENCE = 120


@dataclass
class Load:
    """Requests without end, until `ended`, and what came of them."""

    url: str
    requests: Sequence[bytes]
    ended: threading.Event = field(default_factory=threading.Event)
    parts: list[Answers] = field(default_factory=list)

    def run(self) -> None:
        while not self.ended.is_set():
            self.parts.append(offered(self.url, self.requests, RATE))

    @property
    def errors(self) -> int:
        return sum(part.errors for part in self.parts)

    @property
    def answers(self) -> int:
        return sum(len(part.seconds) for part in self.parts)


def main() -> None:
    if fallback(read_ledger(ROOT)) is None:
        raise SystemExit(f"No two bundles below {ROOT}. Run `make demo` twice first, or set SHOP.")
    server_core, load_core = two_cores()
    with TemporaryDirectory(dir=ROOT.parent) as folder:
        settings = copy_shop(load_settings(root=ROOT), Path(folder) / "shop")
        some = requests(settings)
        with serving(OURS, settings.root, server_core) as server:
            os.sched_setaffinity(0, load_core)
            warm, load = under_load(server, settings, some, 2 if quick() else ROUNDS)
        forget_former(settings)
        with serving(OURS, settings.root, server_core) as server:
            cold, other = under_load(server, settings, some, 1)
    errors = load.errors + other.errors
    rows = [
        Row("warm, from the command to the first right answer", "s", median(warm), goal=WARM,
            at_most=True),
        Row("cold, the bundle from the artefact store", "s", median(cold), goal=COLD, at_most=True),
        Row("errors", "answers", float(errors), goal=0.0, at_most=True),
    ]  # fmt: skip
    conditions = {"offered a second": RATE, "answers": load.answers + other.answers}
    write("rollback", conditions, rows)


def under_load(
    server: Server, settings: Settings, some: Sequence[bytes], rounds: int
) -> tuple[list[float], Load]:
    """Seconds of each way back, with the load beside; forward again after each but the last."""
    load = Load(server.url, some)
    thread = threading.Thread(target=load.run)
    thread.start()
    try:
        seconds = []
        for number in range(rounds):
            newest = now(settings)
            former = former_of(settings)
            seconds.append(until(server, former, ["rollback", "--why", "a drill"], settings))
            if number < rounds - 1:
                forward = ["rollback", "--to", newest.version, "--why", "a drill"]
                until(server, newest.bundle, forward, settings)
    finally:
        load.ended.set()
        thread.join()
    return seconds, load


def until(server: Server, digest: str, arguments: Sequence[str], settings: Settings) -> float:
    """Seconds from the start of the command to the first answer of this bundle."""
    with httpx.Client(base_url=server.url) as client:
        started = time.monotonic()
        with lookalike(arguments, settings) as process:
            while client.get("/v1/bundle").json()["digest"] != digest:
                if process.poll() or time.monotonic() - started > PATIENCE:
                    raise SystemExit(f"`lookalike {arguments[0]}` changed nothing.")
                time.sleep(0.01)
            return time.monotonic() - started


def lookalike(arguments: Sequence[str], settings: Settings) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "LOOKALIKE_ROOT": str(settings.root)}
    return subprocess.Popen([program("lookalike"), *arguments], env=environment)


def forget_former(settings: Settings) -> None:
    """Forward to the newest, and the folder of the bundle before it is gone."""
    newest = max(read_ledger(settings.root), key=lambda entry: entry.ds)
    with lookalike(["rollback", "--to", newest.version], settings) as process:
        if process.wait():
            raise SystemExit("The newest bundle does not serve again.")
    shutil.rmtree(settings.root / "bundles" / former_of(settings))


def now(settings: Settings) -> Entry:
    entry = champion(settings.root)
    assert entry is not None
    return entry


def former_of(settings: Settings) -> str:
    """The digest that `lookalike rollback` goes back to."""
    before = fallback(read_ledger(settings.root))
    assert before is not None
    return before.bundle


def requests(settings: Settings) -> list[bytes]:
    """Two seconds of similar items, of items that both bundles have."""
    both = (former_of(settings), now(settings).bundle)
    found = (set(item_ids(settings.root / "bundles" / digest)) for digest in both)
    ids_of_both = sorted(set.intersection(*found))
    drawn = np.random.default_rng(0).integers(0, len(ids_of_both), int(2 * RATE))
    return [get(f"/v1/items/{ids_of_both[row]}/similar") for row in drawn]


if __name__ == "__main__":
    main()
