"""Faiss by factory string: graphs, inverted lists, hashes and quantisers through the same methods.

`HNSW32_SQ8`, `IVF1024,PQ48x4fs,Refine(SQ8)`, `LSH256r`: the strings of Faiss' own index factory.
All are built for Euclidean distance, which orders unit vectors as the dot product does and which
the quantisers take better; scores are turned back into cosines.
"""

import importlib
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, cast

import numpy as np

from model.errors import BadInput
from serving.index import MISSING, Effort, Rows, Vectors, check_search, check_vectors

FILE = "index.faiss"


def import_faiss() -> ModuleType:
    return importlib.import_module("faiss")


class FaissIndex:
    """A Faiss index and how it was made.

    Faiss keeps the effort of a search in the index: `with_effort` gives another view of the same
    one, and views of different effort must not be asked from several threads at once.
    """

    def __init__(self, shared: "_Shared", description: Mapping[str, object]) -> None:
        self._shared = shared
        self._description = dict(description)
        self._effort = ",".join(f"{k}={v}" for k, v in cast(Effort, description["effort"]).items())
        self._bits = _hash_bits(shared.index)

    @classmethod
    def build(cls, vectors: Vectors, factory: str) -> "FaissIndex":
        """Index `vectors` [n, d] of unit length.

        Raises BadInput for NaN, for what is no factory string, and for too few vectors to train on.
        """
        check_vectors(vectors)
        faiss = import_faiss()
        n, dimensions = vectors.shape
        vectors = np.ascontiguousarray(vectors, np.float32)
        faiss.omp_set_num_threads(os.cpu_count())
        try:
            index = faiss.index_factory(dimensions, factory, faiss.METRIC_L2)
            index.train(vectors)
            index.add(vectors)
        except RuntimeError as error:
            raise BadInput(
                f"Cannot build the Faiss index. Expected a factory string that {n} vectors of "
                f"{dimensions} dimensions can fill, such as `HNSW32_SQ8`. Received: `{factory}`: "
                f"{_reason(error)}"
            ) from error
        facts = {
            "engine": "faiss",
            "form": factory,
            "n": n,
            "dimensions": dimensions,
            "effort": dict.fromkeys(_efforts(factory), 16),
        }
        return cls(_Shared(index), facts)

    @property
    def description(self) -> dict[str, object]:
        return dict(self._description)

    def __len__(self) -> int:
        return cast(int, self._description["n"])

    def search(self, queries: Vectors, k: int) -> tuple[Rows, Vectors]:
        dimensions = cast(int, self._description["dimensions"])
        queries, k = check_search(queries, k, (len(self), dimensions))
        if not len(queries) or not k:
            return np.empty((len(queries), k), np.int32), np.empty((len(queries), k), np.float32)
        faiss = import_faiss()
        faiss.omp_set_num_threads(1)  # a setting of the calling thread; ours are enough
        self._shared.set_effort(self._effort)
        distances, found = self._shared.index.search(queries, k)
        rows = found.astype(np.int32)
        scores = self._cosines(distances)
        scores[rows == MISSING] = -np.inf
        return rows, scores

    def with_effort(self, effort: Effort) -> "FaissIndex":
        return FaissIndex(self._shared, {**self._description, "effort": dict(effort)})

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        import_faiss().write_index(self._shared.index, str(folder / FILE))

    @classmethod
    def load(cls, folder: Path, description: Mapping[str, object]) -> "FaissIndex":
        return cls(_Shared(import_faiss().read_index(str(folder / FILE))), description)

    def _cosines(self, distances: Vectors) -> Vectors:
        """Of squared distances; of a hash, by the share of bits that differ (Charikar 2002)."""
        if self._bits:
            return np.asarray(np.cos(math.pi / self._bits * distances), np.float32)
        return np.asarray(1 - distances / 2, np.float32)


class _Shared:
    """What all views of an index have in common: itself, and the effort that it is set to."""

    def __init__(self, index: Any) -> None:
        self.index = index
        self._effort = ""
        self._lock = Lock()

    def set_effort(self, effort: str) -> None:
        """Once, as long as no other view sets its own."""
        if self._effort == effort:
            return
        with self._lock:
            import_faiss().ParameterSpace().set_index_parameters(self.index, effort)
            self._effort = effort


def _efforts(factory: str) -> list[str]:
    """The settings of a search that a factory string brings with it, by Faiss' own names."""
    settings = []
    if factory.startswith("IVF") or ",IVF" in factory:
        settings.append("nprobe")
    elif re.search(r"(^|,)HNSW", factory):
        settings.append("efSearch")
    if "Refine" in factory or factory.endswith("RFlat"):
        settings.append("k_factor_rf")
    return settings


def _hash_bits(index: Any) -> int:
    return int(getattr(index, "nbits", 0)) if type(index).__name__ == "IndexLSH" else 0


def _reason(error: RuntimeError) -> str:
    """Faiss' own words, without the place in its source."""
    last = str(error).strip().splitlines()[-1].rpartition("Error: ")[2]
    return (last.rpartition("failed: ")[2] or last).strip("' ")
