"""What a person answered in Airflow, or that nobody did, as an entry of the ledger."""

import json
from typing import Any

import pytest
from conftest import CopyShop
from tiny_shop import DAY_2, finish, start

from model.errors import Refused
from pipelines.bundle import bundle_digest
from pipelines.decide import decide
from pipelines.releasable import Registered
from pipelines.release import promote_bundle, review_bundle
from pipelines.settings import Review, Settings
from serving.ledger import LEDGER, read_ledger

pytestmark = pytest.mark.filterwarnings("ignore:.*[Ss]tage.*:FutureWarning")  # MLflow's, on stages

Decided = list[tuple[str, str, str, str]]


@pytest.fixture
def asked(two_days_copy: CopyShop) -> Settings:
    """The second day's bundle waits; two people may say something."""
    settings = two_days_copy(review=Review(by="person", reviewers=("ada", "bob"), hours=0.5))
    ledger = settings.root / LEDGER
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:2]))
    return settings


def candidate_of(settings: Settings) -> Registered:
    return Registered("2", DAY_2, bundle_digest(settings, DAY_2))


def decided(settings: Settings) -> Decided:
    """Since the first day's promotion."""
    return [(e.action, e.version, e.who, e.why) for e in read_ledger(settings.root)[2:]]


@pytest.mark.parametrize(
    ("answer", "who", "why", "written"),
    [
        ("Approve", "ada", "shoes look good", [("approve", "2", "ada", "shoes look good")]),
        ("Approve", "bob", "", [("approve", "2", "bob", "Approve")]),
        ("Reject", "ada", "odd shoes", [("reject", "2", "ada", "odd shoes")]),
        (None, "whoever", "", [("reject", "2", "nobody", "no answer within 0.5 hours")]),
    ],
)
def test_each_answer_once(
    asked: Settings, answer: str | None, who: str, why: str, written: Decided
) -> None:
    for _ in range(2):  # a task may be tried again
        entry = decide(asked, DAY_2, answer, who=who, why=why)
        assert (entry.action, entry.version, entry.who, entry.why) == written[0]
        assert entry.bundle == bundle_digest(asked, DAY_2)
        assert decided(asked) == written


@pytest.mark.parametrize("answer", ["Approve", "Reject"])
def test_only_those_who_are_named(asked: Settings, answer: str) -> None:
    with pytest.raises(Refused) as caught:
        decide(asked, DAY_2, answer, who="eve", why="so")
    assert str(caught.value) == (
        "eve may not review. Expected one of review.reviewers: ada, bob. Nothing was changed."
    )
    assert decided(asked) == []


@pytest.mark.parametrize("action", ["approve", "reject"])
def test_the_time_that_is_over_changes_nothing_that_was_decided_meanwhile(
    asked: Settings, action: Any
) -> None:
    """As by `lookalike review`, or in MLflow."""
    review_bundle(asked, candidate_of(asked), action, who="bob", why="on the command line")
    entry = decide(asked, DAY_2, None, who="", why="")
    assert (entry.action, entry.who) == (action, "bob")
    assert decided(asked) == [(action, "2", "bob", "on the command line")]


def test_a_person_may_change_what_another_said(asked: Settings) -> None:
    review_bundle(asked, candidate_of(asked), "reject", who="bob", why="odd shoes")
    decide(asked, DAY_2, "Approve", who="ada", why="they are boots")
    assert [entry[:3] for entry in decided(asked)] == [
        ("reject", "2", "bob"), ("approve", "2", "ada"),
    ]  # fmt: skip


def test_after_it_serves_a_no_is_too_late_and_says_what_to_do(asked: Settings) -> None:
    review_bundle(asked, candidate_of(asked), "approve", who="bob", why="so")
    promote_bundle(asked, candidate_of(asked), who="bob", why="so")
    with pytest.raises(Refused, match=r"^Version 2 has served, so there is nothing to review\. To"):
        decide(asked, DAY_2, "Reject", who="ada", why="odd shoes")
    assert decide(asked, DAY_2, None, who="", why="").action == "promote"
    assert [action for action, *_ in decided(asked)] == ["approve", "promote"]


def test_its_command(asked: Settings) -> None:
    arguments = ("-m", "pipelines.decide", "--ds", str(DAY_2), "--answer")
    done = finish(start(asked, *arguments, "Approve", "--who", "eve"))
    assert (done.returncode, done.stderr.splitlines()[-1].split(".")[0]) == (
        3, "Refused: eve may not review",
    )  # fmt: skip
    done = finish(start(asked, *arguments, "Approve", "--who", "ada", "--why", "so"))
    entry = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, entry["action"], entry["who"], entry["why"]) == (
        0, "approve", "ada", "so",
    )  # fmt: skip
