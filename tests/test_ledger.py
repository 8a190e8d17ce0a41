"""The ledger: what is appended is read, whatever was cut short and whoever else appends."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from serving.ledger import (
    LEDGER,
    Action,
    Entry,
    append,
    champion,
    now,
    read_ledger,
    read_standing,
    standing,
)


def entry(number: int, **changes: object) -> Entry:
    facts = {
        "at": datetime(2026, 11, 20, 6, number, tzinfo=UTC),
        "action": "promote",
        "who": "ada@shop.example",
        "why": "gate passed",
        "ds": date(2026, 11, 20),
        "version": str(number),
        "former": f"{number - 1:016x}" if number else None,
        "bundle": f"{number:016x}",
    }
    return Entry.model_validate(facts | changes)


def test_without_a_ledger_there_is_no_champion(tmp_path: Path) -> None:
    assert (read_ledger(tmp_path), champion(tmp_path)) == ([], None)
    assert (read_ledger(tmp_path / "gone"), champion(tmp_path / "gone")) == ([], None)
    assert list(tmp_path.iterdir()) == []


def test_decisions_come_back_in_order_and_the_last_one_serves(tmp_path: Path) -> None:
    entries = [entry(0), entry(1), entry(2, action="rollback", bundle=f"{0:016x}")]
    for number, one in enumerate(entries):
        append(tmp_path / "new", one)
        assert read_ledger(tmp_path / "new") == entries[: number + 1]
        assert champion(tmp_path / "new") == one
    assert [path.name for path in (tmp_path / "new").iterdir()] == [LEDGER]


def test_a_decision_is_one_line_of_json(tmp_path: Path) -> None:
    append(tmp_path, entry(1, why='it\n"works"\u2028 für alle'))
    assert (tmp_path / LEDGER).read_bytes() == (
        b'{"action": "promote", "at": "2026-11-20T06:01:00Z", "bundle": "0000000000000001", '
        b'"ds": "2026-11-20", "former": "0000000000000000", "share": 0.0, "verdict": "", '
        b'"version": "1", '
        b'"who": "ada@shop.example", "why": "it\\n\\"works\\"\\u2028 f\\u00fcr alle"}\n'
    )


@settings(max_examples=50)
@given(who=st.text(), why=st.text(), version=st.text(), former=st.none() | st.text())
def test_any_text_survives(
    tmp_path_factory: pytest.TempPathFactory, who: str, why: str, version: str, former: str | None
) -> None:
    root = tmp_path_factory.mktemp("ledger")
    written = [entry(0, who=who, why=why, version=version, former=former), entry(1)]
    for one in written:
        append(root, one)
    assert read_ledger(root) == written


def test_times_keep_their_zone(tmp_path: Path) -> None:
    there = datetime(2026, 11, 20, 7, 0, tzinfo=timezone(timedelta(hours=1)))
    append(tmp_path, entry(0, at=there))
    (found,) = read_ledger(tmp_path)
    assert found.at == datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
    assert now().tzinfo is UTC


def test_a_torn_last_line_is_no_decision_and_the_next_one_heals_it(tmp_path: Path) -> None:
    """Cut at every byte of the last line: it was never acknowledged."""
    append(tmp_path, entry(0))
    first = (tmp_path / LEDGER).read_bytes()
    append(tmp_path, entry(1))
    whole = (tmp_path / LEDGER).read_bytes()
    for length in range(len(first), len(whole)):
        (tmp_path / LEDGER).write_bytes(whole[:length])
        assert read_ledger(tmp_path) == [entry(0)]
        assert champion(tmp_path) == entry(0)
    append(tmp_path, entry(2))
    assert read_ledger(tmp_path) == [entry(0), entry(2)]
    assert (tmp_path / LEDGER).read_bytes().count(b"\n") == 2


def test_a_torn_first_line_leaves_an_empty_ledger(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_bytes(b'{"action": "pro')
    assert (read_ledger(tmp_path), champion(tmp_path)) == ([], None)
    append(tmp_path, entry(0))
    assert read_ledger(tmp_path) == [entry(0)]


def test_a_spoiled_line_is_not_skipped(tmp_path: Path) -> None:
    """Guessing around it could roll back to a bundle that never served."""
    append(tmp_path, entry(0))
    with (tmp_path / LEDGER).open("ab") as file:
        file.write(b'{"action": "delete"}\n')
    with pytest.raises(ValidationError):
        read_ledger(tmp_path)


@pytest.mark.parametrize(
    "changes", [{"action": "delete"}, {"bundle": None}, {"ds": "soon"}, {"who": 7}]
)
def test_other_decisions_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        entry(0, **changes)
    with pytest.raises(ValidationError):
        entry(0).who = "eve"  # type: ignore[misc]


WRITER = """
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import cast
from serving.ledger import Entry, append, now

root, who = Path(sys.argv[1]), sys.argv[2]
sys.stdin.readline()
for number in range(40):
    append(root, Entry(at=now(), action="promote", who=who, why="x" * 300, ds=date(2026, 11, 20),
                       version=str(number), former=None, bundle=f"{number:016x}"))
"""


def test_processes_that_append_at_once_lose_nothing(tmp_path: Path) -> None:
    names = ["ada", "bob", "cy", "dee"]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), name],
            stdin=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
        )
        for name in names
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
    while any(writer.poll() is None for writer in writers):
        assert all(len(one.why) == 300 for one in read_ledger(tmp_path))
    assert [(writer.communicate(), writer.returncode)[1] for writer in writers] == [0] * 4
    entries = read_ledger(tmp_path)
    assert len(entries) == 160
    for name in names:
        versions = [one.version for one in entries if one.who == name]
        assert versions == [str(number) for number in range(40)]


def decided(action: Action, bundle: int) -> Entry:
    return entry(bundle).model_copy(update={"action": action, "bundle": f"bundle {bundle}"})


STANDINGS: list[tuple[str, int | None, str | None]] = [  # decisions, champion, candidate
    ("", None, None),
    ("approve 1", None, None),
    ("promote 1", 1, None),
    ("promote 1, approve 2, shadow 2", 1, "shadow 2"),
    ("promote 1, shadow 2, canary 2", 1, "canary 2"),
    ("promote 1, shadow 2, approve 3, reject 4", 1, "shadow 2"),
    ("promote 1, shadow 2, abort 2", 1, None),
    ("promote 1, shadow 2, abort 2, approve 3", 1, None),
    ("promote 1, shadow 2, abort 2, shadow 3", 1, "shadow 3"),
    ("promote 1, canary 2, promote 2", 2, None),
    ("promote 1, promote 2, canary 3, rollback 1", 1, None),
    ("promote 1, canary 2, promote 2, reject 3, abort 3", 2, None),
]


@pytest.mark.parametrize(("decisions", "serves", "beside"), STANDINGS)
def test_what_decisions_come_to(
    tmp_path: Path, decisions: str, serves: int | None, beside: str | None
) -> None:
    for decision in filter(None, decisions.split(", ")):
        action, _, number = decision.partition(" ")
        append(tmp_path, decided(cast(Action, action), int(number)))
    found = read_standing(tmp_path)
    assert found == standing(reversed(read_ledger(tmp_path)))
    assert (found.champion and found.champion.bundle) == (serves and f"bundle {serves}")
    candidate = found.candidate
    assert (candidate and f"{candidate.action} {candidate.bundle[-1]}") == beside
    assert champion(tmp_path) == found.champion
