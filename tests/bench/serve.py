"""Similar items by item over HTTP: ours beside BentoML's own way and beside bare uvicorn.

    make bench NAME=serve

A million items of 96 dimensions (SIZES=100000 for fewer), random ones asked for, twelve similar
ones each; the server has one core, the load another. As many as it can take from 64 clients, in
turns; then in an open loop 2,000 a second, where latency counts from the moment a request was due.
Cost: 3 minutes, and 2 more to build the bundle the first time.
"""

import json
import os
from collections.abc import Sequence
from functools import partial

import numpy as np

from pipelines.server_process import OURS
from tests.bench.big_bundle import big_root, item_ids
from tests.bench.figures import Row, interleaved, median, quick, write
from tests.bench.load import Answers, get, offered, post, saturated
from tests.bench.servers import BARE, BENTO_API, Server, serving, two_cores

CLIENTS = 64
RATE, MOST_MS = 2000.0, 10.0
ROUNDS = 5
SECONDS = 10  # of the open loop
PEER, LIMIT = "BentoML's @api", "bare uvicorn"


def size() -> int:
    return int(os.environ.get("SIZES", "50000" if quick() else "1000000"))


def main() -> None:
    items = size()
    root = big_root(items)
    server_core, load_core = two_cores()
    with (
        serving(OURS, root, server_core) as ours,
        serving(BARE, root, server_core) as bare,
        serving(BENTO_API, root, server_core) as bento,
    ):
        os.sched_setaffinity(0, load_core)
        servers = {"ours": ours, LIMIT: bare, PEER: bento}
        count = 500 if quick() else 4000
        calls = {
            name: partial(_take, server, name, items, count) for name, server in servers.items()
        }
        speeds = interleaved(calls, 3 if quick() else ROUNDS)
        at_rate = offered(ours.url, _similar(items, int(RATE * (2 if quick() else SECONDS))), RATE)
    write("serve", {"items": items, "clients": CLIENTS, "server cores": 1}, _rows(speeds, at_rate))


def _take(server: Server, name: str, items: int, count: int) -> float:
    """Answers a second."""
    requests = _calls(items, count // 4) if name == PEER else _similar(items, count)
    answers = saturated(server.url, requests, CLIENTS)
    if answers.errors:
        raise SystemExit(f"{name} did not answer all: {answers.statuses}")
    return answers.rate


def _drawn(items: int, count: int) -> list[str]:
    ids = item_ids(items)
    return [ids[row] for row in np.random.default_rng().integers(0, items, count)]


def _similar(items: int, count: int) -> list[bytes]:
    return [get(f"/v1/items/{name}/similar") for name in _drawn(items, count)]


def _calls(items: int, count: int) -> list[bytes]:
    bodies = [json.dumps({"item_id": name}).encode() for name in _drawn(items, count)]
    return [post("/similar", body, "application/json") for body in bodies]


def _rows(speeds: dict[str, list[float]], at_rate: Answers) -> Sequence[Row]:
    ours = median(speeds["ours"])
    p99 = f"p99 at {RATE:,.0f}/s"
    return [
        Row("similar by item", "answers/s", ours, PEER, median(speeds[PEER]), 8.0),
        Row("similar by item", "answers/s", ours, LIMIT, median(speeds[LIMIT]), 0.5),
        Row("open loop", "answers/s", at_rate.rate, "offered", RATE, 0.99),
        Row(p99, "ms", at_rate.percentile(0.99), goal=MOST_MS, at_most=True),
        Row(f"p50 at {RATE:,.0f}/s", "ms", at_rate.percentile(0.5)),
        Row("errors", "share", at_rate.errors / len(at_rate.seconds), goal=0.0, at_most=True),
    ]


if __name__ == "__main__":
    main()
