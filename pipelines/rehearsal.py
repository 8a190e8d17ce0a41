"""A server on one bundle, in a root of its own, that no shopper sees, and what it showed.

with staging(settings.root, "rehearsal") as root:
    put_in_production(settings, root, ds, digest)
    rehearsal = rehearse(settings, root, {"items": golden_items(engine, 200, k=10)})
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from pipelines.golden import Golden
from pipelines.progress import progress
from pipelines.server_environment import trial_environment
from pipelines.server_process import free_port, server_process
from pipelines.settings import Bless, Settings
from serving.ledger import Entry, append, now

CLIENTS = {"items": 8, "photos": 2}  # that take the times; a photo keeps a core busy
MEMORY = "process_resident_memory_bytes"  # as the server's own /metrics name it

ByKind = dict[str, float | None]  # of golden queries; None where nothing was asked


@dataclass(frozen=True)
class Rehearsal:
    """What the server told; nothing but why where it did not come up."""

    faults: list[str]  # a line for each query that was not answered as it must be
    load_seconds: float | None = None
    memory_bytes: int | None = None  # of the server's process
    p50_ms: ByKind = field(default_factory=dict)
    p99_ms: ByKind = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    def failures(self, bounds: Bless) -> list[str]:
        """Why the bundle must not serve; empty for a good one."""
        if self.load_seconds is None:
            return self.faults
        faults, most = self.faults, bounds.max_memory_bytes
        found = [f"{len(faults)} queries failed, the first: {faults[0]}"] if faults else []
        for kind, p99 in self.p99_ms.items():
            if p99 is not None and p99 > bounds.max_p99_ms:
                found.append(f"p99 of {kind} {p99:g} ms is above {bounds.max_p99_ms:g}")
        if self.memory_bytes is not None and most is not None and self.memory_bytes > most:
            found.append(f"{self.memory_bytes / 1e6:.0f} MB in memory are above {most / 1e6:.0f}")
        return found

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Told:
    """What the server answered, and after how many milliseconds."""

    fault: str | None
    hits: list[dict[str, Any]] | None
    milliseconds: float


def put_in_production(settings: Settings, root: Path, ds: date, digest: str) -> None:
    """A root that has nothing but this bundle, and a ledger that names it."""
    bundles = root / "bundles"
    bundles.mkdir(parents=True)
    (bundles / digest).symlink_to((settings.root / "bundles" / digest).resolve())
    entry = Entry(
        at=now(), action="promote", who="bless", why="a rehearsal", ds=ds, version="0",
        former=None, bundle=digest,
    )  # fmt: skip
    append(root, entry)


def rehearse(settings: Settings, root: Path, golden: dict[str, list[Golden]]) -> Rehearsal:
    """Start a server over this root and ask it all. Raises LookalikeError if it does not start."""
    environment, headers = trial_environment(settings, root)
    started = time.monotonic()
    with server_process(
        environment, "127.0.0.1", free_port(), root / "server.log",
        seconds=settings.bless.max_load_seconds,
    ) as server:  # fmt: skip
        load_seconds = time.monotonic() - started
        with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
            # One after the other: what is searched together is summed up in another order, and the
            # last digit of a score may be another one.
            answers = [told for some in golden.values() for told in _all(client, some, 1, ask)]
            timed = {
                kind: _all(client, some, CLIENTS[kind], _timed) for kind, some in golden.items()
            }
            memory = _memory(client.get("/metrics").text)
    times = {kind: [each.milliseconds for each in some] for kind, some in timed.items()}
    late = [each for some in timed.values() for each in some]
    return Rehearsal(
        faults=[*dict.fromkeys(each.fault for each in (*answers, *late) if each.fault)],
        load_seconds=round(load_seconds, 2),
        memory_bytes=memory,
        p50_ms={kind: _percentile(some, 50) for kind, some in times.items()},
        p99_ms={kind: _percentile(some, 99) for kind, some in times.items()},
        asked={kind: len(some) for kind, some in golden.items()},
    )


def ask(client: httpx.Client, golden: Golden) -> Told:
    """Is it the very answer?"""
    told = _timed(client, golden)
    if told.hits is None or told.hits == golden.hits:
        return told
    return replace(told, fault=f"{golden.name}: {_difference(golden.hits, told.hits)}")


def _all(
    client: httpx.Client,
    golden: Sequence[Golden],
    clients: int,
    ask: Callable[[httpx.Client, Golden], Told],
) -> list[Told]:
    with (
        ThreadPoolExecutor(clients) as pool,
        progress("bless", len(golden)) as advance,
    ):
        found = []
        for told in pool.map(partial(ask, client), golden):
            found.append(told)
            advance()
    return found


def _timed(client: httpx.Client, golden: Golden) -> Told:
    """Is it an answer?"""
    started = time.perf_counter()
    try:
        answer = golden.ask(client)
    except httpx.HTTPError as error:
        return Told(f"{golden.name}: no answer, {type(error).__name__}", None, _since(started))
    if answer.status_code != httpx.codes.OK:
        fault = f"{golden.name}: status {answer.status_code}, {answer.text[:200]}"
        return Told(fault, None, _since(started))
    return Told(None, answer.json()["hits"], _since(started))


def _since(started: float) -> float:
    return 1000 * (time.perf_counter() - started)


def _difference(expected: list[dict[str, Any]], received: list[dict[str, Any]]) -> str:
    """The first place where two answers part."""
    for place, (one, other) in enumerate(zip(expected, received, strict=False), 1):
        if one != other:
            names = [name for name in one if one[name] != other.get(name)]
            pairs = [f"{name} {other.get(name)!r} for {one[name]!r}" for name in names]
            return f"hit {place} has {', '.join(pairs)}"
    return f"{len(received)} hits for {len(expected)}"


def _memory(metrics: str) -> int:
    """Of the server's process."""
    line = next(line for line in metrics.splitlines() if line.startswith(f"{MEMORY} "))
    return int(float(line.split()[1]))


def _percentile(milliseconds: list[float], share: float) -> float | None:
    """None where nothing was asked."""
    return round(float(np.percentile(milliseconds, share)), 2) if milliseconds else None
