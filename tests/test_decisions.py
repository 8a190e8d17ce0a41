"""Which bundle a candidate would replace, whatever the ledger has seen."""

from datetime import UTC, date, datetime, timedelta

from pipelines.decisions import decisions_on, predecessor
from serving.ledger import Entry

START = datetime(2026, 11, 19, tzinfo=UTC)


def ledger(*moves: tuple[str, str]) -> list[Entry]:
    """Actions and the bundles that serve from then on."""
    former, entries = None, []
    for number, (action, bundle) in enumerate(moves):
        entries.append(
            Entry(
                at=START + timedelta(hours=number), action=action, who="ada", why="so",
                ds=date(2026, 11, 19), version="1", former=former, bundle=bundle,
            )
        )  # fmt: skip
        former = bundle
    return entries


def replaced(entries: list[Entry], digest: str) -> str | None:
    found = predecessor(entries, digest)
    return found and found.bundle


def test_a_first_bundle_replaces_nothing_also_after_its_promotion() -> None:
    assert replaced([], "a") is None
    assert replaced(ledger(("promote", "a")), "a") is None
    assert replaced(ledger(("promote", "a"), ("promote", "b")), "a") is None


def test_a_candidate_replaces_what_serves_and_so_it_stays_after_its_promotion() -> None:
    entries = ledger(("promote", "a"), ("promote", "b"), ("rollback", "a"), ("promote", "c"))
    assert replaced(entries[:2], "c") == "b"
    assert replaced(entries[:3], "c") == "a"
    assert replaced(entries, "c") == "a"
    assert replaced(entries, "d") == "c"


def test_what_served_before_its_first_time_counts() -> None:
    entries = ledger(("promote", "a"), ("promote", "b"), ("rollback", "a"))
    assert replaced(entries, "b") == "a"
    entries += ledger(("promote", "a"), ("rollback", "b"))[1:]
    assert replaced(entries, "b") == "a"


def test_other_actions_say_nothing_of_what_serves() -> None:
    first, second = ledger(("promote", "a"), ("promote", "b"))
    held = second.model_copy(update={"action": "reject"})  # of a later version of the ledger
    assert replaced([first, held], "b") == "a"
    assert replaced([first, held], "c") == "a"


def test_the_decisions_on_a_bundle() -> None:
    entries = ledger(("promote", "a"), ("promote", "b"), ("rollback", "a"), ("promote", "c"))
    assert decisions_on(entries, "a") == [entries[0], entries[2]]
    assert decisions_on(entries, "b") == [entries[1], entries[2]]  # it was rolled back
    assert decisions_on(entries, "d") == []
