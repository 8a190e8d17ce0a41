"""An index that takes changes while it is asked: a base that stays as it was built, and a delta.

    live = LiveIndex(base, vectors)
    rows = live.change(new_vectors, drop=old_rows)    # one change: found, and gone, from now on

What is new is searched exactly, beside the base; what is gone keeps its place in the base and is
left out of every answer. So a change costs the copy of a few vectors, and is found as well as in an
index that is built anew. A delta grows: the next bundle takes it in (`pipelines/fold.py`).
"""

from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from model.errors import BadInput
from serving.exact import ExactIndex
from serving.filtered import Filtered, Mask
from serving.index import MISSING, Index, Rows, Vectors, check_vectors, merge, pick

FIRST_ROOM = 1024  # vectors; doubles when it is full
SPARE = 4  # rows beyond k that the base is asked for, once some of its own are gone
WIDER = 4  # times as many for the queries that this leaves short

Numbers = npt.NDArray[np.int32]


@dataclass(frozen=True)
class _State:
    """What one search goes by, whatever changes meanwhile."""

    delta: Vectors  # [m, d]: rows n to n + m
    gone: Numbers  # sorted


class LiveIndex:
    """A base over `vectors` [n, d], and what came and went since.

    Rows are those of the base, then of what was added in its order; no row is ever given twice.
    Asked from many threads while one changes it: an answer knows a change as a whole or not yet.
    """

    def __init__(self, base: Index, vectors: Vectors) -> None:
        if len(base) != len(vectors):
            raise BadInput(
                f"The vectors are not those of the index. Expected {len(base)}. "
                f"Received: {len(vectors)}."
            )
        self.base = base
        self.vectors = vectors
        self._room = np.empty((FIRST_ROOM, vectors.shape[1]), np.float32)
        self._state = _State(self._room[:0], np.empty(0, np.int32))
        self._lock = Lock()

    def __len__(self) -> int:
        """How many can be found."""
        state = self._state
        return len(self.base) + len(state.delta) - len(state.gone)

    @property
    def rows(self) -> int:
        """How many were ever given."""
        return len(self.base) + len(self._state.delta)

    @property
    def changes(self) -> int:
        """Rows that came or went since the base was built."""
        return len(self._state.delta) + len(self._state.gone)

    @property
    def delta(self) -> Vectors:
        """What was added [m, d]: the rows after those of the base."""
        return self._state.delta

    def vector(self, row: int) -> Vectors:
        """float32 [d]"""
        n = len(self.base)
        vector: Vectors = self.vectors[row] if row < n else self._state.delta[row - n]
        return vector

    def vectors_of(self, rows: npt.NDArray[np.integer[Any]]) -> Vectors:
        """float32 [len(rows), d]"""
        n, delta = len(self.base), self._state.delta
        found = np.empty((len(rows), self.vectors.shape[1]), np.float32)
        new = rows >= n
        found[~new], found[new] = self.vectors[rows[~new]], delta[rows[new] - n]
        return found

    def change(self, vectors: Vectors, drop: npt.ArrayLike = ()) -> Numbers:
        """Add vectors [m, d] of unit length and drop rows, at once; the rows of the new ones.

        Raises BadInput for vectors of another width, NaN, and rows that were never given.
        """
        self.check(vectors)
        with self._lock:
            first, dropped = self.rows, np.asarray(drop, np.int32)
            if ((dropped < 0) | (dropped >= first)).any():
                raise BadInput(
                    f"Cannot drop rows that are not there. Expected 0 to {first - 1}. "
                    f"Received: {dropped.tolist()[:10]}."
                )
            delta = self._longer(vectors)
            self._state = _State(delta, _with(self._state.gone, dropped))
        return np.arange(first, first + len(vectors), dtype=np.int32)

    def check(self, vectors: Vectors) -> None:
        """Raises BadInput for vectors that this index cannot take."""
        check_vectors(vectors)
        if vectors.ndim != 2 or vectors.shape[1] != self.vectors.shape[1]:
            raise BadInput(
                f"Wrong vectors for this index. Expected [m, {self.vectors.shape[1]}]. "
                f"Received: {list(vectors.shape)}."
            )

    def _longer(self, vectors: Vectors) -> Vectors:
        """The delta with `vectors` behind it. Searches that run keep the view that they have."""
        former = self._state.delta
        total = len(former) + len(vectors)
        if total > len(self._room):
            room = np.empty((max(total, 2 * len(self._room)), self._room.shape[1]), np.float32)
            room[: len(former)] = former
            self._room = room
        self._room[len(former) : total] = vectors
        return self._room[:total]

    def search(self, queries: Vectors, k: int, allowed: Mask | None = None) -> tuple[Rows, Vectors]:
        """Rows int32 [q, at most k] and their scores, best first, of all that is there.

        `allowed` bool [rows]: only among these; rows that are newer than the mask are left out.
        """
        state, n = self._state, len(self.base)
        base = self._in_base(queries, k, state, allowed)
        rows, scores = _in_delta(queries, k, state, n, allowed)
        return merge(base, (rows + np.int32(n), scores), k)

    def _in_base(
        self, queries: Vectors, k: int, state: _State, allowed: Mask | None
    ) -> tuple[Rows, Vectors]:
        n = len(self.base)
        gone = state.gone[: np.searchsorted(state.gone, n)]
        if allowed is not None:
            kept = allowed[:n].copy()
            kept[gone] = False
            return Filtered(self.base, self.vectors, kept).search(queries, k)
        if not len(gone):
            return self.base.search(queries, k)
        return self._past(queries, min(k, n - len(gone)), gone)

    def _past(self, queries: Vectors, k: int, gone: Numbers) -> tuple[Rows, Vectors]:
        """The best k of the base that are not gone."""
        wanted = k + SPARE
        rows, scores, short = self._wider(queries, k, wanted, gone)
        while k and short.any():
            wanted *= WIDER
            rows[short], scores[short], still = self._wider(queries[short], k, wanted, gone)
            short[short] = still
        return rows, scores

    def _wider(
        self, queries: Vectors, k: int, wanted: int, gone: Numbers
    ) -> tuple[Rows, Vectors, Mask]:
        """The best k that are not gone of the best `wanted`; for which queries there may be more.

        Where there are fewer than k the row is MISSING.
        """
        rows, scores = self.base.search(queries, max(wanted, 1))
        missing = rows == MISSING
        lost = missing | _is_in(rows, gone)
        if lost.any():
            rows, scores = np.where(lost, MISSING, rows), np.where(lost, -np.inf, scores)
            order = np.argsort(lost, axis=1, kind="stable")  # those there, in their order
            rows, scores, lost = pick(rows, order), pick(scores, order), pick(lost, order)
        more = lost[:, :k].any(axis=1) & ~missing.any(axis=1) & (len(self.base) > wanted)
        return rows[:, :k], scores[:, :k], more


