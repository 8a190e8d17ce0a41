"""The shop's files on its taxonomy: which categories there are, and which ones moved."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.errors import BadInput
from model.taxonomy import Moves, Taxonomy
from pipelines.categories import read_moves, read_paths, rearranged

BEFORE = Taxonomy(("Home > Cups", "Home > Mugs"))


def written(folder: Path, text: str, suffix: str = ".csv") -> Path:
    path = folder / f"file{suffix}"
    path.write_text(text)
    return path


def test_parents_become_paths(tmp_path: Path) -> None:
    tree = written(tmp_path, "category,parent\nHome,\n Lamps ,Home\n,\nPendants,Lamps\n")
    assert read_paths(tree) == {"Home", "Home > Lamps", "Home > Lamps > Pendants"}


@pytest.mark.parametrize(
    ("text", "moves"),
    [
        ("former,now\n", {}),
        (
            'former,now,note\nA > B,A > C,\n"A>B, D","A > C",\nE,,gone\n',
            {"A > B": ("A > C",), "A > B, D": ("A > C",), "E": ()},
        ),
        ("now,former\nX,A\nY, A \nX,A\n", {"A": ("X", "Y")}),
        ("former,now\nA,A\n\n", {"A": ("A",)}),
    ],
)
def test_rows_become_moves(tmp_path: Path, text: str, moves: Moves) -> None:
    assert read_moves(written(tmp_path, text)) == moves


def test_moves_in_other_kinds_of_tables(tmp_path: Path) -> None:
    rows = [{"former": "A", "now": "B"}, {"former": "C", "now": None}]
    expected = {"A": ("B",), "C": ()}
    lines = "\n".join(map(json.dumps, rows))
    assert read_moves(written(tmp_path, lines, ".jsonl")) == expected
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "moves.parquet")
    assert read_moves(tmp_path / "moves.parquet") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("category,now\nA,B\n", "lacks a column. Expected former and now. Received: category, now"),
        ("former,now\nA,B,C\n", "a line that is no row. .*in quotes.* Received: 'A,B,C'"),
        ("former,now\nA,B\n,C\n", "Row 2 of .* is no move. Expected a path in `former`.*'', 'C'"),
        ("former,now\nA,B > C > B\n", "Row 1 of .* is no move. .*'A', 'B > C > B'"),
        ("former,now\nA > A,B\n", "Row 1 of .* is no move"),
        ("former,now\nA,\nA,B\n", "both retires 'A' and moves it to 'B'"),
        ("former,now\nA,B\nA,\n", "both retires 'A' and moves it to 'B'"),
    ],
)
def test_rows_that_cannot_be_meant(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read_moves(written(tmp_path, text))


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no table at"):
        read_moves(tmp_path / "moves.csv")


def test_a_line_of_the_tree_that_is_no_row(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="The taxonomy .* a line that is no row"):
        read_paths(written(tmp_path, "category,parent\nMugs, cups,Home\n"))


def test_moves_stay_within_the_taxonomy_file(tmp_path: Path) -> None:
    file = written(tmp_path, "former,now\nHome > Cups,Home > Crockery\n")
    after = rearranged(BEFORE, file, [], frozenset({"Home", "Home > Crockery", "Home > Mugs"}))
    assert after == Taxonomy(
        ("Home > Crockery", "Home > Mugs"), {"Home > Cups": ("Home > Crockery",)}
    )
    with pytest.raises(BadInput, match="moves 'Home > Cups' to 'Home > Crockery'. .*taxonomy file"):
        rearranged(BEFORE, file, [], frozenset({"Home", "Home > Mugs"}))
    assert rearranged(BEFORE, file, [], None) == after


def test_only_where_a_chain_ends_must_be_in_the_taxonomy_file(tmp_path: Path) -> None:
    text = "former,now\nHome > Cups,Home > Bowls\nHome > Bowls,Home > Mugs\n"
    after = rearranged(
        BEFORE, written(tmp_path, text), ["Home > Bowls"], frozenset({"Home > Mugs"})
    )
    assert after.moved == {"Home > Bowls": ("Home > Mugs",), "Home > Cups": ("Home > Mugs",)}
