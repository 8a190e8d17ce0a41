"""The category tree. A leaf's id is its place in `leaves` and never moves.

A leaf that is renamed keeps its place under the new name. One that is merged, split or retired
keeps its place too, but is closed: nothing is of it and nothing is taken for it any more.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

import numpy as np
import numpy.typing as npt

from model.errors import BadInput

SEPARATOR = " > "

Moves = Mapping[str, tuple[str, ...]]  # a former path, and where its items are now


@dataclass(frozen=True)
class Taxonomy:
    """Leaf paths such as `Fashion > Tops > Knitwear`, in the order they were first seen.

    `moved`: paths that are no category any more, each with what took its place. One path:
    renamed, or merged into it; several: split; none: retired.
    """

    leaves: tuple[str, ...]
    moved: Moves = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Taxonomy":
        held = json.loads(text)
        moved = {former: tuple(nows) for former, nows in held.get("moved", {}).items()}
        return cls(tuple(held["leaves"]), moved)

    def to_json(self) -> str:
        moved = dict(sorted(self.moved.items()))
        return json.dumps({"leaves": self.leaves, "moved": moved}, indent=1)

    def extended(self, paths: Iterable[str]) -> "Taxonomy":
        """Add new leaves at the end, sorted; ids of known leaves stay, whatever was sold today."""
        new = sorted(set(paths) - set(self.leaves))
        return Taxonomy(self.leaves + tuple(new), self.moved)

    def rearranged(self, moves: Moves, used: Iterable[str] = ()) -> "Taxonomy":
        """The tree after `moves`, on top of all that moved before; the same moves again are none.

        A path that moves to itself is a category again. `used`: paths that the feed uses, which
        may be no leaf yet. Raises BadInput on a cycle, on a former path that nobody knows (but
        for an empty tree), and where a move contradicts an earlier one.
        """
        if self.leaves:
            _check_known(moves, {*self.leaves, *self.moved, *used})
        kept = {former for former, nows in moves.items() if nows == (former,)}
        moves = {former: nows for former, nows in moves.items() if former not in kept}
        new = {former: nows for former, nows in moves.items() if former not in self.moved}
        back = kept | {now for nows in new.values() for now in nows} - moves.keys()
        record = {former: nows for former, nows in self.moved.items() if former not in back}
        moved = _resolved(record | new)
        _check_agreement(moves, moved)
        leaves = self._renamed({former: moved[former] for former in new})
        lost = sorted((back & self.moved.keys()) - set(leaves))
        return Taxonomy(leaves + tuple(lost), moved)

    def now(self, path: str) -> tuple[str, ...]:
        """The categories that have the items of `path` today; `path` itself if it did not move."""
        return self.moved.get(path, (path,))

    def present(self, path: str) -> str | None:
        """The category that all items of `path` are of today; None when it is retired.

        A path that was split stays as it is: only the shop knows what is of which part.
        """
        nows = self.now(path)
        return nows[0] if len(nows) == 1 else path if nows else None

    @cached_property
    def open(self) -> npt.NDArray[np.bool_]:
        """bool [leaves]: those that are categories today."""
        return np.array([leaf not in self.moved for leaf in self.leaves], bool)

    @cached_property
    def answers(self) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
        """What a classifier over these leaves can say today: names, int32 [leaves] into them.

        A merged leaf says the name of what it was merged into; one that was split or retired says
        nothing, and has the number of the names.
        """
        present = [self.present(leaf) for leaf in self.leaves]
        names = tuple(dict.fromkeys(name for name in present if name and name not in self.moved))
        place = {name: number for number, name in enumerate(names)}
        return names, np.array([place.get(name or "", len(names)) for name in present], np.int32)

    @cached_property
    def ids(self) -> Mapping[str, int]:
        return {path: number for number, path in enumerate(self.leaves)}

    @cached_property
    def depth(self) -> int:
        return max((len(split(path)) for path in self._open_leaves), default=0)

    def nodes(self, level: int) -> tuple[str, ...]:
        """Names of the nodes at `level` (1 is the top); a shallower leaf stands for itself."""
        return tuple(dict.fromkeys(_ancestor(path, level) for path in self._open_leaves))

    def node_of_leaf(self, level: int) -> npt.NDArray[np.int32]:
        """int32 [leaves]: for each leaf the position of its ancestor in `nodes(level)`.

        A closed leaf is below no node, and has the number of the nodes.
        """
        place = {name: number for number, name in enumerate(self.nodes(level))}
        pairs = zip(self.leaves, self.open, strict=True)
        nodes = [
            place[_ancestor(path, level)] if is_open else len(place) for path, is_open in pairs
        ]
        return np.array(nodes, np.int32)

    def confusion(
        self, true: npt.NDArray[np.int32], predicted: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.int64]:
        """int64 [leaves, leaves]: how often a true leaf (row) was taken for another (column)."""
        counts = np.zeros((len(self.leaves),) * 2, np.int64)
        np.add.at(counts, (true, predicted), 1)
        return counts

    @property
    def _open_leaves(self) -> list[str]:
        return [path for path in self.leaves if path not in self.moved]

    def _renamed(self, moved: Moves) -> tuple[str, ...]:
        """The leaves, with the new name where a leaf is the only one to get a name of no place."""
        heirs = Counter(moved[leaf] for leaf in self.leaves if leaf in moved)
        taken = set(self.leaves)

        def name(leaf: str) -> str:
            nows = moved.get(leaf, ())
            return nows[0] if len(nows) == 1 and heirs[nows] == 1 and nows[0] not in taken else leaf

        return tuple(map(name, self.leaves))


def split(path: str) -> list[str]:
    return path.split(SEPARATOR)


def normalise(path: str) -> str:
    """Trim the names of a category path; empty when there is no name."""
    return SEPARATOR.join(part.strip() for part in path.split(">") if part.strip())


def is_cyclic(path: str) -> bool:
    """A name that stands twice in one path would be its own ancestor."""
    names = [name.casefold() for name in split(path)]
    return len(set(names)) < len(names)


def paths_from_parents(parents: Mapping[str, str | None]) -> frozenset[str]:
    """Every node's full path from a `category -> parent` table. Raises BadInput on a cycle."""
    paths = set()
    for name in parents:
        chain = [name]
        while (parent := parents.get(chain[-1])) is not None:
            if parent in chain:
                raise BadInput(
                    f"The taxonomy has a cycle. Expected a tree. "
                    f"Received: {' -> '.join([*chain, parent])}. Remove one of these parents."
                )
            chain.append(parent)
        paths.add(SEPARATOR.join(reversed(chain)))
    return frozenset(paths)


