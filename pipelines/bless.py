"""Start the real server on the day's bundle, and compare its answers with the bundle's own.

    python -m pipelines.bless --ds 2026-11-20

The gate asks an index; shoppers ask a server. So the second blessing loads the sealed bundle in a
server of its own, apart from the one that serves, and asks it over HTTP with golden queries: items
of the bundle, several at a time, and photos that the gate asked with. Every answer must be the one
that the engine gives in this process, to the last digit that is shown. How long the bundle loads,
what it needs in memory, and how long shoppers would wait are taken beside it. A no ends with exit
code 3 and nothing is registered. Cost: the start of a server, 10 s, and a second for 100 queries.
"""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.errors import BadImage, LookalikeError, Refused
from pipelines.bundle import bundle_digest
from pipelines.catalogue import read_catalogue
from pipelines.progress import progress
from pipelines.server_environment import trial_environment
from pipelines.server_process import free_port, server_process
from pipelines.settings import Bless, Settings
from pipelines.step import Outcome, Partition, Report, command, run_step, staging
from serving.bundle import verify
from serving.engine import Engine
from serving.ledger import Entry, append, now
from serving.photo_file import read_photo

BLESSING = "blessing.json"
CLIENTS = {"items": 8, "photos": 2}  # that ask at a time; a photo keeps a core busy
SPARE = 2  # rows read for each photo that is asked with: some cannot be read any more
LAST_DIGIT = 1e-4  # of a score
LOAD = "load_seconds"
MEMORY = "process_resident_memory_bytes"  # as the server's own /metrics name it

Ask = Callable[[httpx.Client], httpx.Response]


@dataclass(frozen=True)
class Golden:
    """A query over HTTP, and the hits that it must get."""

    name: str
    ask: Ask
    hits: list[dict[str, Any]]


@dataclass(frozen=True)
class Told:
    """What the server answered, and after how many milliseconds."""

    fault: str | None  # None: the very answer
    milliseconds: float


def run(settings: Settings, ds: date) -> Report:
    """Measure, write the blessing, and raise Refused when it is none."""
    digest = bundle_digest(settings, ds)
    inputs = {"bundle": digest, "settings": settings.bless.model_dump_json()}
    report = run_step(
        settings, "bless", ds, inputs=inputs, body=lambda to: _bless(settings, ds, digest, to)
    )
    if not report.details["passed"]:
        raise Refused(
            f"The server's answers do not bless bundle {digest} of {ds}: "
            f"{'; '.join(report.details['failures'])}. Production is unchanged. Look at "
            f"{Partition(settings, 'bless', ds).output / BLESSING}."
        )
    return report


def read_blessing(settings: Settings, ds: date, digest: str) -> dict[str, Any]:
    """The record of this bundle. Raises Refused where a server has not blessed it."""
    report = Partition(settings, "bless", ds).report()
    if report is None or report.inputs["bundle"] != digest:
        raise Refused(
            f"No server has blessed bundle {digest}. Expected golden queries answered by it. "
            f"Run it first: python -m pipelines.bless --ds {ds}"
        )
    record: dict[str, Any] = json.loads(
        (Partition(settings, "bless", ds).output / BLESSING).read_bytes()
    )
    if not record["passed"]:
        raise Refused(
            f"A server did not bless bundle {digest}: {'; '.join(record['failures'])}. "
            f"Production is unchanged."
        )
    return record


def _bless(settings: Settings, ds: date, digest: str, folder: Path) -> Outcome:
    engine = Engine(verify(settings.root / "bundles" / digest, digest))
    golden = {
        "items": golden_items(engine, settings.bless.items, settings.gate.k),
        "photos": golden_photos(settings, ds, engine, settings.bless.photos),
    }
    with staging(settings.root, f"trial-{digest}") as root:
        put_in_production(settings, root, ds, digest)
        try:
            record = tried(settings, root, golden)
        except LookalikeError as error:  # a bundle that no server can load is none
            record = {"faults": [str(error)], "p50_ms": {}, "p99_ms": {}}
            record |= {LOAD: None, "memory_bytes": None, "asked": {}}
    record |= {"bundle": digest, "failures": _failures(record, settings.bless)}
    record["passed"] = not record["failures"]
    (folder / BLESSING).write_text(json.dumps(record, indent=1))
    shown = ("passed", "failures", LOAD, "p99_ms", "memory_bytes")
    return Outcome(
        rows=sum(map(len, golden.values())), details={name: record[name] for name in shown}
    )


def golden_items(engine: Engine, count: int, k: int) -> list[Golden]:
    """Similar items of items from all over the bundle."""
    ids = engine.items.table["item_id"]
    rows = np.unique(np.linspace(0, len(ids) - 1, min(count, len(ids))).astype(int))

    def query(item_id: str) -> Golden:
        path = f"/v1/items/{quote(item_id, safe='')}/similar?k={k}"
        hits = engine.similar(item_id, k).hits
        return Golden(f"item {item_id}", lambda client: client.get(path), hits)

    return [query(ids[int(row)].as_py()) for row in rows]


