"""The step `review`: what the policy says by itself, and what it leaves to people."""

import json
from typing import Any

import pytest
from conftest import CopyShop
from tiny_shop import DAY_1, DAY_2, command

from model.errors import BadInput, Refused
from pipelines.bundle import bundle_digest
from pipelines.evidence_record import PAGE, RECORD, Evidence, read_evidence
from pipelines.releasable import Registered
from pipelines.release import review_bundle
from pipelines.review import REVIEW, run
from pipelines.settings import Review, Settings
from pipelines.step import Partition
from serving.ledger import LEDGER, read_ledger

pytestmark = pytest.mark.filterwarnings("ignore:.*[Ss]tage.*:FutureWarning")  # MLflow's, on stages

WIDE: dict[str, Any] = {"max_recall_drop": 0.2, "max_leaf_drop": 0.5, "max_slowdown": 1000}
WITHIN = "within the bounds of the policy"


def waiting(copy: CopyShop, **bounds: Any) -> Settings:
    """The second day's bundle is registered, the first day's serves."""
    settings = copy(review=Review(**(WIDE | bounds)))
    ledger = settings.root / LEDGER
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:2]))
    return settings


def candidate_of(settings: Settings) -> Registered:
    return Registered("2", DAY_2, bundle_digest(settings, DAY_2))


def decided(settings: Settings) -> list[tuple[str, str, str, str]]:
    """Since the first day's promotion."""
    return [(e.action, e.version, e.who, e.why) for e in read_ledger(settings.root)[2:]]


def details(settings: Settings, **given: Any) -> dict[str, Any]:
    """What the step says, whatever was decided."""
    return {
        "bundle": bundle_digest(settings, DAY_2),
        "version": "2",
        "reviewers": list(settings.review.reviewers),
        "hours": settings.review.hours,
        "page": str(
            (Partition(settings, "evidence", DAY_2).output / PAGE).relative_to(settings.root)
        ),
        **given,
    }


def evidence_of(settings: Settings) -> Evidence:
    return read_evidence(settings, DAY_2, bundle_digest(settings, DAY_2))


def test_within_its_bounds_the_policy_approves_and_once(two_days_copy: CopyShop) -> None:
    settings = waiting(two_days_copy, reviewers=("ada", "bob"), hours=2.5)
    report = run(settings, DAY_2)
    expected = details(settings, decision="approve", who="policy", why=WITHIN)
    assert (report.rows, report.details, report.reused) == (1, expected, False)
    output = Partition(settings, "review", DAY_2).output
    assert json.loads((output / REVIEW).read_bytes()) == expected
    assert decided(settings) == [("approve", "2", "policy", WITHIN)]
    again = run(settings, DAY_2)
    assert (again.reused, again.details) == (True, expected)
    assert len(decided(settings)) == 1


def test_beyond_a_bound_a_person_is_asked_and_told_why(two_days_copy: CopyShop) -> None:
    settings = waiting(two_days_copy, max_item_change=0)
    data = evidence_of(settings).data
    assert data.added
    assert data.champion_items
    share = data.added / data.champion_items
    report = run(settings, DAY_2)
    assert report.details["why"].startswith(f"share of items that came is {share:.3f}, above 0")
    assert report.details == details(settings, decision="ask", who=None, why=report.details["why"])
    assert decided(settings) == []
    assert run(settings, DAY_2).reused


def test_with_other_bounds_it_is_another_question(two_days_copy: CopyShop) -> None:
    settings = waiting(two_days_copy, max_item_change=0)
    assert run(settings, DAY_2).details["decision"] == "ask"
    wider = settings.model_copy(update={"review": Review(**WIDE)})
    assert run(wider, DAY_2).details["decision"] == "approve"
    assert decided(settings) == [("approve", "2", "policy", WITHIN)]
    # And what the policy has said once is not taken back by narrower ones.
    narrow = run(settings, DAY_2)
    assert (narrow.details["decision"], narrow.details["who"]) == ("approve", "policy")
    assert len(decided(settings)) == 1


def test_a_shop_may_have_a_person_say_it_always(two_days_copy: CopyShop) -> None:
    settings = waiting(two_days_copy, by="person")
    assert run(settings, DAY_2).details == details(
        settings, decision="ask", who=None, why="review.by is `person`"
    )
    assert decided(settings) == []


@pytest.mark.parametrize("action", ["approve", "reject"])
@pytest.mark.parametrize("by", ["policy", "person"])
def test_what_a_person_has_said_before_stays(two_days_copy: CopyShop, by: str, action: Any) -> None:
    settings = waiting(two_days_copy, by=by)
    review_bundle(settings, candidate_of(settings), action, who="ada", why="I looked")
    report = run(settings, DAY_2)
    assert report.details == details(settings, decision=action, who="ada", why="I looked")
    assert decided(settings) == [(action, "2", "ada", "I looked")]
    assert run(settings, DAY_2).reused


def test_a_persons_later_word_is_taken_up(two_days_copy: CopyShop) -> None:
    settings = waiting(two_days_copy)
    run(settings, DAY_2)
    review_bundle(settings, candidate_of(settings), "reject", who="ada", why="odd shoes")
    report = run(settings, DAY_2)
    assert (report.reused, report.details["decision"], report.details["who"]) == (
        False, "reject", "ada",
    )  # fmt: skip


def test_the_first_bundle_of_a_shop_needs_nobody(shop: Settings) -> None:
    report = run(shop, DAY_1)
    assert (report.reused, report.details["decision"], report.details["who"]) == (
        True, "approve", "policy",
    )  # fmt: skip


def test_a_champion_that_cannot_be_compared_is_for_a_person(two_days_copy: CopyShop) -> None:
    settings = waiting(two_days_copy)
    path = Partition(settings, "evidence", DAY_2).output / RECORD
    record = evidence_of(settings).model_copy(update={"champion_fault": "it is gone"})
    path.unlink()  # it may be a link to the file of the shop that was copied
    path.write_text(record.model_dump_json())
    (settings.root / "review" / f"ds={DAY_2}" / "report.json").unlink()
    assert run(settings, DAY_2).details == details(
        settings, decision="ask", who=None, why="the champion cannot be compared with: it is gone"
    )


def test_a_bundle_that_may_not_serve_is_refused_by_name(two_days_copy: CopyShop) -> None:
    settings = waiting(two_days_copy)
    (settings.root / "blessings" / f"{bundle_digest(settings, DAY_2)}.json").unlink()
    (settings.root / "review" / f"ds={DAY_2}" / "report.json").unlink()
    with pytest.raises(Refused, match=r"^No server has blessed bundle"):
        run(settings, DAY_2)
    assert decided(settings) == []


def test_before_its_steps_it_says_which(two_days: Settings) -> None:
    with pytest.raises(BadInput, match="Step `register` has no output for 2026-11-21"):
        run(two_days, DAY_2.replace(day=21))


def test_its_command(two_days: Settings) -> None:
    done = command(two_days, "review", DAY_2)
    assert done.returncode == 0
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["step"], report["reused"], report["details"]["decision"]) == (
        "review", True, "approve",
    )  # fmt: skip
