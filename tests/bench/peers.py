"""Search engines of others behind the Protocol of our own, to be asked and measured alike.

    index = build_peer(vectors, "hnswlib:M=16")

All from their packages, built on every core and searched on one; unit vectors, inner product or
the distance that orders alike. Texts: `hnswlib:M=16`, `usearch:M=16,dtype=bf16`, `voyager:M=16`,
`ngt:edges=10`; what is none of these is an engine of ours.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from serving.engines import build_index
from serving.index import MISSING, Effort, Index, Rows, Vectors

CONSTRUCTION = 200  # the graphs' effort of building, as their own examples have it
Search = Callable[[Vectors, int, int], tuple[Any, Any]]  # queries, k, effort -> rows, distances


class Peer:
    """An index of another package: how to search it, and how to save it."""

    def __init__(
        self,
        n: int,
        effort: Effort,
        search: Search,
        save: Callable[[str], object],
    ) -> None:
        self._n, self._effort, self._search, self._save = n, effort, search, save

    @property
    def description(self) -> dict[str, object]:
        return {"n": self._n, "effort": self._effort}

    def __len__(self) -> int:
        return self._n

    def search(self, queries: Vectors, k: int) -> tuple[Rows, Vectors]:
        (effort,) = self._effort.values()
        rows, distances = self._search(queries, k, effort)
        found = np.asarray(rows).astype(np.int32)
        return np.where(found >= self._n, MISSING, found), -np.asarray(distances, np.float32)

    def with_effort(self, effort: Effort) -> "Peer":
        return Peer(self._n, dict(effort), self._search, self._save)

    def save(self, folder: Path) -> None:
        self._save(str(folder / "index"))


def build_peer(vectors: Vectors, engine: str) -> Index:
    """Raises KeyError for an engine without the settings that it needs."""
    name, _, form = engine.partition(":")
    settings = dict(part.partition("=")[::2] for part in form.split(","))
    builders = {"hnswlib": _hnswlib, "usearch": _usearch, "voyager": _voyager, "ngt": _ngt}
    return builders[name](vectors, settings) if name in builders else build_index(vectors, engine)


def _hnswlib(vectors: Vectors, settings: dict[str, str]) -> Peer:
    import hnswlib

    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(len(vectors), M=int(settings["M"]), ef_construction=CONSTRUCTION)
    index.add_items(vectors, num_threads=_cores())

    def search(queries: Vectors, k: int, effort: int) -> tuple[Any, Any]:
        index.set_ef(max(effort, k))
        return index.knn_query(queries, k, num_threads=1)  # type: ignore[no-any-return]

    return Peer(len(vectors), {"ef": 16}, search, index.save_index)


def _usearch(vectors: Vectors, settings: dict[str, str]) -> Peer:
    from usearch.index import Index as Usearch

    index = Usearch(
        ndim=vectors.shape[1],
        metric="ip",
        dtype=settings.get("dtype", "f32"),
        connectivity=int(settings["M"]),
        expansion_add=CONSTRUCTION,
    )
    index.add(np.arange(len(vectors)), vectors, threads=_cores())

    def search(queries: Vectors, k: int, effort: int) -> tuple[Any, Any]:
        index.expansion_search = effort
        found = index.search(queries, k, threads=1)
        return np.atleast_2d(found.keys), np.atleast_2d(found.distances)

    return Peer(len(vectors), {"expansion": 16}, search, index.save)


def _voyager(vectors: Vectors, settings: dict[str, str]) -> Peer:
    import voyager

    index = voyager.Index(
        voyager.Space.InnerProduct,
        num_dimensions=vectors.shape[1],
        M=int(settings["M"]),
        ef_construction=CONSTRUCTION,
        max_elements=len(vectors),
    )
    index.add_items(vectors, num_threads=_cores())

    def search(queries: Vectors, k: int, effort: int) -> tuple[Any, Any]:
        return index.query(queries, k, num_threads=1, query_ef=max(effort, k))  # type: ignore[no-any-return]

    return Peer(len(vectors), {"ef": 16}, search, index.save)


def _ngt(vectors: Vectors, settings: dict[str, str]) -> Peer:
    import ngtpy

    folder = mkdtemp()
    path = f"{folder}/ngt"
    edges = int(settings["edges"])
    ngtpy.create(
        path, vectors.shape[1], edge_size_for_creation=edges, distance_type="Normalized L2"
    )
    index = ngtpy.Index(path)
    index.batch_insert(vectors, num_threads=_cores())
    index.save()

    def search(queries: Vectors, k: int, effort: int) -> tuple[Any, Any]:
        """Effort as hundredths by which the radius of the search is widened."""
        answers = [index.search(query, k, epsilon=effort / 100) for query in queries]
        rows = np.full((len(queries), k), len(vectors))
        distances = np.full((len(queries), k), np.inf)
        for number, answer in enumerate(answers):
            for place, (row, distance) in enumerate(answer):
                rows[number, place], distances[number, place] = row, distance
        return rows, distances

    return Peer(len(vectors), {"epsilon": 10}, search, lambda to: shutil.copytree(path, to))


def _cores() -> int:
    return len(os.sched_getaffinity(0))