def golden_photos(settings: Settings, ds: date, engine: Engine, count: int) -> list[Golden]:
    """Photos of the catalogue that nothing was trained on, those from the wild first.

    One that cannot be read any more is no query: the bundle does not hold it.
    """
    found: list[Golden] = []
    for row in _unseen(read_catalogue(settings, ds).items, SPARE * count):
        if len(found) == count:
            break
        try:
            photo = read_photo(row["image"], settings.root)
            hits = engine.search(photo, settings.gate.k).hits
        except (BadImage, OSError):
            continue
        path = f"/v1/search?k={settings.gate.k}"
        ask = partial(_post, path=path, photo=photo)
        found.append(Golden(f"photo of {row['item_id']}", ask, hits))
    return found


def _unseen(items: pa.Table, count: int) -> list[dict[str, Any]]:
    """Rows that nothing was trained on, by photo digest: as good as random, the same every day."""
    unseen = items.filter(pc.not_equal(items["split"], "train")).sort_by("image_digest")
    wild = pc.equal(unseen["kind"], "wild")
    parts = [unseen.filter(wild), unseen.filter(pc.invert(wild))]
    found: list[dict[str, Any]] = pa.concat_tables(parts)[:count].to_pylist()
    return found


def _post(client: httpx.Client, *, path: str, photo: bytes) -> httpx.Response:
    return client.post(path, content=photo)


def put_in_production(settings: Settings, root: Path, ds: date, digest: str) -> None:
    """A root that has nothing but this bundle, and a ledger that names it."""
    bundles = root / "bundles"
    bundles.mkdir(parents=True)
    (bundles / digest).symlink_to((settings.root / "bundles" / digest).resolve())
    entry = Entry(
        at=now(), action="promote", who="bless", why="a trial", ds=ds, version="0",
        former=None, bundle=digest,
    )  # fmt: skip
    append(root, entry)


def tried(settings: Settings, root: Path, golden: dict[str, list[Golden]]) -> dict[str, Any]:
    """Figures of a server over this root, and the queries that it answered otherwise."""
    environment, headers = trial_environment(settings, root)
    started = time.monotonic()
    with server_process(
        environment, "127.0.0.1", free_port(), root / "server.log",
        seconds=settings.bless.max_load_seconds,
    ) as url:  # fmt: skip
        load_seconds = time.monotonic() - started
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            told = {kind: _all(client, some, CLIENTS[kind]) for kind, some in golden.items()}
            memory = _memory(client.get("/metrics").text)
    times = {kind: [each.milliseconds for each in some] for kind, some in told.items()}
    return {
        LOAD: round(load_seconds, 2),
        "memory_bytes": memory,
        "p50_ms": {kind: _percentile(some, 50) for kind, some in times.items()},
        "p99_ms": {kind: _percentile(some, 99) for kind, some in times.items()},
        "asked": {kind: len(some) for kind, some in golden.items()},
        "faults": [each.fault for some in told.values() for each in some if each.fault],
    }


def _all(client: httpx.Client, golden: Sequence[Golden], clients: int) -> list[Told]:
    with (
        ThreadPoolExecutor(clients) as pool,
        progress("bless", len(golden)) as advance,
    ):
        found = []
        for told in pool.map(partial(_told, client), golden):
            found.append(told)
            advance()
    return found


def _told(client: httpx.Client, golden: Golden) -> Told:
    started = time.perf_counter()
    fault = None
    try:
        answer = golden.ask(client)
    except httpx.HTTPError as error:
        fault = f"{golden.name}: no answer, {type(error).__name__}"
    else:
        if answer.status_code != httpx.codes.OK:
            fault = f"{golden.name}: status {answer.status_code}, {answer.text[:200]}"
        elif difference := difference_of(golden.hits, answer.json()["hits"]):
            fault = f"{golden.name}: {difference}"
    return Told(fault, 1000 * (time.perf_counter() - started))


def difference_of(expected: list[dict[str, Any]], received: list[dict[str, Any]]) -> str | None:
    """The first place where two answers part; None where they are the same.

    Scores have four digits, and queries that are searched together sum up in another order: the
    last digit may be another one.
    """
    for place, (one, other) in enumerate(zip(expected, received, strict=False), 1):
        names = [name for name in one | other if one.get(name) != other.get(name)]
        if names == ["score"] and abs(one["score"] - other["score"]) < 1.5 * LAST_DIGIT:
            continue
        if names:
            pairs = [f"{name} {other.get(name)!r} for {one.get(name)!r}" for name in names]
            return f"hit {place} has {', '.join(pairs)}"
    if len(received) != len(expected):
        return f"{len(received)} hits for {len(expected)}"
    return None


def _failures(record: dict[str, Any], bounds: Bless) -> list[str]:
    faults = record["faults"]
    found = [f"{len(faults)} queries failed, the first: {faults[0]}"] if faults else []
    for kind, p99 in record["p99_ms"].items():
        if p99 is not None and p99 > bounds.max_p99_ms:
            found.append(f"p99 of {kind} {p99:g} ms is above {bounds.max_p99_ms:g}")
    memory, most = record["memory_bytes"], bounds.max_memory_bytes
    if memory is not None and most is not None and memory > most:
        found.append(f"{memory / 1e6:.0f} MB in memory are above {most / 1e6:.0f}")
    return found


def _memory(metrics: str) -> int:
    """Of the server's process."""
    line = next(line for line in metrics.splitlines() if line.startswith(f"{MEMORY} "))
    return int(float(line.split()[1]))


def _percentile(milliseconds: list[float], share: float) -> float | None:
    """None where nothing was asked."""
    return round(float(np.percentile(milliseconds, share)), 2) if milliseconds else None


if __name__ == "__main__":
    command(run)
