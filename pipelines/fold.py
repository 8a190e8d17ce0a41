"""Yesterday's index with the day's changes folded in, instead of another one from nothing.

    folded = fold(index, former, today)  # row folded.order[place] of today

ScaNN moves, adds and drops single vectors at a cost that has nothing to do with how many there
are. Its numbering is kept in step here: the place of a dropped row goes to a new one, or else to
the last. Never in an index whose vectors are in two partitions each: moving or dropping one there
breaks the memory of the process (ScaNN 1.4.2). Nor where vectors are kept in eight bits, whose
ranges are those of the first day: what lies outside them is cut off. Partitions grow uneven with
the changes, and their codes fit less well; ScaNN's own remedy is to train all anew, so ours is a
rebuild.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from serving.index import Index, Vectors
from serving.scann_index import ScannForm, ScannIndex

MAX_CHANGED = 0.2  # share of the vectors since the partitions were made
MAX_UNEVEN = 1.25  # times the unevenness of the partitions when they were made
SLACK = 0.01  # of unevenness: partitions of equal size may become a little less so
NOBODY = -1

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Of an index: whose vectors [n], of which photos [n], and the vectors float32 [n, d].

    In one space, equal photos have equal vectors.
    """

    ids: pa.Array
    photos: pa.Array
    vectors: Vectors

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Wear:
    """How far an index has come from the day its partitions were made."""

    changed: int  # vectors moved, added or dropped since
    uneven: float  # the partitions, that day

    @classmethod
    def of(cls, index: Index) -> "Wear":
        """None yet."""
        return cls(0, index.unevenness if isinstance(index, ScannIndex) else 0.0)

    def too_much(self, index: ScannIndex) -> bool:
        return (
            self.changed > MAX_CHANGED * len(index)
            or index.unevenness > MAX_UNEVEN * self.uneven + SLACK
        )


def can_fold(description: Mapping[str, object]) -> bool:
    """ScaNN with codes, as the module's text says; brute force is as soon built anew."""
    if description["engine"] != "scann":
        return False
    form = ScannForm.parse(str(description["form"]))
    return bool(form.ah) and not form.soar and form.storage != "int8"


@dataclass(frozen=True)
class Folded:
    """The index of today's rows, which row is at each of its places [n], and how many changed."""

    index: ScannIndex
    order: Numbers
    changed: int


def fold(index: ScannIndex, former: Rows, today: Rows) -> Folded:
    """Change `index` of the former rows in place; it is not to be used any more.

    Raises BadInput for one that `can_fold` refuses, LookalikeError when ScaNN numbers otherwise
    than expected.
    """
    found = pc.fill_null(pc.index_in(former.ids, value_set=today.ids), NOBODY)
    rows = found.to_numpy().astype(np.int64)
    there = np.flatnonzero(rows != NOBODY)
    same = pc.equal(former.photos.take(pa.array(there)), today.photos.take(pa.array(rows[there])))
    moved = there[~same.to_numpy(zero_copy_only=False)]
    free = np.flatnonzero(rows == NOBODY)
    new = np.ones(len(today), bool)
    new[rows[there]] = False
    added = np.flatnonzero(new)
    changed = len(moved) + max(len(free), len(added))
    refilled = min(len(free), len(added))
    rows[free[:refilled]] = added[:refilled]
    places = np.concatenate([moved, free[:refilled]])
    index = index.moved(places, today.vectors[rows[places]])
    index = index.added(today.vectors[added[refilled:]])
    rows = np.concatenate([rows, added[refilled:]])
    # From the last on, so that the place of each is taken by a row that stays.
    for place in free[refilled:][::-1]:
        rows[place] = rows[-1]
        rows = rows[:-1]
    return Folded(index.dropped(free[refilled:][::-1]), rows, changed)
