"""The whole catalogue on disk: plan, draw in parallel, plant faults, write two days."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import track

from pipelines.sample.develop import Job, Written, develop
from pipelines.sample.faults import plant
from pipelines.sample.feed import DAY_1, DAY_2, Row, rows_for, spoil, table
from pipelines.sample.leaves import LEAVES
from pipelines.sample.plan import Product, first_day, new_products, rng_for, shot_for
from pipelines.sample.scene import Box

NEW_SHARE = 0.006  # of day 1's rows, on day 2
CHANGED_SHARE = 0.002
DELETED_SHARE = 0.002
CHUNK = 8  # products handed to a worker at a time
PRICE_CHANGE = (0.80, 1.15)


@dataclass(frozen=True, slots=True)
class SampleReport:
    """What was written."""

    rows: dict[str, int]  # by day
    images: int
    leaves: int  # of both days
    seconds: float
    faults: dict[str, int]  # rows of day 1 that must be quarantined, by reason
    oddities: dict[str, int]  # unusual photos of day 1 that must be accepted, by kind


@dataclass(frozen=True, slots=True)
class _Delta:
    """Day 2 against day 1."""

    products: list[Product]  # new ones, and old ones photographed again
    repriced: list[str]  # item ids
    deleted: list[str]


@contextmanager
def _workers(processes: int) -> Iterator[ProcessPoolExecutor | None]:
    if processes <= 1:
        yield None
        return
    # Spawned, not forked: the caller may have threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield pool


def _develop_all(jobs: Sequence[Job], processes: int) -> Written:
    boxes: dict[str, Box] = {}
    images = 0
    with _workers(processes) as pool:
        done = pool.map(develop, jobs, chunksize=CHUNK) if pool else map(develop, jobs)
        console = Console(stderr=True)
        hidden = not sys.stderr.isatty()
        for written in track(done, "Drawing", len(jobs), console=console, disable=hidden):
            boxes |= written.boxes
            images += written.images
    return Written(boxes, images)


def _jobs(folder: Path, products: Sequence[Product], seed: int) -> list[Job]:
    copies: dict[str, list[Product]] = defaultdict(list)
    for product in products:
        if product.source:
            copies[product.source].append(product)
    return [
        Job(folder, seed, p, tuple(copies[p.shots[0].item_id])) for p in products if not p.source
    ]


def _rephotographed(product: Product, item_id: str, *, seed: int) -> Product:
    """The product with one photo taken again, at a new path."""
    shot = shot_for(item_id, product.leaf, "backdrop", rng_for(seed, "again", item_id))
    stem, suffix = shot.image.rsplit(".", 1)
    return replace(product, shots=(replace(shot, image=f"{stem}-v2.{suffix}"),))


def _delta(products: Sequence[Product], avoid: set[str], *, seed: int) -> _Delta:
    """Choose what changes on day 2 among rows that no fault or copy touches."""
    rows = sum(len(p.shots) for p in products)
    plain = [
        (p, s.item_id)
        for p in products
        if p.source is None
        for s in p.shots
        if s.view != "wild" and s.item_id not in avoid
    ]
    order = rng_for(seed, "delta").permutation(len(plain))
    changed = max(round(rows * CHANGED_SHARE), 2)
    deleted = max(round(rows * DELETED_SHARE), 1)
    picked = [plain[int(i)] for i in order[: changed + deleted]]
    again = [_rephotographed(p, item, seed=seed) for p, item in picked[: changed // 2]]
    fresh = new_products(max(round(rows * NEW_SHARE), 2), LEAVES, seed=seed)
    return _Delta(
        products=fresh + again,
        repriced=[item for _, item in picked[changed // 2 : changed]],
        deleted=[item for _, item in picked[changed:]],
    )


def _second_day(delta: _Delta, old: dict[str, Row], boxes: dict[str, Box], seed: int) -> list[Row]:
    rows = rows_for(delta.products, boxes)
    for item in delta.repriced:
        factor = float(rng_for(seed, "price", item).uniform(*PRICE_CHANGE))
        row = old[item]
        stock = not row["in_stock"]
        rows.append(row | {"price": round(row["price"] * factor, 2), "in_stock": stock})
    rows += [old[item] | {"deleted": True} for item in delta.deleted]
    return rows


def write_sample(
    folder: Path, *, items: int = 4000, seed: int = 7, processes: int = 2
) -> SampleReport:
    """Write `folder/images`, `folder/day1.parquet` and `folder/day2.parquet`.

    The files' bytes depend on `items` and `seed` alone.
    """
    started = time.monotonic()
    rng: np.random.Generator = rng_for(seed, "faults")
    products, faults, odd = plant(first_day(items, seed=seed), rng)
    touched = {*faults, *odd, *(p.source for p in products if p.source)}
    delta = _delta(products, touched, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    written = _develop_all(_jobs(folder, [*products, *delta.products], seed), processes)

    first = rows_for(products, written.boxes)
    old = {row["item_id"]: dict(row) for row in first}
    second = _second_day(delta, old, written.boxes, seed)
    leaves = len({row["category"] for row in first + second})
    spoil(first, faults)
    pq.write_table(table(first, DAY_1), folder / "day1.parquet")
    pq.write_table(table(second, DAY_2), folder / "day2.parquet")
    return SampleReport(
        rows={"day1": len(first), "day2": len(second)},
        images=written.images,
        leaves=leaves,
        seconds=round(time.monotonic() - started, 2),
        faults=dict(sorted(Counter(faults.values()).items())),
        oddities=dict(sorted(Counter(odd.values()).items())),
    )
