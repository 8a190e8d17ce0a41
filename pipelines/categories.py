"""The shop's own files on its taxonomy: which categories there are, and which ones moved.

Both are CSV, JSON Lines or Parquet. The first has `category` and `parent`; a category without a
parent is a top. The second has `former` and `now`, both as paths `Top > Middle > Leaf`:

    one former, one now         it is renamed, or merged into a category that there is already
    several formers, one now    they are merged
    one former, several nows    it is split
    one former, no now          it is retired
    a former that is its now    it is a category again

What moved is remembered from day to day, so a row may stay in the file or go.
"""

from collections.abc import Iterable
from pathlib import Path

from model.errors import BadInput
from model.taxonomy import Moves, Taxonomy, is_cyclic, paths_from_parents
from pipelines.cells import category, text
from pipelines.tables import MALFORMED, Frame, read_table


def read_paths(path: Path) -> frozenset[str]:
    """Every node's path. Raises BadInput on a cycle or on a category with two parents."""
    table = _read(path, "taxonomy", "category", "parent")
    parents: dict[str, str | None] = {}
    for name, parent in zip(map(text, table["category"]), map(text, table["parent"]), strict=True):
        if name and parents.setdefault(name, parent) != parent:
            raise BadInput(
                f"The taxonomy {path} gives {name!r} two parents. Expected one. "
                f"Received: {parents[name]!r} and {parent!r}. Remove one of them."
            )
    return paths_from_parents(parents)


def read_moves(path: Path) -> Moves:
    """Each former path and where it went. Raises BadInput on a row that cannot be meant."""
    table = _read(path, "list of moved categories", "former", "now")
    moves: dict[str, tuple[str, ...]] = {}
    retired: set[str] = set()
    for row, former, now in zip(
        table.index, map(category, table["former"]), map(category, table["now"]), strict=True
    ):
        if former is None or is_cyclic(former) or (now and is_cyclic(now)):
            raise BadInput(
                f"Row {row} of {path} is no move. Expected a path in `former`, and each name once "
                f"in a path; quote a path with a comma. Received: {former or ''!r}, {now or ''!r}."
            )
        if now is None:
            retired.add(former)
        nows = moves.get(former, ())
        moves[former] = nows if now is None or now in nows else (*nows, now)
    for former in sorted(retired):
        if moves[former]:
            raise BadInput(
                f"{path} both retires {former!r} and moves it to {moves[former][0]!r}. Expected "
                f"one of them. Remove the other row."
            )
    return moves


def rearranged(
    former: Taxonomy, file: Path, used: Iterable[str], known: frozenset[str] | None
) -> Taxonomy:
    """The taxonomy of the day before after the moves in `file`; see `Taxonomy.rearranged`.

    `known`: the only paths there are. Raises BadInput when a category moves to another one.
    """
    moves = read_moves(file)
    taxonomy = former.rearranged(moves, used)
    if known is not None:
        for path in moves:
            unknown = set(taxonomy.now(path)) - known
            if unknown:
                raise BadInput(
                    f"{file} moves {path!r} to {min(unknown)!r}. Expected a path of the taxonomy "
                    f"file (ingest.taxonomy). Correct the row, or add the category there."
                )
    return taxonomy


def _read(path: Path, what: str, *columns: str) -> Frame:
    table = read_table(path)
    if not set(columns) <= set(table.columns):
        raise BadInput(
            f"The {what} {path} lacks a column. Expected {' and '.join(columns)}. "
            f"Received: {', '.join(map(str, table.columns))}."
        )
    if MALFORMED in table.columns:
        line = next(line for line in table[MALFORMED] if line)
        raise BadInput(
            f"The {what} {path} has a line that is no row. Expected {len(columns)} values, in "
            f"quotes where there is a comma in them. Received: {line!r}."
        )
    return table
