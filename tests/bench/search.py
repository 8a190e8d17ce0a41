"""How fast the index is beside those of others, at the same recall, on one thread.

    make bench NAME=search

Vectors of 96 dimensions drawn from a mixture that is fitted to the sample's own embeddings;
queries are other photos of indexed products, and photos of products that are in no index. Every
engine is built in some forms, and of each the least effort is sought that reaches recall@10 of
0.95, on the same ladders. The best form of each engine is then timed in turns with the others.
Ours is the best of the six to eight forms that tuning tries; the peers stand in the one to three
that their own guides give, until one takes longer than PATIENCE. Cost on two cores: 10 minutes
with 100,000 vectors (SIZES=100000), an hour more with a million.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from rich.table import Table

from pipelines.effort import Asked, Candidate, K, Point
from pipelines.tuning import promising
from serving.index import Index, Vectors
from tests.bench.figures import Row, interleaved, median, quick, write
from tests.bench.mixture import BLOCK, Mixture
from tests.bench.peers import build_peer

RECALL = 0.95
DIMENSIONS = 96
QUERIES = 1000
ROUNDS = 7
SMALL = 230  # bytes an item
PATIENCE = 300  # seconds to build and measure a form; longer, and its engine gets no other
DEFAULT = "ScaNN, its guide's form"


@dataclass(frozen=True)
class Contender:
    """An engine at the least effort of its best form."""

    name: str
    point: Point
    index: Index


def sizes() -> list[int]:
    given = os.environ.get("SIZES", "20000" if quick() else "100000,1000000")
    return [int(size) for size in given.split(",")]


def draw(n: int) -> Asked:
    """The vectors of a shop, and queries that are not among them."""
    shop = Mixture.of(n, dimensions=DIMENSIONS)
    blocks = -(-n // BLOCK)
    base = np.concatenate([shop.block(number) for number in range(blocks)])[:n]
    known = shop.queries(0, QUERIES // 2)
    new = shop.queries(blocks, QUERIES - len(known))
    return Asked.of(base, np.concatenate([known, new]))


def ours(n: int) -> list[str]:
    """What tuning would build, by what it promises."""
    return [maker(n) for maker in promising(n, DIMENSIONS) if maker(n) != "exact"]


def peers(n: int) -> Mapping[str, Sequence[str]]:
    """The forms of each engine, by its own guide; the same number of them where it has so many."""
    leaves = int(np.sqrt(n))
    codes = DIMENSIONS // 2
    return {
        DEFAULT: (f"scann:tree={leaves},ah=2,float32",),
        "Faiss HNSW": ("faiss:HNSW16", "faiss:HNSW32"),
        "Faiss IVF-PQ fast scan": tuple(
            f"faiss:IVF{more * leaves},PQ{codes}x4fs,RFlat" for more in (1, 2, 4)
        ),
        "Faiss IVF-PQ fast scan, small": tuple(
            f"faiss:IVF{more * leaves},PQ{codes}x4fs,Refine(SQ8)" for more in (1, 2, 4)
        ),
        "Faiss IVF-RaBitQ": tuple(
            f"faiss:IVF{more * leaves},RaBitQ,Refine(SQ8)" for more in (1, 4)
        ),
        "hnswlib": ("hnswlib:M=16", "hnswlib:M=32"),
        "usearch": ("usearch:M=16", "usearch:M=32"),
        "usearch int8": ("usearch:M=16,dtype=i8", "usearch:M=32,dtype=i8"),
        "voyager": ("voyager:M=16", "voyager:M=32"),
        "NGT": ("ngt:edges=10", "ngt:edges=20"),
    }


def best(name: str, engines: Sequence[str], asked: Asked) -> list[Contender]:
    """Each engine that reaches the recall, at its fastest effort all at once."""
    found = []
    for engine in engines:
        started = time.monotonic()
        candidate = Candidate.built(engine, asked, build_peer)
        points = [point for point in candidate.points(RECALL) if point.recall >= RECALL]
        took = time.monotonic() - started
        if points:
            point = max(points, key=lambda point: point.batched)
            found.append(Contender(name, point, candidate.index.with_effort(point.effort)))
            print(f"  {name}: {point}, {point.batched:,.0f}/s, {took:.0f} s", flush=True)
        else:
            print(f"  {name}: {engine} stays below {RECALL}, {took:.0f} s", flush=True)
        if took > PATIENCE:
            break
    return found


def batched(index: Index, queries: Vectors) -> float:
    started = time.perf_counter()
    index.search(queries, K)
    return len(queries) / (time.perf_counter() - started)


def one_by_one(index: Index, queries: Vectors) -> float:
    started = time.perf_counter()
    for query in queries:
        index.search(query[None], K)
    return len(queries) / (time.perf_counter() - started)


def measure(n: int) -> tuple[list[Row], Table]:
    asked = draw(n)
    print(f"{n:,} vectors of {DIMENSIONS} dimensions", flush=True)
    mine = best("ours", ours(n), asked)
    small = [each for each in mine if each.point.bytes_per_item <= SMALL]
    chosen = {"ours": _fastest(mine)}
    if small:
        chosen[f"ours, at most {SMALL} bytes"] = _fastest(small)
    for name, engines in peers(n).items():
        others = best(name, engines, asked)
        if others:
            chosen[name] = _fastest(others)
    speeds = {
        "batched": _timed(chosen, batched, asked),
        "one by one": _timed(chosen, one_by_one, asked),
    }
    figures = {way: {name: median(v) for name, v in each.items()} for way, each in speeds.items()}
    return _rows(n, chosen, figures), _table(n, chosen, figures)


def _timed(
    chosen: Mapping[str, Contender], way: Callable[[Index, Vectors], float], asked: Asked
) -> dict[str, list[float]]:
    calls = {name: partial(way, each.index, asked.queries) for name, each in chosen.items()}
    return interleaved(calls, 3 if quick() else ROUNDS)


def _fastest(contenders: Sequence[Contender]) -> Contender:
    return max(contenders, key=lambda each: each.point.batched)


def _rows(
    n: int, chosen: Mapping[str, Contender], figures: Mapping[str, Mapping[str, float]]
) -> list[Row]:
    rows = []
    for way, speed in figures.items():
        for mine in (name for name in chosen if name.startswith("ours")):
            limit = SMALL if mine != "ours" else float("inf")
            others = {
                name: speed[name]
                for name, each in chosen.items()
                if not name.startswith("ours") and each.point.bytes_per_item <= limit
            }
            strongest = max(others, key=lambda name: others[name], default="")
            for name, value in others.items():
                goal = None
                if name == strongest and way == "batched":
                    goal = 1.0 if mine == "ours" else 1.5
                if name == DEFAULT and way == "batched":
                    goal = 3.0
                figure = f"{n:,} vectors, {way}, {mine}"
                rows.append(Row(figure, "queries/s", speed[mine], name, value, goal))
    return rows


def _table(
    n: int, chosen: Mapping[str, Contender], figures: Mapping[str, Mapping[str, float]]
) -> Table:
    shown = Table(
        title=f"{n:,} vectors, recall@10 of at least {RECALL}, one thread", title_justify="left"
    )
    for heading in (
        "engine",
        "batched/s",
        "one by one/s",
        "recall",
        "bytes/item",
        "build s",
        "form",
    ):
        shown.add_column(heading, justify="left" if heading in ("engine", "form") else "right")
    for name in sorted(chosen, key=lambda name: -figures["batched"][name]):
        point = chosen[name].point
        shown.add_row(
            name,
            f"{figures['batched'][name]:,.0f}",
            f"{figures['one by one'][name]:,.0f}",
            f"{point.recall:.3f}",
            f"{point.bytes_per_item:.0f}",
            f"{point.build_seconds:.0f}",
            str(point),
        )
    return shown


def main() -> None:
    rows: list[Row] = []
    tables = []
    for n in sizes():
        found, shown = measure(n)
        rows += found
        tables.append(shown)
        conditions = {"sizes": sizes(), "queries": QUERIES, "threads of a search": 1}
        write("search", conditions, rows, tables)


if __name__ == "__main__":
    main()