def _in_delta(
    queries: Vectors, k: int, state: _State, n: int, allowed: Mask | None
) -> tuple[Rows, Vectors]:
    """Rows count from 0, the first of the delta."""
    delta = ExactIndex(state.delta)
    there = np.ones(len(delta), bool)
    there[state.gone[np.searchsorted(state.gone, n) :] - n] = False
    if allowed is not None:
        known = allowed[n:][: len(delta)]
        there[: len(known)] &= known
        there[len(known) :] = False
    if there.all():
        return delta.search(queries, k)
    return Filtered(delta, state.delta, there).search(queries, k)


def _with(some: Numbers, more: Numbers) -> Numbers:
    """Both, sorted, each once. `some` is so already: to sort all of it again for the one row that
    a change drops takes longer than the rest of the change.
    """
    for row in map(np.int32, set(more.tolist())):  # for another type all of `some` is converted
        place = some.searchsorted(row)
        if place == len(some) or some[place] != row:
            some = np.concatenate((some[:place], (row,), some[place:]), dtype=np.int32)
    return some


def _is_in(rows: Rows, some: Numbers) -> npt.NDArray[np.bool_]:
    """bool like `rows`: which are among `some`, sorted and not empty."""
    found: Mask = some[np.searchsorted(some, rows).clip(max=len(some) - 1)] == rows
    return found
