"""Tens of millions of vectors on a small machine: scan short codes, then re-rank long ones.

Faiss holds the first stage in memory: lists of vectors around centres that an HNSW graph finds, and
of each vector the difference to its centre in half a byte for every one or two dimensions (PQ fast
scan, André et al. 2017). The second stage is a file of records, memory-mapped: the same
difference in a byte for every dimension, its scale, its list. So the float vectors are needed once,
block by block, while the index is built, and never again.

All vectors are turned by one random rotation first: dimensions of a reduced space hold little or
much, and codes of one length want them alike. The files are checked by what keeps them, the bundle
and the step; nothing here reads a file twice.
"""

import copy
import os
import re
import shutil
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from model.errors import BadInput
from serving.centres import centres
from serving.exact import top
from serving.index import (
    MISSING,
    Effort,
    Rows,
    Vectors,
    check_queries,
    check_search,
    check_vectors,
)
from serving.records import EXTRA, Bytes, centre_products, difference_products, in_parts

FILES = LISTS, RECORDS = "lists.faiss", "records.bin"
MIN_VECTORS = 1000
UNIT_TOLERANCE = 1e-3
SEED = 0  # of the rotation
ROWS = 262_144  # vectors that are added at a time
CHUNK = 128  # queries that one thread answers at a time
CANDIDATES_PER_RESULT = 4
POINTS_PER_LIST = 24  # to train on
BUILD_EFFORT, MIN_EFFORT = 8, 16  # of the graph over the centres
NEIGHBOURS = 32  # in that graph

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Plan:
    """The shape of an index, and how hard it searches."""

    lists: int
    dimensions_per_code: int = 2  # in half a byte
    probes: int = 8  # lists scanned for a query
    candidates: int = 100  # re-ranked for a query, at least

    @classmethod
    def of(cls, n: int) -> "Plan":
        """Lists of some hundred vectors in a small index, some thousand in a large one."""
        return cls(lists=int(min(2 ** round(np.log2(4 * np.sqrt(max(n, 1)))), max(1, n // 39))))

    def __str__(self) -> str:
        return f"lists={self.lists},code={self.dimensions_per_code}"

    @classmethod
    def parse(cls, text: str) -> "Plan":
        """Of `lists=4096` or `lists=4096,code=1`. Raises BadInput for what is none."""
        found = re.fullmatch(r"lists=([1-9]\d*)(?:,code=([1-9]))?", text)
        if found is None:
            raise BadInput(
                f"Not a form of the two-stage index. Expected such as `lists=4096` or "
                f"`lists=4096,code=1`. Received: `{text}`."
            )
        return cls(int(found[1]), int(found[2] or 2))

    @property
    def effort(self) -> Effort:
        return {"probes": self.probes, "candidates": self.candidates}

    @property
    def sample(self) -> int:
        """How many vectors are enough to train on."""
        return max(self.lists * POINTS_PER_LIST, 20_000)


class TwoStageIndex:
    """Faiss lists in memory, records on disk, and the plan that they follow."""

    def __init__(self, whole: Any, folder: Path, plan: Plan, threads: int | None = None) -> None:
        self._home: _Temporary | None = None
        self._whole = whole  # owns the next two
        self._turn, self._lists = _parts(whole)
        self._folder = folder
        self.plan = plan
        self.dimensions = int(whole.d)
        width = self.dimensions + EXTRA
        self._records: Bytes = np.memmap(folder / RECORDS, np.uint8, "r").reshape(-1, width)
        # OpenMP's number of threads belongs to the thread that asks.
        self._pool = ThreadPoolExecutor(
            threads or len(os.sched_getaffinity(0)),
            initializer=faiss.omp_set_num_threads,
            initargs=(1,),
        )

    @classmethod
    def build(
        cls,
        blocks: Iterable[Vectors],
        sample: Vectors,
        folder: Path,
        plan: Plan,
        *,
        progress: Progress = lambda rows: None,
    ) -> "TwoStageIndex":
        """Index blocks [n, d] of unit vectors into `folder`, after training on `sample` [m, d].

        Rows are numbered as they come. Holds one block, the sample and the lists in memory.
        Raises BadInput for too small a sample, for dimensions that the plan cannot cut into
        codes, and for vectors that are not of unit length.
        """
        _check_unit(sample)
        if len(sample) < MIN_VECTORS:
            raise BadInput(
                f"Too few vectors to train on. Expected at least {MIN_VECTORS}. "
                f"Received: {len(sample)}. Use the exact engine."
            )
        if sample.shape[1] % plan.dimensions_per_code:
            raise BadInput(
                f"Vectors of {sample.shape[1]} dimensions cannot be cut into codes for "
                f"{plan.dimensions_per_code}. Expected a multiple. "
                f"Use `two-stage:lists={plan.lists},code=1`."
            )
        whole = _trained(np.ascontiguousarray(sample, np.float32), plan)
        turn, lists = _parts(whole)
        folder.mkdir(parents=True, exist_ok=True)
        middles = lists.quantizer.reconstruct_n(0, plan.lists)
        with (folder / RECORDS).open("wb") as file:
            for block in _larger(blocks):
                _check_unit(block)
                turned = turn.apply(block)
                members = _add(lists, turned)
                for records in in_parts(turned, middles, members):
                    file.write(records.data)
                progress(int(lists.ntotal))
            file.flush()
            os.fsync(file.fileno())
        whole.ntotal = lists.ntotal
        faiss.write_index(whole, str(folder / LISTS))
        return cls(whole, folder, plan)

    @classmethod
    def of(cls, vectors: Vectors, plan: Plan | None = None) -> "TwoStageIndex":
        """Index vectors [n, d] that are all there already. Its files go when it does, but for
        those that `save` copied.
        """
        home = _Temporary()
        plan = plan or Plan.of(len(vectors))
        step = max(1, len(vectors) // plan.sample)
        blocks = (vectors[start : start + ROWS] for start in range(0, len(vectors), ROWS))
        index = cls.build(blocks, np.ascontiguousarray(vectors[::step]), home.folder, plan)
        index._home = home
        return index

    @property
    def description(self) -> dict[str, object]:
        return {
            "engine": "two-stage",
            "form": str(self.plan),
            "n": len(self),
            "dimensions": self.dimensions,
            "effort": self.plan.effort,
        }

    def __len__(self) -> int:
        return int(self._lists.ntotal)

    @property
    def bytes_per_item(self) -> float:
        """Of the files, all of which a search reads."""
        sizes = [(self._folder / name).stat().st_size for name in FILES]
        return sum(sizes) / max(len(self), 1)

    @property
    def code_bytes(self) -> int:
        """Of a vector in the first stage."""
        return int(self._lists.code_size)

    def with_effort(self, effort: Effort) -> "TwoStageIndex":
        """The same index, scanning so many `probes` and re-ranking so many `candidates`."""
        other = copy.copy(self)
        other.plan = replace(self.plan, **effort)
        return other

    def search(self, queries: Vectors, k: int) -> tuple[Rows, Vectors]:
        queries, k = check_search(queries, k, (len(self), self.dimensions))
        rows = np.full((len(queries), k), MISSING, np.int32)
        scores = np.full((len(queries), k), -np.inf, np.float32)

        def answer(start: int) -> None:
            chunk = slice(start, start + CHUNK)
            rows[chunk], scores[chunk] = self._answer(queries[chunk], k)

        if k:
            list(self._pool.map(answer, range(0, len(queries), CHUNK)))
        return rows, scores

    def candidates(self, queries: Vectors, k: int) -> npt.NDArray[np.int64]:
        """What the first stage hands to the second for k results: int64 [q, candidates]."""
        queries = self._turn.apply(check_queries(queries, self.dimensions))
        return self._scan(queries, *self._coarse(queries), k)

    def scanned(self, queries: Vectors) -> float:
        """Vectors whose short codes a query reads, on the average."""
        turned = self._turn.apply(check_queries(queries, self.dimensions))
        probed = self._coarse(turned)[1]
        sizes = np.array([self._lists.invlists.list_size(each) for each in range(self.plan.lists)])
        return float(sizes[probed].sum() / len(queries))

    def time_stages(self, queries: Vectors, k: int) -> dict[str, float]:
        """Seconds of one thread in each stage."""
        return self._pool.submit(
            self._time_stages, check_queries(queries, self.dimensions), k
        ).result()

    def _time_stages(self, queries: Vectors, k: int) -> dict[str, float]:
        taken = dict.fromkeys(("centres", "scan", "records"), 0.0)
        for start in range(0, len(queries), CHUNK):
            chunk = self._turn.apply(queries[start : start + CHUNK])
            times = [time.thread_time()]
            near, probed = self._coarse(chunk)
            times.append(time.thread_time())
            found = self._scan(chunk, near, probed, k)
            times.append(time.thread_time())
            self._rank(chunk, near, probed, found, k)
            times.append(time.thread_time())
            for stage, seconds in zip(taken, np.diff(times), strict=True):
                taken[stage] += float(seconds)
        return taken

    def _answer(self, queries: Vectors, k: int) -> tuple[Rows, Vectors]:
        queries = self._turn.apply(queries)
        near, probed = self._coarse(queries)
        return self._rank(queries, near, probed, self._scan(queries, near, probed, k), k)

    def _coarse(self, queries: Vectors) -> tuple[Vectors, npt.NDArray[np.int64]]:
        """Products with the nearest centres float32 [q, p], and which lists these are."""
        probes = min(self.plan.probes, self.plan.lists)
        effort = faiss.SearchParametersHNSW(efSearch=max(MIN_EFFORT, probes))
        near, probed = self._lists.quantizer.search(queries, probes, params=effort)
        return near, probed

    def _scan(
        self, queries: Vectors, near: Vectors, probed: npt.NDArray[np.int64], k: int
    ) -> npt.NDArray[np.int64]:
        """Rows int64 [q, candidates] by their short codes; -1 where there are fewer."""
        candidates = min(max(self.plan.candidates, CANDIDATES_PER_RESULT * k), len(self))
        scores = np.empty((len(queries), candidates), np.float32)
        found = np.empty((len(queries), candidates), np.int64)
        arrays = (faiss.swig_ptr(each) for each in (probed, near, scores, found))
        # Faiss's wrapper takes no effort here, and to set it on the lists is not safe in threads.
        effort = faiss.SearchParametersIVF(nprobe=probed.shape[1])
        self._lists.search_preassigned_c(
            len(queries), faiss.swig_ptr(queries), candidates, *arrays, False, effort
        )
        return found

    def _rank(
        self,
        queries: Vectors,
        near: Vectors,
        probed: npt.NDArray[np.int64],
        found: npt.NDArray[np.int64],
        k: int,
    ) -> tuple[Rows, Vectors]:
        """The best k of `found` [q, c] by their records."""
        # `take` gathers in a quarter of the time that brackets need, and what it reads for row -1
        # is discarded below.
        records = np.take(self._records, found, axis=0, mode="clip")
        scores, lists = difference_products(records, queries)
        scores += centre_products(lists, near, probed)
        scores[found < 0] = -np.inf
        best, kept = top(scores, k)
        return np.take_along_axis(found, best, axis=1).astype(np.int32), kept

    def save(self, folder: Path) -> None:
        """Copy the files there, unless they are there already."""
        folder.mkdir(parents=True, exist_ok=True)
        if folder.resolve() != self._folder.resolve():
            for name in FILES:
                shutil.copyfile(self._folder / name, folder / name)

    @classmethod
    def load(
        cls, folder: Path, description: dict[str, Any], *, threads: int | None = None
    ) -> "TwoStageIndex":
        """Open what `save` wrote."""
        plan = replace(Plan.parse(description["form"]), **description["effort"])
        return cls(faiss.read_index(str(folder / LISTS)), folder, plan, threads)


class _Temporary:
    """A folder that goes with the last index that was made of it."""

    def __init__(self) -> None:
        self.folder = Path(mkdtemp(prefix="two-stage-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


def _larger(blocks: Iterable[Vectors]) -> Iterator[Vectors]:
    """The same rows in blocks of about ROWS: each costs a walk along all lists."""
    waiting: list[Vectors] = []
    for block in blocks:
        waiting.append(np.asarray(block, np.float32))
        if sum(map(len, waiting)) >= ROWS:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _check_unit(vectors: Vectors) -> None:
    check_vectors(vectors)
    lengths = np.einsum("nd,nd->n", vectors, vectors)
    worst = np.abs(lengths - 1).max(initial=0)
    if worst > UNIT_TOLERANCE:
        raise BadInput(
            f"The vectors to index are not of unit length. Expected squared lengths within "
            f"{UNIT_TOLERANCE} of 1. Received one that is {worst:.3g} off. Normalise them first."
        )


def _parts(whole: Any) -> tuple[Any, Any]:
    """The rotation and the lists behind it."""
    return (
        faiss.downcast_VectorTransform(whole.chain.at(0)),
        faiss.downcast_index(whole.index),
    )


def _trained(sample: Vectors, plan: Plan) -> Any:
    """Faiss's empty lists behind a rotation, with centres and codes that fit the sample."""
    d = sample.shape[1]
    turn = faiss.RandomRotationMatrix(d, d)
    turn.init(SEED)
    turned = turn.apply(sample)
    graph = faiss.IndexHNSWFlat(d, NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # several threads would link the graph in another order each time
    graph.add(centres(turned, plan.lists))
    faiss.omp_set_num_threads(threads)
    graph.hnsw.efSearch = BUILD_EFFORT
    codes = d // plan.dimensions_per_code
    lists = faiss.IndexIVFPQFastScan(graph, d, plan.lists, codes, 4, faiss.METRIC_INNER_PRODUCT)
    lists.by_residual = True
    lists.train(turned)
    whole = faiss.IndexPreTransform(turn, lists)
    for owner, owned in ((lists, graph), (whole, turn), (whole, lists)):
        owned.this.disown()
        owner.own_fields = True
    return whole


def _add(lists: Any, block: Vectors) -> npt.NDArray[np.int32]:
    """Add a block to the lists; which list each of its rows is in.

    Faiss finds the lists and does not tell: they are read from the ends that have grown.
    """
    first, held = int(lists.ntotal), lists.invlists
    before = [held.list_size(number) for number in range(lists.nlist)]
    rows = np.arange(first, first + len(block), dtype=np.int64)
    lists.add_with_ids(np.ascontiguousarray(block, np.float32), rows)
    members = np.empty(len(block), np.int32)
    for number, size in enumerate(before):
        grown = held.list_size(number)
        if grown > size:
            members[faiss.rev_swig_ptr(held.get_ids(number), grown)[size:] - first] = number
    return members
