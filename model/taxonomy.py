"""The category tree. A leaf's id is its place in `leaves` and never moves."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from model.errors import BadInput

SEPARATOR = " > "


@dataclass(frozen=True)
class Taxonomy:
    """Leaf paths such as `Fashion > Tops > Knitwear`, in the order they were first seen."""

    leaves: tuple[str, ...]

    def extended(self, paths: Iterable[str]) -> "Taxonomy":
        """Add new leaves at the end, sorted; ids of known leaves stay, whatever was sold today."""
        new = sorted(set(paths) - set(self.leaves))
        return Taxonomy(self.leaves + tuple(new))

    @cached_property
    def ids(self) -> Mapping[str, int]:
        return {path: number for number, path in enumerate(self.leaves)}

    @cached_property
    def depth(self) -> int:
        return max((len(split(path)) for path in self.leaves), default=0)

    def nodes(self, level: int) -> tuple[str, ...]:
        """Names of the nodes at `level` (1 is the top); a shallower leaf stands for itself."""
        return tuple(dict.fromkeys(_ancestor(path, level) for path in self.leaves))

    def node_of_leaf(self, level: int) -> npt.NDArray[np.int32]:
        """int32 [leaves]: for each leaf the position of its ancestor in `nodes(level)`."""
        position = {name: number for number, name in enumerate(self.nodes(level))}
        return np.array([position[_ancestor(path, level)] for path in self.leaves], np.int32)

    def confusion(
        self, true: npt.NDArray[np.int32], predicted: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.int64]:
        """int64 [leaves, leaves]: how often a true leaf (row) was taken for another (column)."""
        counts = np.zeros((len(self.leaves),) * 2, np.int64)
        np.add.at(counts, (true, predicted), 1)
        return counts


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
