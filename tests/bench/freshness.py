"""A day of new listings: how soon each is found, and what shoppers notice meanwhile.

    make bench NAME=freshness

Twelve new items a second come with a photo, as at Mercari, and 500 similar-by-item requests, both
in an open loop over a million items, for five minutes (SECONDS=60 for one); the server has one
core, the load another. A listing counts from when its request was due until it was acknowledged,
and acknowledged ones are asked for afterwards: each must be found. The embedder is the small graph
of the tests: what the network takes is in `make bench NAME=photo`. Cost: 7 minutes.
"""

import json
import os
import shutil
import threading
from pathlib import Path

import httpx
import numpy as np

from pipelines.server_process import OURS
from tests.bench.big_bundle import big_root, item_ids
from tests.bench.figures import Row, quick, write
from tests.bench.load import Answers, get, offered
from tests.bench.serve import size
from tests.bench.servers import Server, serving, two_cores
from tests.tiny_bundle import AS_OPERATOR, draw_photo

LISTED, ASKED = 12.0, 500.0  # a second
MOST_SECONDS, MOST_MS = 1.0, 25.0
CHECKED = 200  # listings that are asked for afterwards
FIRST = 10_000  # the number of the first listing's photo
BOUNDARY = "listing"
AUTHORIZATION = AS_OPERATOR["Authorization"]


def seconds() -> int:
    return int(os.environ.get("SECONDS", "10" if quick() else "300"))


def fresh_root() -> Path:
    """The bundle of the other benchmarks, and no listing yet."""
    root = big_root(size())
    shutil.rmtree(root / "live", ignore_errors=True)
    for path in root.glob("live.db*"):
        path.unlink()
    return root


def listing(number: int) -> bytes:
    """A request that lists a new item with its photo."""
    item = {"product_id": f"listed-{number}", "category": "Home > Lamps > Pendants", "price": 5.0}
    photo = draw_photo(number)
    body = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="item"\r\n\r\n{json.dumps(item)}'
        f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"'
        f"\r\nContent-Type: image/jpeg\r\n\r\n"
    ).encode()
    body += photo + f"\r\n--{BOUNDARY}--\r\n".encode()
    head = (
        f"PUT /v1/items/listed-{number} HTTP/1.1\r\nHost: a\r\nAuthorization: {AUTHORIZATION}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def main() -> None:
    server_core, load_core = two_cores()
    with serving(OURS, fresh_root(), server_core) as server:
        os.sched_setaffinity(0, load_core)
        listed, asked = _day(server)
        found = _found(server, len(listed.seconds))
    rows = [
        Row(
            "listing to searchable, p99",
            "s",
            listed.percentile(0.99) / 1000,
            goal=MOST_SECONDS,
            at_most=True,
        ),
        Row("listing to searchable, p50", "s", listed.percentile(0.5) / 1000),
        Row("query, p99", "ms", asked.percentile(0.99), goal=MOST_MS, at_most=True),
        Row("query, p50", "ms", asked.percentile(0.5)),
        Row("errors", "answers", float(listed.errors + asked.errors), goal=0.0, at_most=True),
        Row("listings that are found", "share", found, goal=1.0),
    ]
    conditions = {
        "items": size(),
        "listed a second": LISTED,
        "asked a second": ASKED,
        "seconds": seconds(),
    }
    write("freshness", conditions, rows)


def _day(server: Server) -> tuple[Answers, Answers]:
    ids = item_ids(size())
    drawn = np.random.default_rng().integers(0, len(ids), int(ASKED * seconds()))
    queries = [get(f"/v1/items/{ids[row]}/similar") for row in drawn]
    listings = [listing(FIRST + number) for number in range(int(LISTED * seconds()))]
    listed: list[Answers] = []
    thread = threading.Thread(target=lambda: listed.append(offered(server.url, listings, LISTED)))
    thread.start()
    asked = offered(server.url, queries, ASKED)
    thread.join()
    return listed[0], asked


def _found(server: Server, count: int) -> float:
    """The share of some listings that their own photo finds first."""
    numbers = np.random.default_rng(1).choice(count, min(CHECKED, count), replace=False)
    found = 0
    for number in map(int, numbers + FIRST):
        answer = httpx.post(f"{server.url}/v1/search?k=1", content=draw_photo(number))
        found += answer.json()["hits"][0]["item_id"] == f"listed-{number}"
    return found / len(numbers)


if __name__ == "__main__":
    main()
