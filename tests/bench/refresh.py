"""What a day costs an index that is changed, beside one that is built anew.

    make bench NAME=refresh

2 % of a shop's vectors change: half of them are other photos of the same items, a quarter of the
items go and others come. The changes are folded into a copy of yesterday's index from disk, as the
`index` step does; beside it the same engine is built on today's vectors. Processor time of all
cores, loading and verifying included; recall@10 at the same effort, on queries that are in no
index. Cost: 6 minutes for a million vectors on two cores.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import pyarrow as pa

from pipelines.effort import Asked, Candidate
from pipelines.fold import Rows, fold
from pipelines.step import file_digests
from pipelines.tuning import Goal
from serving.engines import build_index
from serving.index import Vectors
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


def main() -> None:
    n = items()
    asked = draw(n)
    yesterday, today = days(asked.base)
    engine = f"scann:tree={int(np.sqrt(n))},avq=2.5,ah=2,bfloat16"
    now = Asked.of(today.vectors, asked.queries)
    with TemporaryDirectory() as folder:
        build_index(yesterday.vectors, engine).save(Path(folder))
        rebuilding, anew = processor(lambda: build_index(today.vectors, engine))

        def folding() -> tuple[ScannIndex, Vectors]:
            file_digests(Path(folder))
            index = ScannIndex.load(Path(folder), {**anew.description, "n": n})
            folded = fold(index, yesterday, today)
            return folded.index, today.vectors[folded.order]

        changing, (folded, ordered) = processor(folding)
    best = Goal(RECALL, 0).fastest(list(Candidate.of(anew, now).points(RECALL)))
    if best is None:
        raise SystemExit(f"{engine} does not reach {RECALL}.")
    before = now.recall(anew.with_effort(best.effort))
    after = Asked.of(ordered, asked.queries).recall(folded.with_effort(best.effort))
    rows = [
        Row("processor time of the changes", "s", changing, "built anew", rebuilding, 1 / 50, True),
        Row("recall@10", "share", after, "built anew", before, 1 - SLACK / before),
    ]
    conditions = {"vectors": n, "changed": CHANGED, "effort": str(best)}
    write("refresh", conditions, rows)


if __name__ == "__main__":
    main()
