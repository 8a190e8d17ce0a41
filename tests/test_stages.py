"""Where each version stands by the ledger, over whole histories of decisions."""

from datetime import UTC, date, datetime, timedelta

import pytest

from pipelines.registry import Version
from pipelines.stages import aliases, stages
from serving.ledger import SERVES, Action, Entry

START = datetime(2026, 11, 1, tzinfo=UTC)
Move = tuple[Action, str]  # and the version that it is about


def day(version: str) -> date:
    """Each version is of a day of its own, but for 3b, which is of the day of 3."""
    return date(2026, 11, int(version[0]))


def ledger(*moves: Move) -> list[Entry]:
    former, entries = None, []
    for number, (action, version) in enumerate(moves):
        entries.append(
            Entry(
                at=START + timedelta(hours=number), action=action, who="ada", why="so",
                ds=day(version), version=version, former=former, bundle=f"digest {version}",
            )
        )  # fmt: skip
        former = f"digest {version}" if action in SERVES else former
    return entries


def registered(*versions: str) -> list[Version]:
    """The newest first, each in Staging whatever the ledger says."""
    return [Version(each, "Staging", f"digest {each}", day(each), {}) for each in versions[::-1]]


def found(count: int, *moves: Move) -> tuple[str, dict[str, str | None]]:
    """Initials of the stages of versions 1 .. count, and the aliases."""
    entries, some = ledger(*moves), registered(*"12345"[:count])
    wanted = stages(entries, some)
    initials = "".join(wanted[version][0] for version in sorted(wanted))
    return initials, aliases(entries, some, wanted)


A1, P1, A2, P2, A3, P3 = (  # what became of most bundles
    ("approve", "1"), ("promote", "1"), ("approve", "2"), ("promote", "2"), ("approve", "3"),
    ("promote", "3"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("count", "moves", "initials", "champion", "previous", "challenger"),
    [
        (0, [], "", None, None, None),
        (1, [], "S", None, None, "1"),
        (1, [A1], "S", None, None, "1"),
        (1, [("reject", "1")], "A", None, None, None),
        (1, [("reject", "1"), A1], "S", None, None, "1"),
        (1, [A1, P1], "P", "1", None, None),
        (2, [A1, P1], "PS", "1", None, "2"),
        (2, [A1, P1, A2], "PS", "1", None, "2"),
        (2, [A1, P1, A2, ("shadow", "2")], "PS", "1", None, "2"),
        (2, [A1, P1, A2, ("shadow", "2"), ("canary", "2")], "PS", "1", None, "2"),
        (2, [A1, P1, A2, ("canary", "2"), ("abort", "2")], "PA", "1", None, None),
        (2, [A1, P1, A2, ("canary", "2"), ("abort", "2"), A2], "PS", "1", None, "2"),
        (2, [A1, P1, ("reject", "2")], "PA", "1", None, None),
        (2, [A1, P1, A2, P2], "AP", "2", "1", None),
        (2, [A1, P1, A2, P2, ("rollback", "1")], "PA", "1", None, None),
        (2, [A1, P1, A2, P2, ("rollback", "1"), ("rollback", "2")], "AP", "2", "1", None),
        (3, [A1, P1, A2, P2, ("rollback", "1")], "PAS", "1", None, "3"),
        (3, [A1, P1, A2, P2, ("rollback", "1"), A3, P3], "AAP", "3", "1", None),
        (3, [A1, P1, A2, P2, A3, P3], "AAP", "3", "2", None),
        (3, [A1, P1, A2, P2, A3, P3, ("rollback", "1")], "PAA", "1", None, None),
        (3, [A1, P1, A3, P3], "AAP", "3", "1", None),  # 2 was overtaken by a newer day
        (4, [A1, P1, A2], "PSSS", "1", None, "4"),
        (4, [A1, P1, ("reject", "4")], "PSSA", "1", None, "3"),
    ],
)
def test_a_history(
    count: int,
    moves: list[Move],
    initials: str,
    champion: str | None,
    previous: str | None,
    challenger: str | None,
) -> None:
    assert found(count, *moves) == (
        initials, {"champion": champion, "previous": previous, "challenger": challenger},
    )  # fmt: skip


def test_a_refresh_of_the_champions_day_is_a_candidate() -> None:
    entries, some = ledger(A3, P3), registered("3", "3b")
    assert stages(entries, some) == {"3": "Production", "3b": "Staging"}


def test_the_challenger_is_the_newest_by_number_not_by_letters() -> None:
    some = [Version(n, "Staging", f"digest {n}", day("2"), {}) for n in ("10", "9")]
    assert aliases([], some, stages([], some))["challenger"] == "10"


def test_a_champion_that_the_registry_does_not_have_has_no_alias() -> None:
    entries, some = ledger(A1, P1, A2, P2), registered("2")
    assert aliases(entries, some, stages(entries, some)) == {
        "champion": "2", "previous": None, "challenger": None,
    }  # fmt: skip
