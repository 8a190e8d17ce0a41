"""Sentinel items: from their PUT to the bundle that serves them, through a whole refresh.

    make demo && make bench NAME=sentinel

A copy of the demo's shop, with its second feed as that of today, and a server under queries.
Sentinels are listed with a photo of their own, one every SPACING seconds, and each is asked for by
that photo until it is found, which the live store answers for. Then `lookalike refresh` folds them
in, has the bundle gated, blessed, tried in shadow and canary for as long as is usual, and serves
it; it is over for a sentinel when the server has that bundle, the sentinel is in it, and the photo
still finds it. Flipkart's index is refreshed in 30 minutes. Cost: 15 minutes.
"""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from pipelines.airflow import program
from pipelines.cycle import run_day
from pipelines.golden import item_ids
from pipelines.importers import import_feed
from pipelines.server_process import OURS
from pipelines.settings import Settings, load_settings
from pipelines.step import Partition, days_of
from serving.ledger import now
from tests.bench.figures import Row, median, quick, write
from tests.bench.load import Answers, get, offered
from tests.bench.servers import Server, running_on, serving, two_cores
from tests.tiny_bundle import AS_OPERATOR, bentoml_environment, draw_photo
from tests.tiny_shop import copy_shop

ROOT = Path(os.environ.get("SHOP", "build/demo"))
FIRST = 20_000  # the number of the first sentinel's photo
SENTINELS = 6
SPACING = 5.0
RATE = 20.0  # queries a second: enough for an opinion in shadow and canary
PATIENCE = 60  # seconds until a listing is found
WITHIN = 30 * 60.0  # seconds


@dataclass(frozen=True)
class Sentinel:
    """An item that is listed to see when it comes to the shoppers."""

    number: int
    put: float  # monotonic seconds
    found: float  # seconds later, by its own photo

    @property
    def item_id(self) -> str:
        return f"sentinel-{self.number}"


def main() -> None:
    if not days_of(load_settings(root=ROOT), "promote"):
        raise SystemExit(f"Nothing serves below {ROOT}. Run `make demo` first, or set SHOP.")
    server_core, load_core = two_cores()
    with TemporaryDirectory(dir=ROOT.parent) as folder:
        settings = copy_shop(load_settings(root=ROOT), Path(folder) / "shop")
        run_today(settings)
        with (
            serving(OURS, settings.root, server_core) as server,
            running_on(load_core),
            asked_all_the_time(server, settings) as answers,
        ):
            former = digest_of(server)
            sentinels = [planted(server, FIRST + number) for number in range(SENTINELS)]
            served = refreshed(server, settings, former)
            check(server, settings, sentinels)
            parts = trials(settings)
    waits = [served - each.put for each in sentinels]
    errors = sum(part.errors for part in answers)
    rows = [
        Row("from the PUT until its photo finds it", "s", median([s.found for s in sentinels])),
        Row("from the PUT to the bundle that serves it, worst", "s", max(waits), goal=WITHIN,
            at_most=True),
        Row("of which the refresh itself", "s", min(waits)),
        Row("queries that failed meanwhile", "answers", float(errors), goal=0.0, at_most=True),
    ]  # fmt: skip
    conditions = {
        "sentinels": SENTINELS,
        "trials": "; ".join(parts),
        "queries": sum(len(part.seconds) for part in answers),
    }
    write("sentinel", conditions, rows)


def run_today(settings: Settings) -> None:
    """What changes now is of a day that is open, whenever the demo was made."""
    today = now().date()
    import_feed(settings, today, settings.root / "sample" / "day2.parquet")
    run_day(settings, today)


def planted(server: Server, number: int) -> Sentinel:
    """Listed with its photo, and asked for until it is the first answer."""
    time.sleep(SPACING)
    photo = draw_photo(number)
    item = '{"category": "Home > Lamps > Pendants", "price": 5}'
    files = {"item": (None, item), "image": ("a.jpg", photo, "image/jpeg")}
    put = time.monotonic()
    url = f"{server.url}/v1/items/sentinel-{number}"
    httpx.put(url, files=files, headers=AS_OPERATOR, timeout=30).raise_for_status()
    while not is_found(server, number):
        if time.monotonic() - put > PATIENCE:
            raise SystemExit(f"sentinel-{number} is not found by its own photo.")
        time.sleep(0.02)
    return Sentinel(number, put, time.monotonic() - put)


def is_found(server: Server, number: int) -> bool:
    answer = httpx.post(f"{server.url}/v1/search?k=1", content=draw_photo(number), timeout=30)
    return bool(answer.json()["hits"][0]["item_id"] == f"sentinel-{number}")


def refreshed(server: Server, settings: Settings, former: str) -> float:
    """When another bundle served. Raises SystemExit where the refresh makes none."""
    environment = {**os.environ, **bentoml_environment(settings.root)}
    environment["LOOKALIKE_ROLLOUT__REPLICAS"] = f'["{server.url}"]'
    if quick():
        environment |= dict.fromkeys(
            ("LOOKALIKE_ROLLOUT__SHADOW_SECONDS", "LOOKALIKE_ROLLOUT__CANARY_SECONDS"), "30"
        ) | {"LOOKALIKE_ROLLOUT__MIN_QUERIES": "10"}
    with subprocess.Popen([program("lookalike"), "refresh"], env=environment) as process:
        while digest_of(server) == former:
            if process.poll() is not None:
                raise SystemExit(f"`lookalike refresh` ended with {process.returncode}.")
            time.sleep(0.1)
        return time.monotonic()


def check(server: Server, settings: Settings, sentinels: list[Sentinel]) -> None:
    """Raises SystemExit where one is not in the bundle, or not found any more."""
    ids = item_ids(settings.root / "bundles" / digest_of(server))
    lost = [each.item_id for each in sentinels if each.item_id not in ids]
    lost += [each.item_id for each in sentinels if not is_found(server, each.number)]
    if lost:
        raise SystemExit(f"The bundle that serves has lost {sorted(set(lost))}.")


def trials(settings: Settings) -> list[str]:
    """How shadow and canary ended. Raises SystemExit where either says nothing."""
    (ds,) = days_of(settings, "promote")[-1:]
    parts = [str(part) for part in Partition(settings, "promote", ds).done().details["parts"]]
    if [part.split(",")[0] for part in parts] != ["shadow passed", "canary passed"]:
        raise SystemExit(f"The refresh was not tried: {parts}")
    return parts


def digest_of(server: Server) -> str:
    return str(httpx.get(f"{server.url}/v1/bundle", timeout=30).json()["digest"])


@contextmanager
def asked_all_the_time(server: Server, settings: Settings) -> Iterator[list[Answers]]:
    """Shoppers, without whom nobody could tell how a candidate does."""
    ids = item_ids(settings.root / "bundles" / digest_of(server))[: int(10 * RATE)]
    requests = [get(f"/v1/items/{item_id}/similar") for item_id in ids]
    parts: list[Answers] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            parts.append(offered(server.url, requests, RATE))

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield parts
        finally:
            over.set()
        asking.result()


if __name__ == "__main__":
    main()
