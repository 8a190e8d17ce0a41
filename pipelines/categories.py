"""The shop's taxonomy file: which categories there are.

A CSV, JSON Lines or Parquet table of `category` and `parent`; a category without a parent is a top.
"""

from pathlib import Path

from model.errors import BadInput
from model.taxonomy import paths_from_parents
from pipelines.cells import text
from pipelines.tables import read_table


def read_paths(path: Path) -> frozenset[str]:
    """Every node's path. Raises BadInput on a cycle or on a category with two parents."""
    table = read_table(path)
    if not {"category", "parent"} <= set(table.columns):
        raise BadInput(
            f"The taxonomy {path} lacks a column. Expected category and parent. "
            f"Received: {', '.join(map(str, table.columns))}."
        )
    parents: dict[str, str | None] = {}
    for name, parent in zip(map(text, table["category"]), map(text, table["parent"]), strict=True):
        if name and parents.setdefault(name, parent) != parent:
            raise BadInput(
                f"The taxonomy {path} gives {name!r} two parents. Expected one. "
                f"Received: {parents[name]!r} and {parent!r}. Remove one of them."
            )
    return paths_from_parents(parents)
