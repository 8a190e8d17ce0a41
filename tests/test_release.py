"""Release decisions: the ledger decides, the registry follows, a rollback lands where it says."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import CopyShop
from released import add_candidate, champion_version, damage, history, notes
from test_registry import aliases, sealed, stages
from tiny_shop import DAY_1, DAY_2, finish, forget, start_lookalike

from model.errors import BadInput, Damaged, Refused
from pipelines import promote
from pipelines.bundle import bundle_digest
from pipelines.decisions import served
from pipelines.releasable import Registered, registered
from pipelines.release import (
    NOBODY,
    POLICY,
    abort,
    promote_bundle,
    review_bundle,
    roll_back,
    try_beside,
)
from pipelines.settings import Registry, Review, Settings
from pipelines.step import Partition
from serving.bundle import verify
from serving.ledger import LEDGER, Entry, append, champion, now, read_ledger

pytestmark = pytest.mark.filterwarnings("ignore:.*[Ss]tage.*:FutureWarning")  # MLflow's, on stages


def release(settings: Settings, ds: date, digest: str, *, who: str = "ada", why: str = "") -> Entry:
    """Approved and promoted."""
    candidate = registered(settings, ds, digest)
    review_bundle(settings, candidate, "approve", who=who, why=why)
    return promote_bundle(settings, candidate, who=who, why=why)


def back(settings: Settings, to: str | None = None) -> Entry:
    return roll_back(settings, to=to, who="ada", why="looks wrong")


def state(settings: Settings) -> tuple[bytes, dict[str, str], dict[str, str]]:
    """All that a release may change."""
    return (settings.root / LEDGER).read_bytes(), stages(settings), aliases(settings)


def test_the_ledger_says_who_why_and_from_where(two_days: Settings) -> None:
    approved, first, approved_2, second = read_ledger(two_days.root)
    recalls = [Partition(two_days, "gate", ds).done().details["recall"] for ds in (DAY_1, DAY_2)]
    assert first == Entry(
        at=first.at,
        action="promote",
        who="policy",
        why="within the bounds of the policy",
        ds=DAY_1,
        version="1",
        former=None,
        bundle=bundle_digest(two_days, DAY_1),
        verdict=f"passed, recall@10 {recalls[0]:.3f}",
    )
    assert second == first.model_copy(
        update={
            "at": second.at,
            "ds": DAY_2,
            "version": "2",
            "former": first.bundle,
            "bundle": bundle_digest(two_days, DAY_2),
            "verdict": f"passed, recall@10 {recalls[1]:.3f}",
        }
    )
    assert first.at < second.at <= now()
    same = {"action": "approve", "at": approved.at}
    assert approved == first.model_copy(update=same)
    assert approved_2 == second.model_copy(update={**same, "at": approved_2.at})


def test_the_report_of_promote(two_days: Settings) -> None:
    assert Partition(two_days, "promote", DAY_2).done().details == {
        "bundle": bundle_digest(two_days, DAY_2),
        "version": "2",
        "promoted": True,
        "former": bundle_digest(two_days, DAY_1),
        "parts": [],
        "confirmed": [],
        "silent": ["http://127.0.0.1:1"],
    }


def test_a_rollback_serves_the_former_again(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    entry = back(settings)
    assert (entry.action, entry.version, entry.ds, entry.who, entry.why) == (
        "rollback", "1", DAY_1, "ada", "looks wrong",
    )  # fmt: skip
    assert champion(settings.root) == entry
    assert stages(settings) == {"1": "Production", "2": "Archived"}
    assert aliases(settings) == {"champion": "1"}


def test_a_second_rollback_has_nowhere_to_go(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    back(settings)
    before = state(settings)
    with pytest.raises(BadInput) as caught:
        back(settings)
    assert str(caught.value) == (
        "Nothing to roll back to. Expected a bundle that served before the champion. "
        "The ledger has: ['1']."
    )
    assert state(settings) == before


def test_without_a_ledger_there_is_nothing_to_roll_back(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"The ledger has: \[\]\."):
        back(Settings(root=tmp_path))


def test_rollback_to_a_version_that_served(two_days_copy: CopyShop) -> None:
    """Back to 1, and on purpose to 2 again, which was itself rolled back."""
    settings = two_days_copy()
    back(settings)
    assert back(settings, to="2").bundle == bundle_digest(settings, DAY_2)
    assert stages(settings) == {"1": "Archived", "2": "Production"}
    assert aliases(settings) == {"champion": "2", "previous": "1"}
    assert history(settings) == [
        ("promote", "1", None),
        ("promote", "2", "1"),
        ("rollback", "1", "2"),
        ("rollback", "2", "1"),
    ]


def test_rollback_to_a_version_that_never_served(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    add_candidate(settings)
    before = state(settings)
    for version in ("3", "99"):
        with pytest.raises(BadInput) as caught:
            back(settings, to=version)
        assert str(caught.value) == (
            f"Version {version} has never served, so there is nothing to go back to. "
            f"Versions that have: ['1', '2']."
        )
    assert state(settings) == before


def test_a_promotion_after_a_rollback_skips_what_was_rolled_back(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    back(settings)
    release(settings, DAY_2, add_candidate(settings).digest, who="ada", why="repaired")
    assert aliases(settings) == {"champion": "3", "previous": "1"}
    assert stages(settings) == {"1": "Archived", "2": "Archived", "3": "Production"}
    assert back(settings).version == "1"


def test_running_promote_again_does_not_undo_a_rollback(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    back(settings)
    before = state(settings)
    assert promote.run(settings, DAY_2).reused
    assert state(settings) == before


def test_promoting_the_champion_changes_nothing(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    before = state(settings)
    candidate = registered(settings, DAY_2, bundle_digest(settings, DAY_2))
    entry = promote_bundle(settings, candidate, who="ada", why="again")
    assert entry == read_ledger(settings.root)[-1]
    assert state(settings) == before


def test_what_has_served_is_not_promoted_again(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    before = state(settings)
    reason = (
        "Version 1 has served, so there is nothing to review. To take it away or to serve it "
        "again: lookalike rollback [--to VERSION]."
    )
    digest = bundle_digest(settings, DAY_1)
    with pytest.raises(Refused) as caught:
        release(settings, DAY_1, digest, who="ada", why="late")
    assert str(caught.value) == reason
    forget(settings, DAY_1, "promote")
    assert promote.run(settings, DAY_1).details == {
        "bundle": digest,
        "version": "1",
        "promoted": False,
        "why": "promote by policy: within the bounds of the policy",
    }
    assert state(settings) == before


def test_an_older_candidate_that_was_approved_in_time_comes_too_late(
    two_days_copy: CopyShop,
) -> None:
    settings = two_days_copy()
    third = add_candidate(settings, ds=DAY_1)
    lines = (settings.root / LEDGER).read_bytes().splitlines(keepends=True)
    (settings.root / LEDGER).write_bytes(b"".join(lines[:2]))  # the first day serves
    review_bundle(settings, third, "approve", who="ada", why="in time")
    with (settings.root / LEDGER).open("ab") as file:
        file.writelines(lines[2:])
    before = state(settings)
    with pytest.raises(Refused, match=f"^The bundle of {DAY_1} is older than the champion of"):
        promote_bundle(settings, third, who="ada", why="late")
    with pytest.raises(Refused, match=f"^The bundle of {DAY_1} is older than the champion of"):
        try_beside(settings, third, "canary", 0.1, why="late")
    assert state(settings) == before


def test_nobody_promotes_what_nobody_approved(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    third = add_candidate(settings)
    before = state(settings)
    reason = (
        "Nobody has approved version 3. Expected a review first: lookalike review 3 --approve "
        "--why TEXT."
    )
    with pytest.raises(Refused) as caught:
        promote_bundle(settings, third, who="ada", why="hurry")
    assert str(caught.value) == reason
    with pytest.raises(Refused) as caught:
        try_beside(settings, third, "shadow", 0.1, why="hurry")
    assert str(caught.value) == reason
    assert state(settings) == before


def test_only_those_who_are_named_review(two_days_copy: CopyShop) -> None:
    settings = two_days_copy(review=Review(reviewers=("bob", "cleo")))
    third = add_candidate(settings)
    before = state(settings)
    with pytest.raises(Refused) as caught:
        review_bundle(settings, third, "approve", who="ada", why="mine")
    assert str(caught.value) == (
        "ada may not review. Expected one of review.reviewers: bob, cleo. Nothing was changed."
    )
    for nobody in (POLICY, NOBODY):
        with pytest.raises(Refused) as caught:
            review_bundle(settings, third, "approve", who=nobody, why="mine")
        assert str(caught.value) == (
            f"`{nobody}` is no person. Expected who decides. Nothing was changed."
        )
    assert state(settings) == before
    assert review_bundle(settings, third, "approve", who="cleo", why="good").who == "cleo"


def test_a_review_is_an_entry_and_may_change_until_the_bundle_serves(
    two_days_copy: CopyShop,
) -> None:
    settings = two_days_copy()
    third = add_candidate(settings)
    no = review_bundle(settings, third, "reject", who="ada", why="shoes look odd")
    assert (no.action, no.who, no.why, no.version, no.former) == (
        "reject", "ada", "shoes look odd", "3", bundle_digest(settings, DAY_2),
    )  # fmt: skip
    assert (stages(settings)["3"], aliases(settings)) == (
        "Archived", {"champion": "2", "previous": "1"},
    )  # fmt: skip
    assert notes(settings, "3") == ("rejected", "ada", "shoes look odd")
    with pytest.raises(Refused, match=r"^Version 3 was rejected by ada: shoes look odd\."):
        promote_bundle(settings, third, who="bob", why="hurry")
    yes = review_bundle(settings, third, "approve", who="bob", why="I looked again")
    assert stages(settings)["3"] == "Staging"
    assert review_bundle(settings, third, "approve", who="cleo", why="me too") == yes
    # The policy and a time that is over come too late.
    late = review_bundle(settings, third, "reject", who=NOBODY, why="no answer", automatic=True)
    assert late == yes
    promote_bundle(settings, third, who="bob", why="good")
    with pytest.raises(Refused, match=r"^Version 3 has served, so there is nothing to review\."):
        review_bundle(settings, third, "reject", who="ada", why="told you")
    assert notes(settings, "3") == ("serves", "bob", "good")
    assert notes(settings, "2") == ("has served", "policy", "within the bounds of the policy")


def test_one_candidate_at_a_time_is_tried(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    third = add_candidate(settings)
    fourth = add_candidate(settings, hour=22)
    for candidate in (third, fourth):
        review_bundle(settings, candidate, "approve", who="ada", why="good")
    entry = try_beside(settings, third, "shadow", 0.25, why="120 s of shadow")
    assert (entry.action, entry.share, entry.who) == ("shadow", 0.25, "ada")
    assert (champion_version(settings), notes(settings, "3")[0]) == ("2", "in shadow")
    with pytest.raises(Refused) as caught:
        try_beside(settings, fourth, "shadow", 0.25, why="me too")
    assert str(caught.value) == (
        "Version 3 is in shadow. Expected one candidate at a time. Wait for its end, or end it: "
        "lookalike rollback."
    )
    try_beside(settings, third, "canary", 0.05, why="300 s of canary")
    out = back(settings)  # the candidate's end, and the champion is the same
    assert (out.action, out.version, champion_version(settings)) == ("abort", "3", "2")
    assert (stages(settings)["3"], notes(settings, "3")[0]) == ("Archived", "aborted")
    assert abort(settings, third.digest, who="ada", why="again") is None
    with pytest.raises(Refused, match=r"^Version 3 was aborted by ada: looks wrong\."):
        try_beside(settings, third, "shadow", 0.25, why="again")
    assert try_beside(settings, fourth, "shadow", 0.25, why="now").version == "4"


def test_who_rejects_a_candidate_in_canary_ends_it(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    third = add_candidate(settings)
    review_bundle(settings, third, "approve", who="ada", why="good")
    try_beside(settings, third, "canary", 0.05, why="300 s of canary")
    review_bundle(settings, third, "reject", who="bob", why="shoes look odd")
    assert history(settings)[-3:] == [
        ("canary", "3", "2"), ("reject", "3", "2"), ("abort", "3", "2"),
    ]  # fmt: skip
    assert champion_version(settings) == "2"


def test_a_tampered_bundle_is_not_released(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    third = add_candidate(settings).digest
    before = state(settings)
    damage(settings, third)
    with pytest.raises(Damaged, match=r"The file vectors\.npy of bundle"):
        release(settings, DAY_2, third, who="ada", why="tampered")
    damage(settings, bundle_digest(settings, DAY_1))
    with pytest.raises(Damaged, match=r"The file vectors\.npy of bundle"):
        back(settings)
    assert state(settings) == before


def test_a_bundle_that_was_never_registered_is_not_released(two_days_copy: CopyShop) -> None:
    settings = two_days_copy(registry=Registry(model="another"))
    digest = bundle_digest(settings, DAY_2)
    (settings.root / LEDGER).unlink()
    with pytest.raises(BadInput) as caught:
        release(settings, DAY_2, digest, who="ada", why="forgot")
    assert str(caught.value) == (
        f"Bundle {digest} is not in the registry. Run step `register` first."
    )


def test_a_lost_bundle_comes_back_from_the_artefacts(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    former = sealed(settings, DAY_1)
    shutil.rmtree(former.folder)
    entry = back(settings)
    assert entry.bundle == former.digest
    assert verify(former.folder, former.digest) == former
    assert list((settings.root / "staging").iterdir()) == []


def test_a_crash_between_ledger_and_registry_is_healed(two_days_copy: CopyShop) -> None:
    """The ledger has the decision, the registry does not; the next call brings it there."""
    settings = two_days_copy()
    digest, former = add_candidate(settings).digest, read_ledger(settings.root)[-1]
    written = Entry(
        at=now(), action="promote", who="ada", why="crash", ds=DAY_2, version="3",
        former=former.bundle, bundle=digest,
    )  # fmt: skip
    append(settings.root, written)
    assert stages(settings) == {"1": "Archived", "2": "Production", "3": "Staging"}
    assert promote_bundle(settings, Registered("3", DAY_2, digest), who="ada", why="") == written
    assert stages(settings) == {"1": "Archived", "2": "Archived", "3": "Production"}
    assert aliases(settings) == {"champion": "3", "previous": "2"}
    assert len(history(settings)) == 3


def test_two_promotions_at_once_make_one_decision(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    digest = add_candidate(settings).digest

    candidate = registered(settings, DAY_2, digest)
    review_bundle(settings, candidate, "approve", who="ada", why="good")

    def decide(who: str) -> Entry:
        return promote_bundle(settings, candidate, who=who, why="at once")

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(decide, ("ada", "bob"))
    assert first == second == read_ledger(settings.root)[-1]
    assert history(settings)[2:] == [("promote", "3", "2")]
    assert aliases(settings) == {"champion": "3", "previous": "2"}


@pytest.mark.slow
def test_two_processes_that_release_at_once(two_days_copy: CopyShop) -> None:
    """A review and a rollback: in whichever order, both hold at the end."""
    settings = two_days_copy()
    candidate = add_candidate(settings)
    processes = [
        start_lookalike(settings, *arguments)
        for arguments in (
            ("rollback", "--why", "odd"),
            ("review", candidate.version, "--approve", "--why", "good"),
        )
    ]
    assert [finish(process).returncode for process in processes] == [0, 0]
    made = read_ledger(settings.root)[4:]
    assert sorted((entry.action, entry.version, entry.why) for entry in made) == [
        ("approve", "3", "good"),
        ("rollback", "1", "odd"),
    ]
    assert stages(settings) == {"1": "Production", "2": "Archived", "3": "Staging"}
    assert aliases(settings)["champion"] == "1"


DECISIONS: list[tuple[list[str], list[str]]] = [
    (["p1"], ["1"]),
    (["p1", "p2"], ["1", "2"]),
    (["p1", "p2", "r1"], ["1"]),
    (["p1", "p2", "p3", "r2"], ["1", "2"]),
    (["p1", "p2", "p3", "r1"], ["1"]),
    (["p1", "p2", "r1", "p3"], ["1", "3"]),
    (["p1", "p2", "r1", "r2"], ["1", "2"]),
    (["p1", "p2", "r1", "p2"], ["1", "2"]),
    (["p1", "p1"], ["1"]),
]


@pytest.mark.parametrize(("decisions", "stack"), DECISIONS)
def test_bundles_that_served_are_a_stack(decisions: list[str], stack: list[str]) -> None:
    entries: list[Any] = [
        Entry(
            at=now(), action="promote" if word[0] == "p" else "rollback", who="", why="",
            ds=DAY_1, version=word[1], former=None, bundle=f"bundle {word[1]}",
        )
        for word in decisions
    ]  # fmt: skip
    assert [entry.version for entry in served(entries)] == stack
