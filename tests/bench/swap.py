"""What shoppers notice of a new bundle: fifty swaps under load.

    make bench NAME=swap

Three bundles of 100,000 items take turns, so that each is loaded from the disk anew, while 200
similar-by-item requests a second come in an open loop; the server has one core, the load another.
Every answer must be of one bundle: the digest of its header is that of its body. Beside it the same
load without a swap. Memory is that of the server's processes, without mapped files. Cost: 6
minutes.
"""

import os
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from pipelines.server_process import OURS
from serving.ledger import champion
from tests.bench.big_bundle import big_bundle, big_root, item_ids
from tests.bench.figures import Row, quick, write
from tests.bench.load import Answers, get, offered
from tests.bench.servers import Server, serving, two_cores
from tests.tiny_bundle import promote

RATE = 200.0
SLOWER, MORE_MEMORY = 2.0, 1.05
HEADER = re.compile(rb"x-lookalike-bundle: (\w+)", re.I)
BODY = re.compile(rb'"bundle":\{"digest":"(\w+)"')


@dataclass
class Seen:
    """Of which bundles the answers were."""

    bundles: Counter[bytes] = field(default_factory=Counter)
    mixed: int = 0

    def __call__(self, answer: bytes) -> None:
        header, body = HEADER.search(answer), BODY.search(answer)
        if header is None or body is None or header[1] != body[1]:
            self.mixed += 1
        else:
            self.bundles[body[1]] += 1


def items() -> int:
    return int(os.environ.get("SIZES", "5000" if quick() else "100000"))


def bundles(root: Path) -> list[str]:
    """Three, the one that serves first."""
    found = sorted(each.name for each in (root / "bundles").iterdir())
    while len(found) < 3:
        found.append(big_bundle(root, items(), seed=len(found)))
    entry = champion(root)
    first = entry.bundle if entry else found[0]
    return [first, *(each for each in found if each != first)]


def main() -> None:
    root = big_root(items())
    turns, swaps = bundles(root), 5 if quick() else 50
    server_core, load_core = two_cores()
    with serving(OURS, root, server_core) as server:
        os.sched_setaffinity(0, load_core)
        steady = _under(server, 3 if quick() else 30)
        _swap(server, root, turns, 3)  # every bundle once: what is learnt once stays in memory
        before = server.resident()
        seen, ended = Seen(), threading.Event()
        seconds: list[float] = []

        def release() -> None:
            seconds.extend(_swap(server, root, turns, swaps))
            ended.set()

        thread = threading.Thread(target=release)
        thread.start()
        parts = []
        while not ended.is_set():
            parts.append(_under(server, 5, seen))
        thread.join()
        after = server.resident()
    count = sum(len(part.seconds) for part in parts)
    errors = sum(part.errors for part in parts)
    all_seconds = Answers([s for part in parts for s in part.seconds])
    rows = [
        Row("swaps", "swaps", float(len(seconds))),
        Row("from decision to the new answers", "s", float(np.median(seconds))),
        Row("errors", "answers", float(errors), goal=0.0, at_most=True),
        Row("answers of two bundles", "answers", float(seen.mixed), goal=0.0, at_most=True),
        Row(
            "p99",
            "ms",
            all_seconds.percentile(0.99),
            "without swaps",
            steady.percentile(0.99),
            SLOWER,
            True,
        ),
        Row("memory", "MB", after / 1e6, "before the swaps", before / 1e6, MORE_MEMORY, True),
    ]
    write("swap", {"items": items(), "answers": count, "offered a second": RATE}, rows)


def _under(server: Server, seconds: float, seen: Seen | None = None) -> Answers:
    ids = item_ids(items())
    drawn = np.random.default_rng().integers(0, len(ids), int(RATE * seconds))
    requests = [get(f"/v1/items/{ids[row]}/similar") for row in drawn]
    return offered(server.url, requests, RATE, seen or (lambda answer: None))


def _swap(server: Server, root: Path, turns: list[str], count: int) -> list[float]:
    """Seconds from each decision until answers are of the new bundle."""
    seconds = []
    entry = champion(root)
    place = turns.index(entry.bundle) if entry else 0
    for _ in range(count):
        place = (place + 1) % len(turns)
        started = time.monotonic()
        promote(root, turns[place], version=str(place + 1))
        while httpx.get(f"{server.url}/v1/bundle").json()["digest"] != turns[place]:
            time.sleep(0.05)
        seconds.append(time.monotonic() - started)
    return seconds


if __name__ == "__main__":
    main()
