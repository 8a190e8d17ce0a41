"""How many items have each value of each attribute, as items come, change and go.

The table of a bundle is counted once, when it is asked for the first time (1.2 s for a million
items with three attributes, one of them with another value for each); what changes since is kept
apart, so that no change costs a count.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

NAMES = 24  # that are shown, those of most items first
VALUES = 50  # of each that are shown, the commonest first
MAX_VALUES = 2000  # of a name; one with more of them says what each item is, not what it is like
PAIRS = pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))


@dataclass(frozen=True)
class First:
    """What the table of a bundle has."""

    of: Mapping[str, Counter[str]]  # how many items have each value, by name
    many: frozenset[str]  # names with too many values, which are not among them


class AttributeCounts:
    """Of the items that stand in a table, and of those that stand in their place since."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        """`column`: map<string, string> or nulls, one row an item."""
        self._column = column
        self._since: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, attributes: Mapping[str, str]) -> None:
        """Of an item that stands from now on."""
        for name, value in attributes.items():
            self._since[name][value] += 1

    def remove(self, attributes: Mapping[str, str]) -> None:
        """Of an item that does not stand any more."""
        for name, value in attributes.items():
            self._since[name][value] -= 1

    def commonest(self) -> list[dict[str, Any]]:
        """`name` and `values` of NAMES attributes: each value's `name` and `count`."""
        found = {name: self._of(name) for name in self.first.of.keys() | self._since.keys()}
        few = {name: counts for name, counts in found.items() if 0 < len(counts) <= MAX_VALUES}
        names = sorted(few.keys() - self.first.many, key=lambda name: (-few[name].total(), name))
        return [{"name": name, "values": _shown(few[name])} for name in names[:NAMES]]

    @cached_property
    def first(self) -> First:
        """Of the table alone."""
        if not pa.types.is_map(self._column.type):
            return First({}, frozenset())
        pairs = [chunk.flatten() for chunk in self._column.cast(PAIRS).chunks]
        columns = [
            pa.chunked_array([each.field(place) for each in pairs], pa.string()) for place in (0, 1)
        ]
        counted = pa.table(columns, ["name", "value"]).group_by(["name", "value"])
        counts = counted.aggregate([([], "count_all")])
        names = counts["name"].value_counts()
        many = names.field("values").filter(pc.greater(names.field("counts"), MAX_VALUES))
        found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for row in counts.filter(pc.invert(pc.is_in(counts["name"], many))).to_pylist():
            found[row["name"]][row["value"]] = row["count_all"]
        return First(found, frozenset(many.to_pylist()))

    def _of(self, name: str) -> Counter[str]:
        """Values that some item has."""
        counts = Counter(self.first.of.get(name, {}))
        counts.update(self._since.get(name, {}))
        return +counts


def _shown(counts: Counter[str]) -> list[dict[str, Any]]:
    commonest = sorted(counts, key=lambda value: (-counts[value], value))[:VALUES]
    return [{"name": value, "count": counts[value]} for value in commonest]
