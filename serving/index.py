"""Nearest neighbours by dot product, behind one small Protocol.

Every engine answers `search` alike: rows int32 [q, k] and scores float32 [q, k], best first;
where an engine finds fewer than k, the row is MISSING and the score -inf. Scores of vectors that
an engine keeps in fewer bits are as near to the cosine as those bits allow.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from model.errors import BadInput

MISSING = -1

Vectors = npt.NDArray[np.float32]  # [n, d], unit length
Rows = npt.NDArray[np.int32]  # [q, k]
Value = TypeVar("Value", bound=np.generic)
Effort = Mapping[str, int]  # what a search may cost, by the engine's own names


class Index(Protocol):
    """What the gate, the bundle and the server need of an engine."""

    @property
    def description(self) -> dict[str, object]:
        """Engine, form and effort; with it `engines.load_index` opens what `save` wrote."""
        ...

    def __len__(self) -> int: ...

    def search(self, queries: Vectors, k: int) -> tuple[Rows, Vectors]: ...

    def with_effort(self, effort: Effort) -> "Index":
        """The same index, searched with another effort."""
        ...

    def save(self, folder: Path) -> None: ...


def check_vectors(vectors: Vectors) -> None:
    """Raises BadInput for NaN and infinity, which an engine would index without a word."""
    if not np.isfinite(vectors).all():
        raise BadInput("The vectors to index hold NaN or infinity. Expected finite numbers.")


def check_queries(queries: Vectors, dimensions: int) -> Vectors:
    """float32 [q, d], contiguous. Raises BadInput for what no engine can answer."""
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if queries.ndim != 2 or queries.shape[1] != dimensions:
        raise BadInput(
            f"Wrong query shape. Expected [queries, {dimensions}]. Received: {queries.shape}."
        )
    if not np.isfinite(queries).all():
        raise BadInput("A query vector holds NaN or infinity. Expected finite numbers.")
    if queries.size and not queries.any(axis=1).all():
        raise BadInput("A query vector is all zeros. It has no direction, so nothing is near it.")
    return queries


def check_search(queries: Vectors, k: int, shape: tuple[int, int]) -> tuple[Vectors, int]:
    """The queries as `check_queries` gives them, and k, at most n, of an index [n, d].

    Raises BadInput for what no engine can answer.
    """
    if k < 1:
        raise BadInput(f"Invalid `k`. Expected at least 1. Received: {k}.")
    return check_queries(queries, shape[1]), min(k, shape[0])


def pick(values: npt.NDArray[Value], columns: npt.NDArray[Any]) -> npt.NDArray[Value]:
    """Of each row of values [q, n] its columns [q, k]: [q, k].

    NumPy's `take_along_axis` does the same; for one query it takes as long as the search itself.
    """
    picked: npt.NDArray[Value] = values[np.arange(len(values))[:, None], columns]
    return picked


def merge(
    first: tuple[Rows, Vectors], second: tuple[Rows, Vectors], k: int
) -> tuple[Rows, Vectors]:
    """The best k of two answers to the same queries."""
    if not second[0].shape[1]:
        return first
    rows = np.concatenate([first[0], second[0]], axis=1)
    scores = np.concatenate([first[1], second[1]], axis=1)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return pick(rows, best), pick(scores, best)
