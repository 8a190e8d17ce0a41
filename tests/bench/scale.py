"""One machine of two cores, a million items and more: how fast built and searched, in how much.

    make bench NAME=scale                      # 1M and 10M
    make bench NAME=scale SIZES=50000000       # the whole: half an hour and 7 GB of disk
    make bench NAME=scale QUICK=1              # 200,000

The vectors are those of `mixture`: the structure of real embeddings at any size. Building,
searching and finding the truth are processes of their own; memory is the most that each has held
(VmHWM, with the pages of mapped files that it has touched). Queries are other photos of indexed
products and photos of new products, half and half. The effort is chosen on some of the judged
queries, the recall is of the others; truth is exact. Speed is measured on other queries again, so
that nothing they need lies in a cache.

The limit is what the machine could do if nothing but the bytes of a query had to move, at the
bandwidth that two threads reach when they read large arrays; beside it the operations of a query
(products with centres and records, table look-ups of the scan) at the speed of a large matrix
product. Cost: 1M two minutes, 10M ten on two cores without AVX-512.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.bench.figures import BUILD, Row, median, quick, write
from tests.bench.mixture import FITTED, Mixture

THREADS = 2
K, RECALL = 10, 0.90
MARGIN = 0.005  # of recall, on the queries that the effort is chosen with
JUDGED, CHOOSING, SPEED, SINGLE = 752, 248, 8192, 2000  # queries; the first of the judged choose
TIMED = 2048  # queries that an effort is timed with
DRAWN_FROM = 8  # blocks of each kind of query
NEW = 1 << 20  # blocks from here on are in no index
ROUNDS = 5
PROBES, CANDIDATES = (4, 8, 16, 32), (60, 100, 200, 300, 500)
LINE = 64  # bytes of a cache line
GOALS = {"minutes": 30.0, "GB": 12.0, "bytes": 230.0, "loss": 0.01, "speed": 2000.0, "p99": 100.0}

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shop:
    """So many vectors, and the folder where their index and its figures are kept."""

    items: int

    @property
    def folder(self) -> Path:
        return BUILD / f"scale-{self.items}"

    @property
    def truth(self) -> Path:
        law = hashlib.sha256(FITTED.read_bytes()).hexdigest()[:12]
        return BUILD / f"scale-{self.items}-{JUDGED}-{law}.npy"

    @property
    def mixture(self) -> Mixture:
        return Mixture.of(self.items)

    def blocks(self, drawing: list[float]) -> Iterator[Vectors]:
        """All vectors, two blocks drawn at a time; the seconds that took go to `drawing`."""
        mixture, left = self.mixture, self.items
        with ThreadPoolExecutor(THREADS) as pool:
            for first in range(0, -(-self.items // mixture.size), THREADS):
                started = time.perf_counter()
                drawn = list(pool.map(mixture.block, range(first, first + THREADS)))
                drawing.append(time.perf_counter() - started)
                for block in drawn:
                    if left > 0:
                        yield block[:left]
                        left -= len(block)

    def queries(self, count: int, salt: int) -> Vectors:
        """Photos of indexed and of new products, in turn."""
        mixture, each = self.mixture, count // (2 * DRAWN_FROM)
        indexed = max(1, self.items // mixture.size)
        rng = np.random.default_rng(salt)
        old = rng.choice(indexed, DRAWN_FROM)
        drawn = [
            mixture.queries(int(number), each, salt * 100 + turn)
            for turn, pair in enumerate(zip(old, NEW + np.arange(DRAWN_FROM), strict=True))
            for number in pair
        ]
        return np.concatenate(drawn)[rng.permutation(2 * DRAWN_FROM * each)]

    @property
    def judged(self) -> Vectors:
        return self.queries(JUDGED, salt=1)


def main() -> None:
    rows: list[Row] = []
    conditions: dict[str, Any] = {"threads": THREADS, "judged_queries": JUDGED}
    for items in sizes():
        found = measure(Shop(items))
        rows += rows_of(items, found)
        conditions[f"{items:,}"] = found
        write("scale", conditions, rows)  # after every size: the largest may be cut short


def sizes() -> list[int]:
    if given := os.environ.get("SIZES"):
        return [int(float(each)) for each in given.split(",")]
    return [200_000] if quick() else [1_000_000, 10_000_000]


def measure(shop: Shop) -> dict[str, float]:
    """The figures of one size, each kept as soon as it is there."""
    shutil.rmtree(shop.folder, ignore_errors=True)
    shop.folder.mkdir(parents=True)
    found: dict[str, float] = {}
    for part in (find_truth, build, search):
        found |= _alone(part, shop)
        (shop.folder / "figures.json").write_text(json.dumps(found, indent=1))
    return found


def _alone(part: Callable[[Shop], dict[str, float]], shop: Shop) -> dict[str, float]:
    """Run in a process of its own, with the memory it took."""
    # Small products by the thousand: other threads would only wait, on the cores of ours.
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    # Spawned: a fork would start with the memory of this process.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(part, shop, sender))
    process.start()
    sender.close()
    try:
        found: dict[str, float] = receiver.recv()
    finally:
        process.join()
    return found


def _report(part: Callable[[Shop], dict[str, float]], shop: Shop, sender: Any) -> None:
    import faiss

    faiss.omp_set_num_threads(THREADS)
    found = part(shop)
    sender.send({**found, f"{part.__name__} GB": _most_held()})


def _most_held() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e9


def find_truth(shop: Shop) -> dict[str, float]:
    """The exact neighbours of the judged queries, block by block, some queries a thread.

    Kept for the next run with this law: it takes as long as half an index.
    """
    if shop.truth.is_file():
        return {}
    found = [Truth.of(part) for part in np.array_split(shop.judged, THREADS)]
    first = 0
    with ThreadPoolExecutor(THREADS) as pool:
        for block in shop.blocks([]):
            list(pool.map(Truth.see, found, [block] * THREADS, [first] * THREADS))
            first += len(block)
    np.save(shop.truth, np.concatenate([each.rows for each in found]))
    return {}


@dataclass(frozen=True)
class Truth:
    """The best K of what was seen so far."""

    queries: Vectors
    scores: Vectors  # [q, K], best first
    rows: Rows  # [q, K]

    @classmethod
    def of(cls, queries: Vectors) -> "Truth":
        shape = len(queries), K
        return cls(queries, np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64))

    def see(self, block: Vectors, first: int) -> None:
        scores = self.queries @ block.T
        bar = self.scores[:, -1:] if first else np.partition(scores, -K, axis=1)[:, [-K]]
        query, column = np.nonzero(scores >= bar)  # few, once the best so far are good
        edges = np.searchsorted(query, np.arange(len(self.queries) + 1))
        for number in np.flatnonzero(np.diff(edges)):
            mine = column[edges[number] : edges[number + 1]]
            both = np.concatenate([self.scores[number], scores[number, mine]])
            order = np.argsort(-both, kind="stable")[:K]
            rows = np.concatenate([self.rows[number], mine + first])
            self.scores[number], self.rows[number] = both[order], rows[order]


def build(shop: Shop) -> dict[str, float]:
    from serving.two_stage import Plan, TwoStageIndex

    plan = Plan.of(shop.items)
    drawing: list[float] = []
    started, used = time.perf_counter(), time.process_time()
    sample = sample_of(shop, plan.sample)
    drawing.append(time.perf_counter() - started)
    print(f"{shop.items:,} items: {plan}, sample of {len(sample):,}", flush=True)

    def progress(rows: int) -> None:
        if rows % (32 * shop.mixture.size) == 0:
            minutes = (time.perf_counter() - started) / 60
            print(f"  {rows:,} rows after {minutes:.1f} minutes", flush=True)

    index = TwoStageIndex.build(
        shop.blocks(drawing), sample, shop.folder / "index", plan, progress=progress
    )
    return {
        "build minutes": (time.perf_counter() - started) / 60,
        "drawing minutes": sum(drawing) / 60,
        "processor minutes": (time.process_time() - used) / 60,
        "bytes": index.bytes_per_item,
        "lists": plan.lists,
        "dimensions per code": plan.dimensions_per_code,
    }


def sample_of(shop: Shop, count: int) -> Vectors:
    """Some of every so many blocks, as a shop would sample its catalogue."""
    mixture = shop.mixture
    blocks = -(-shop.items // mixture.size)
    chosen = np.unique(np.linspace(0, blocks - 1, min(blocks, 2 + count // 32_768)).astype(int))
    each = -(-min(count, shop.items) // len(chosen))
    with ThreadPoolExecutor(THREADS) as pool:
        drawn = pool.map(lambda number: mixture.block(int(number))[:each].copy(), chosen)
        return np.concatenate(list(drawn))


def search(shop: Shop) -> dict[str, float]:
    from serving.two_stage import Plan, TwoStageIndex

    folder = shop.folder / "index"
    plan = Plan.of(shop.items)
    description = {"form": str(plan), "effort": plan.effort}
    started = time.perf_counter()
    index = TwoStageIndex.load(folder, description, threads=THREADS)
    found: dict[str, float] = {"load seconds": time.perf_counter() - started}
    queries = shop.judged
    truth = np.load(shop.truth, allow_pickle=False)
    speed = shop.queries(SPEED, salt=2)
    index, tried = _chosen(index, queries[:CHOOSING], truth[:CHOOSING], speed)
    plan = index.plan
    found |= {"probes": plan.probes, "candidates": plan.candidates}
    found["recall"] = recall(index.search(queries[CHOOSING:], K)[0], truth[CHOOSING:])
    parts = Parts(index, speed)
    kept = index.candidates(queries[CHOOSING:], K)
    found["loss"] = recall(kept, truth[CHOOSING:]) - found["recall"]
    rounds = [parts.rate() for _ in range(ROUNDS)]
    found["speed"] = median(rounds)
    found["processor us"] = parts.processor()
    found |= parts.split()
    found |= _latency(index, shop.queries(SINGLE, salt=3))
    found |= parts.limits()
    (shop.folder / "effort.json").write_text(json.dumps(tried, indent=1))
    return found


def _chosen(index: Any, queries: Vectors, truth: Rows, speed: Vectors) -> tuple[Any, Any]:
    """The fastest effort that reaches the recall, or the one with the highest."""
    tried = []
    for probes in PROBES:
        for candidates in CANDIDATES:
            with_effort = index.with_effort({"probes": probes, "candidates": candidates})
            reached = recall(with_effort.search(queries, K)[0], truth)
            taken = min(_seconds(with_effort, speed[:TIMED]) for _ in range(ROUNDS))
            tried.append((reached, taken, with_effort))
    good = [each for each in tried if each[0] >= RECALL + MARGIN]
    best = min(good, key=lambda each: each[1]) if good else max(tried, key=lambda each: each[0])
    table = [
        {"probes": each.plan.probes, "candidates": each.plan.candidates,
         "recall": reached, "processor us": seconds / TIMED * 1e6}
        for reached, seconds, each in tried
    ]  # fmt: skip
    return best[2], table


def _seconds(index: Any, queries: Vectors) -> float:
    """Of the processor: the least of some, for others may use it too."""
    started = time.process_time()
    index.search(queries, K)
    return time.process_time() - started


def recall(found: npt.NDArray[Any], truth: Rows) -> float:
    """Share of the true rows [q, k] that are among the found ones [q, any]."""
    hits = [np.isin(true, mine).sum() for mine, true in zip(found, truth, strict=True)]
    return float(np.sum(hits) / truth.size)


def _latency(index: Any, queries: Vectors) -> dict[str, float]:
    """Milliseconds of queries that come one by one."""
    for query in queries[:50]:
        index.search(query[None], K)
    taken = []
    for query in queries:
        started = time.perf_counter()
        index.search(query[None], K)
        taken.append((time.perf_counter() - started) * 1000)
    p50, p99 = np.percentile(taken, [50, 99])
    return {"p50 ms": float(p50), "p99 ms": float(p99)}


@dataclass(frozen=True)
class Parts:
    """A query's time, and what it has to move and to compute."""

    index: Any
    queries: Vectors

    def rate(self) -> float:
        started = time.perf_counter()
        self.index.search(self.queries, K)
        return len(self.queries) / (time.perf_counter() - started)

    def processor(self) -> float:
        """Microseconds of one core a query, whatever else the machine does."""
        started = time.process_time()
        self.index.search(self.queries, K)
        return (time.process_time() - started) / len(self.queries) * 1e6

    def split(self) -> dict[str, float]:
        """Share of the processor's time in each stage."""
        taken = self.index.time_stages(self.queries, K)
        return {f"{name} share": seconds / sum(taken.values()) for name, seconds in taken.items()}

    def limits(self) -> dict[str, float]:
        """Bytes and operations a query, and how many queries a second they would allow."""
        scanned, code = self.index.scanned(self.queries[:1000]), self.index.code_bytes
        plan, d = self.index.plan, self.index.dimensions
        touched = -(-(d + 8) // LINE) + 1  # lines that a record lies across, nearly always
        visited = max(16, plan.probes) * 16  # centres a walk through the graph compares, about
        moved = scanned * code + plan.candidates * touched * LINE + visited * d * 4
        work = scanned * code * 2 + 2 * d * (plan.candidates + visited)
        bandwidth, peak = bandwidth_of(), peak_of()
        return {
            "scanned": scanned,
            "bytes a query": moved,
            "operations a query": work,
            "bandwidth GB/s": bandwidth / 1e9,
            "peak Gop/s": peak / 1e9,
            "limit by bytes": bandwidth / moved,
            "limit by operations": peak / work,
        }


def bandwidth_of() -> float:
    """Bytes a second that the threads read together."""
    arrays = [np.ones(50_000_000, np.float32) for _ in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        return max(_rate(lambda: list(pool.map(np.sum, arrays)), 200e6 * THREADS) for _ in "abcde")


def peak_of() -> float:
    """Operations a second of a large float32 matrix product."""
    side = 2048
    matrix = np.ones((side, side), np.float32)
    work = [matrix] * THREADS
    with ThreadPoolExecutor(THREADS) as pool:
        return max(
            _rate(lambda: list(pool.map(np.matmul, work, work)), 2.0 * side**3 * THREADS)
            for _ in "abc"
        )


def _rate(work: Callable[[], object], amount: float) -> float:
    started = time.perf_counter()
    work()
    return amount / (time.perf_counter() - started)


def rows_of(items: int, found: dict[str, float]) -> list[Row]:
    """The goals of time and memory are those of fifty million."""
    name, whole = f"{items / 1e6:g}M", items >= 50_000_000

    def row(figure: str, unit: str, value: str, goal: str, *, always: bool = False) -> Row:
        at_most = goal != "speed"
        wanted = GOALS[goal] if whole or always else None
        return Row(f"{name}, {figure}", unit, found[value], goal=wanted, at_most=at_most)

    speed = row("two threads", "queries/s", "speed", "speed")
    return [
        row("built in", "minutes", "build minutes", "minutes"),
        Row(f"{name}, of it drawing vectors", "minutes", found["drawing minutes"]),
        row("most memory, building", "GB", "build GB", "GB"),
        row("most memory, searching", "GB", "search GB", "GB"),
        row("bytes an item", "bytes", "bytes", "bytes", always=True),
        Row(f"{name}, recall@10", "share", found["recall"], goal=RECALL),
        row("recall lost by records", "share", "loss", "loss", always=True),
        speed,
        *(
            Row(speed.figure, speed.unit, speed.ours, limit, found[limit])
            for limit in ("limit by bytes", "limit by operations")
        ),
        Row(f"{name}, processor a query", "us", found["processor us"]),
        row("p99 one by one", "ms", "p99 ms", "p99"),
    ]


if __name__ == "__main__":
    main()
