"""What a day costs an index that is changed, beside one that is built anew.

    make bench NAME=refresh

2 % of a shop's vectors change: half of them are other photos of the same items, a quarter of the
items go and others come. Twice: one change at a time into the delta of an index that serves, as the
live catalogue does; and all at once into a copy of yesterday's index from disk, as the `index` step
does, loading and verifying included. Beside both the same engine is built on today's vectors.
Processor time of all cores; recall@10 at the same effort, on queries that are in no index; what a
query costs with a delta of that size. Cost: 4 minutes for a million vectors on two cores.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import pyarrow as pa

from pipelines.effort import Asked, Candidate, speed
from pipelines.fold import Rows, fold
from pipelines.step import file_digests
from pipelines.tuning import Goal
from serving.engines import build_index
from serving.index import Index, Vectors
from serving.live_index import LiveIndex
from serving.scann_index import ScannIndex
from tests.bench.figures import Row, quick, write
from tests.bench.mixture import BLOCK, Mixture
from tests.bench.search import DIMENSIONS, draw

Result = TypeVar("Result")

CHANGED = 0.02
RECALL, SLACK = 0.95, 0.005


def items() -> int:
    return int(os.environ.get("SIZES", "50000" if quick() else "1000000"))


def days(base: Vectors) -> tuple[Rows, Rows]:
    """Yesterday, and today with 2 % changed: the order is that of the ids, as in the catalogue."""
    n = len(base)
    some = int(n * CHANGED)
    ids = np.array([f"{number:09d}" for number in range(n)])
    photos = np.array([f"{number:032x}" for number in range(n)])
    shop = Mixture.of(n, dimensions=DIMENSIONS)
    first = -(-n // BLOCK) + 1  # blocks that no query is drawn from
    blocks = [shop.block(first + number) for number in range(1 + some // BLOCK)]
    others = np.concatenate(blocks)[:some]
    chosen = np.random.default_rng(3).choice(n, some, replace=False)
    changed, gone = chosen[: some // 2], chosen[some // 2 : some * 3 // 4]
    today, seen = base.copy(), photos.copy()
    today[changed] = others[: len(changed)]
    seen[changed] = [f"another {number:024x}" for number in changed]
    stay = np.delete(np.arange(n), gone)
    come = others[len(changed) : len(changed) + len(gone)]
    names = [f"new-{number:09d}" for number in range(len(come))]
    return (
        Rows(pa.array(ids), pa.array(photos), base),
        Rows(
            pa.array(np.concatenate([ids[stay], names])),
            pa.array(np.concatenate([seen[stay], names])),
            np.concatenate([today[stay], come]),
        ),
    )


def processor(work: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds of all cores, and what came of it."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def changes(yesterday: Rows, today: Rows) -> list[tuple[list[int], Vectors]]:
    """Each by itself, as events come: the rows that go, and what comes instead [0 or 1, d]."""
    now = {name: row for row, name in enumerate(today.ids.to_pylist())}
    photos = list(zip(yesterday.photos.to_pylist(), yesterday.ids.to_pylist(), strict=True))
    nothing = np.empty((0, today.vectors.shape[1]), np.float32)
    found = []
    for row, (photo, name) in enumerate(photos):
        place = now.pop(name, None)
        if place is None:
            found.append(([row], nothing))
        elif today.photos[place].as_py() != photo:
            found.append(([row], today.vectors[place][None]))
    return found + [([], today.vectors[place][None]) for place in now.values()]


def live(index: Index, yesterday: Rows, today: Rows) -> tuple[float, LiveIndex]:
    """Processor seconds of all changes, and the index that took them."""
    found = LiveIndex(index, yesterday.vectors)
    events = changes(yesterday, today)

    def change() -> None:
        for gone, come in events:
            found.change(come, drop=gone)

    return processor(change)[0], found


def main() -> None:
    n = items()
    asked = draw(n)
    yesterday, today = days(asked.base)
    engine = f"scann:tree={int(np.sqrt(n))},avq=2.5,ah=2,bfloat16"
    now = Asked.of(today.vectors, asked.queries)
    with TemporaryDirectory() as folder:
        former = build_index(yesterday.vectors, engine)
        former.save(Path(folder))
        rebuilding, anew = processor(lambda: build_index(today.vectors, engine))
        best = Goal(RECALL, 0).fastest(list(Candidate.of(anew, now).points(RECALL)))
        if best is None:
            raise SystemExit(f"{engine} does not reach {RECALL}.")
        former = former.with_effort(best.effort)
        taking, changed = live(former, yesterday, today)

        def folding() -> tuple[ScannIndex, Vectors]:
            file_digests(Path(folder))
            index = ScannIndex.load(Path(folder), {**anew.description, "n": n})
            folded = fold(index, yesterday, today)
            return folded.index, today.vectors[folded.order]

        changing, (folded, ordered) = processor(folding)
    before = now.recall(anew.with_effort(best.effort))
    after = Asked.of(ordered, asked.queries).recall(folded.with_effort(best.effort))
    every = np.concatenate([yesterday.vectors, changed.delta])
    beside = Asked(every, asked.queries, now.truth).recall(changed)
    bare = speed(former, asked.queries)[0]
    least = 1 - SLACK / before
    rows = [
        Row("processor time, into the delta", "s", taking, "built anew", rebuilding, 1 / 50, True),
        Row("recall@10, with the delta", "share", beside, "built anew", before, least),
        Row(
            "a query, with the delta",
            "ms",
            speed(changed, asked.queries)[0],
            "the index alone",
            bare,
            None,
            True,
        ),
        Row("processor time, folded in", "s", changing, "built anew", rebuilding, 1 / 50, True),
        Row("recall@10, folded in", "share", after, "built anew", before, least),
    ]
    conditions = {"vectors": n, "changed": CHANGED, "effort": str(best)}
    write("refresh", conditions, rows)


if __name__ == "__main__":
    main()