def _ancestor(path: str, level: int) -> str:
    return SEPARATOR.join(split(path)[:level])


def _check_known(moves: Moves, known: set[str]) -> None:
    unknown = sorted(moves.keys() - known)
    if not unknown:
        return
    below = sorted(path for path in known if path.startswith(unknown[0] + SEPARATOR))
    raise BadInput(
        f"{unknown[0]!r} cannot move. Expected a category that has or had items. "
        + (
            f"Received one that has only categories below it: write a row for each of them, such "
            f"as {below[0]!r}."
            if below
            else "Received a path that nothing was ever of: correct it."
        )
    )


def _resolved(moves: Moves) -> dict[str, tuple[str, ...]]:
    """Each former path with where its items are after every later move. Raises BadInput."""
    try:
        order = tuple(TopologicalSorter(moves).static_order())
    except CycleError as error:
        raise BadInput(
            f"The moved categories go in a circle. Expected that each ends somewhere. "
            f"Received: {' -> '.join(reversed(error.args[1]))}. Remove one of these rows."
        ) from error
    ends: dict[str, tuple[str, ...]] = {}
    for path in order:
        nows = (end for now in moves.get(path, ()) for end in ends[now])
        ends[path] = tuple(dict.fromkeys(nows)) if path in moves else (path,)
    return {former: ends[former] for former in moves}


def _check_agreement(moves: Moves, moved: Moves) -> None:
    """A path that moved on an earlier day is where it was moved to then."""
    for former, nows in moves.items():
        ends = {end for now in nows for end in moved.get(now, (now,))}
        if ends != set(moved[former]):
            raise BadInput(
                f"{former!r} moved to {_shown(moved[former])} on an earlier day. Expected the same "
                f"row as then, or none. Received: {former!r} to {_shown(nows)}. Move what took its "
                f"place, or open it again with a row from {former!r} to itself."
            )


def _shown(paths: tuple[str, ...]) -> str:
    return ", ".join(map(repr, paths)) or "nothing"
