"""From a photo to its answer over HTTP, beside the sum of its parts run bare.

    make demo && make bench NAME=photo

The demo's bundle, its network and its photos, studio and wild; two cores for the server, and the
load beside it on others where there are others. Bare is the same engine in this process: look at
the photo, embed, search. Alone: one photo at a time, the parts' medians added. Together: 16
clients, beside the photos a second that two cores would do if they only looked, embedded in full
batches and searched. Server and parts in turns. Cost: 6 minutes on 2 cores.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from model.errors import BadImage
from pipelines.server_process import OURS
from serving.bundle import verify
from serving.engine import Ask, Engine
from serving.ledger import champion
from serving.limits import EMBED_BATCH
from serving.selection import Wanted
from tests.bench.figures import Row, interleaved, median, quick, write
from tests.bench.load import Answers, post, saturated
from tests.bench.servers import Server, running_on, serving

ROOT = Path(os.environ.get("SHOP", "build/demo"))
CORES, CLIENTS = 2, 16
ROUNDS = 5
OVERHEAD = 1.1


def photos(engine: Engine, count: int) -> list[bytes]:
    """Of the shop's photos, those that can be decoded: the demo has some that cannot."""
    paths = sorted(ROOT.glob("sample/**/*.jpg")) or sorted(ROOT.glob("**/*.jpg"))
    found = []
    for path in paths[:: max(1, len(paths) // count)][:count]:
        data = path.read_bytes()
        with suppress(BadImage):
            engine.look(data)
            found.append(data)
    if not found:
        raise SystemExit(f"No photos below {ROOT}. Run `make demo` first, or set SHOP.")
    return found


def bare(engine: Engine, some: list[bytes]) -> dict[str, float]:
    """Seconds of a photo in each part, alone."""
    parts: dict[str, list[float]] = {"look": [], "embed": [], "search": []}
    for photo in some:
        look = _timed(parts["look"], lambda p=photo: engine.look(p))
        vectors, _ = _timed(parts["embed"], lambda seen=look: engine.embed([seen]))
        _timed(parts["search"], lambda v=vectors: engine.find([Ask(v[0], Wanted())]))
    return {name: median(seconds) for name, seconds in parts.items()}


def together(engine: Engine, some: list[bytes]) -> float:
    """Photos a second of both cores, each part as fast as it goes with nothing beside it."""
    started = time.perf_counter()
    with ThreadPoolExecutor(CORES) as pool:
        looks = list(pool.map(engine.look, some))
    for start in range(0, len(looks), EMBED_BATCH):
        part = looks[start : start + EMBED_BATCH]
        vectors, _ = engine.embed(part)
        engine.find([Ask(vector, Wanted()) for vector in vectors])
    return len(some) / (time.perf_counter() - started)


def main() -> None:
    entry = champion(ROOT)
    if entry is None:
        raise SystemExit(
            f"No bundle in Production below {ROOT}. Run `make demo` first, or set SHOP."
        )
    cores = sorted(os.sched_getaffinity(0))
    with running_on(set(cores[:CORES])):
        engine = Engine(verify(ROOT / "bundles" / entry.bundle, entry.bundle), threads=CORES)
        found = measured(engine, set(cores[CORES:]) or set(cores))
    write("photo", {"root": ROOT.name, "cores": CORES, "side": engine.embedder.side}, rows(found))


def measured(engine: Engine, others: set[int]) -> dict[str, list[float]]:
    """Rounds of each figure: seconds, or photos a second; the load runs on the `others`."""
    few, many = photos(engine, 20 if quick() else 100), photos(engine, 100 if quick() else 400)
    bare(engine, few[:5])
    together(engine, many[:EMBED_BATCH])
    requests, crowd = ([post("/v1/search", photo) for photo in some] for some in (few, many))
    parts: list[dict[str, float]] = []

    def sum_of_parts() -> float:
        parts.append(bare(engine, few))
        return sum(parts[-1].values())

    with serving(OURS, ROOT, os.sched_getaffinity(0)) as server:
        contenders: dict[str, Callable[[], float]] = {
            "alone": lambda: float(np.median(load(server, requests, 1, others).seconds)),
            "sum": sum_of_parts,
            "rate": lambda: float(load(server, crowd, CLIENTS, others).rate),
            "bare rate": lambda: together(engine, many),
        }
        found = interleaved(contenders, 3 if quick() else ROUNDS)
        found["tail"] = [load(server, requests, 1, others).percentile(0.99) / 1000]
    return found | {f"part: {name}": [each[name] for each in parts] for name in parts[0]}


def load(server: Server, requests: list[bytes], clients: int, cores: set[int]) -> Answers:
    with running_on(cores):
        answers = saturated(server.url, requests, clients)
    if answers.errors:
        raise SystemExit(f"Not all were answered: {answers.statuses}")
    return answers


def rows(found: dict[str, list[float]]) -> list[Row]:
    ms = {name: 1000 * median(seconds) for name, seconds in found.items()}
    alone = (ms["alone"], "sum of its parts", ms["sum"], OVERHEAD, True)
    rates = (median(found["rate"]), "parts alone", median(found["bare rate"]), 1 / OVERHEAD)
    return [
        Row("photo to answer, p50", "ms", *alone),
        Row("photo to answer, p99", "ms", ms["tail"]),
        Row("photos together", "photos/s", *rates),
        *(Row(name, "ms", ms[name]) for name in found if name.startswith("part: ")),
    ]


def _timed(seconds: list[float], work: Callable[[], Any]) -> Any:
    started = time.perf_counter()
    result = work()
    seconds.append(time.perf_counter() - started)
    return result


if __name__ == "__main__":
    main()
