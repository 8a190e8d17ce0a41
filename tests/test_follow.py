"""What people do in the registry becomes a decision, once; what they may not do is put back."""

import json

import pytest
from conftest import CopyShop
from mlflow import MlflowClient
from released import add_candidate, approve, champion_version, damage, history, notes
from test_registry import aliases, stages
from tiny_shop import DAY_2, environment

from pipelines.follow import REFUSED, REVIEW, REVIEWED_BY, follow, main
from pipelines.registry import STAGE, list_versions, move_stage, note
from pipelines.release import promote_bundle, roll_back
from pipelines.settings import Registry, Review, Settings
from pipelines.stages import LEFT, sync
from pipelines.step import locked
from pipelines.waiting import ROLLOUT_LOCK, to_carry_on
from serving.ledger import read_ledger

pytestmark = pytest.mark.filterwarnings("ignore:.*[Ss]tage.*:FutureWarning")  # MLflow's, on stages


def said(settings: Settings) -> list[tuple[str, str, str, str]]:
    """What `follow` made of the registry."""
    return [(e.action, e.version, e.who, e.why) for e in follow(settings)]


def refusal(settings: Settings, version: str) -> str | None:
    (found,) = [each for each in list_versions(settings) if each.number == version]
    return found.tags.get(REFUSED)


def test_nobody_moved_anything(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    add_candidate(settings)
    before = stages(settings), aliases(settings)
    assert said(settings) == said(settings) == []
    assert (stages(settings), aliases(settings)) == before
    assert before[0] == {"1": "Archived", "2": "Production", "3": "Staging"}


def test_to_production_approves_and_whose_tags_it_has_said_it(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    candidate = add_candidate(settings)
    note(settings, "3", {REVIEWED_BY: "ada", REVIEW: "shoes look good"})
    move_stage(settings, "3", "Production")
    assert said(settings) == [("approve", "3", "ada", "shoes look good")]
    # It does not serve yet: it waits for its rollout, in Staging.
    assert (stages(settings), champion_version(settings)) == (
        {"1": "Archived", "2": "Production", "3": "Staging"}, "2",
    )  # fmt: skip
    assert notes(settings, "3") == ("approved", "ada", "shoes look good")
    assert said(settings) == []
    promote_bundle(settings, candidate, who="ada", why="shoes look good")
    assert said(settings) == []
    assert stages(settings) == {"1": "Archived", "2": "Archived", "3": "Production"}


def test_with_the_champion_archived_by_the_same_click(two_days_copy: CopyShop) -> None:
    """MLflow's page offers it: one decision, and shoppers keep what they have meanwhile."""
    settings = two_days_copy()
    add_candidate(settings)
    move_stage(settings, "3", "Production")
    move_stage(settings, "2", "Archived")
    assert said(settings) == [
        ("approve", "3", "somebody in MLflow", "moved from Staging to Production in MLflow")
    ]
    assert stages(settings) == {"1": "Archived", "2": "Production", "3": "Staging"}


def test_to_archived_rejects(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    add_candidate(settings)
    move_stage(settings, "3", "Archived")
    assert said(settings) == [
        ("reject", "3", "somebody in MLflow", "moved from Staging to Archived in MLflow")
    ]
    assert (stages(settings)["3"], aliases(settings)) == (
        "Archived", {"champion": "2", "previous": "1"},
    )  # fmt: skip
    move_stage(settings, "3", "Production")  # and somebody thinks otherwise
    assert [action for action, *_ in said(settings)] == ["approve"]


def test_a_version_that_served_back_to_production_is_a_rollback(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    move_stage(settings, "1", "Production")
    assert said(settings) == [
        ("rollback", "1", "somebody in MLflow", "moved from Archived to Production in MLflow")
    ]
    assert stages(settings) == {"1": "Production", "2": "Archived"}
    move_stage(settings, "2", "Production")
    assert [entry[:2] for entry in said(settings)] == [("rollback", "2")]
    assert history(settings)[2:] == [("rollback", "1", "2"), ("rollback", "2", "1")]


@pytest.mark.parametrize("stage", ["Archived", "Staging"])
def test_the_champion_out_of_production_is_a_rollback(two_days_copy: CopyShop, stage: str) -> None:
    settings = two_days_copy()
    move_stage(settings, "2", stage)
    assert [entry[:2] for entry in said(settings)] == [("rollback", "1")]
    assert stages(settings) == {"1": "Production", "2": "Archived"}


def test_a_first_champion_cannot_be_taken_away(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    move_stage(settings, "1", "Archived")
    assert said(settings) == []
    assert stages(settings) == {"1": "Production"}
    assert (refusal(settings, "1") or "").startswith("Nothing to roll back to.")


def test_only_those_who_are_named_decide_here_too(two_days_copy: CopyShop) -> None:
    settings = two_days_copy(review=Review(reviewers=("ada",)))
    add_candidate(settings)
    for version in ("3", "1"):
        move_stage(settings, version, "Production")
        assert said(settings) == []
        assert stages(settings) == {"1": "Archived", "2": "Production", "3": "Staging"}
        assert refusal(settings, version) == (
            "somebody in MLflow may not review. Expected one of review.reviewers: ada. "
            "Nothing was changed."
        )
    note(settings, "1", {REVIEWED_BY: "ada"})
    move_stage(settings, "1", "Production")
    assert [entry[:3] for entry in said(settings)] == [("rollback", "1", "ada")]


def test_a_damaged_bundle_is_not_approved(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    candidate = add_candidate(settings)
    damage(settings, candidate.digest)
    move_stage(settings, "3", "Production")
    assert said(settings) == []
    assert stages(settings)["3"] == "Staging"
    assert (refusal(settings, "3") or "").startswith("The file vectors.npy of bundle")


def test_a_registry_that_was_away_is_no_person(two_days_copy: CopyShop) -> None:
    """The ledger went on without it: its stages are old, and nobody moved them."""
    settings = two_days_copy()
    away = settings.model_copy(
        update={"registry": Registry(tracking_uri=f"sqlite:///{settings.root}/away/mlflow.db")}
    )
    roll_back(away, to=None, who="ada", why="looks wrong")
    assert stages(settings) == {"1": "Archived", "2": "Production"}
    assert said(settings) == []
    assert stages(settings) == {"1": "Production", "2": "Archived"}


def test_a_decision_whose_registry_was_not_reached_is_made_once(two_days_copy: CopyShop) -> None:
    """Killed between the ledger and the registry, it finds its own entry."""
    settings = two_days_copy()
    add_candidate(settings)
    left = (settings.root / LEFT).read_bytes()
    move_stage(settings, "3", "Production")
    assert len(said(settings)) == 1
    move_stage(settings, "3", "Production")
    (settings.root / LEFT).write_bytes(left)
    assert [entry[0] for entry in said(settings)] == ["approve"]
    assert sum(entry.version == "3" for entry in read_ledger(settings.root)) == 1


def test_without_its_memory_nothing_served_is_touched(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    (settings.root / LEFT).unlink()
    assert said(settings) == []
    left = {"1": ["Archived"], "2": ["Production"]}
    assert json.loads((settings.root / LEFT).read_bytes()) == left


def test_what_a_killed_sync_left_is_no_person(two_days_copy: CopyShop) -> None:
    """It had begun to promote 3, and then the ledger was decided otherwise."""
    settings = two_days_copy()
    add_candidate(settings)
    killed = {"1": ["Archived"], "2": ["Production", "Archived"], "3": ["Staging", "Production"]}
    (settings.root / LEFT).write_text(json.dumps(killed))
    move_stage(settings, "3", "Production")
    move_stage(settings, "2", "Archived")
    assert said(settings) == []
    assert stages(settings) == {"1": "Archived", "2": "Production", "3": "Staging"}


def test_sync_may_be_repeated(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    before = stages(settings), aliases(settings), notes(settings, "2")
    for _ in range(2):
        sync(settings)
        assert (stages(settings), aliases(settings), notes(settings, "2")) == before


def test_the_command_says_which_day_waits(
    two_days_copy: CopyShop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = two_days_copy()
    add_candidate(settings)
    move_stage(settings, "3", "Production")
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    main()
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(entry["action"], entry["version"]) for entry in told["decided"]] == [("approve", "3")]
    assert told["waiting"] == str(DAY_2)


def test_nobody_waits_for_a_rollout_that_another_process_carries(two_days_copy: CopyShop) -> None:
    """It would take the place of a rollback."""
    settings = two_days_copy()
    candidate = add_candidate(settings)
    assert to_carry_on(settings) is None
    entry = approve(settings, candidate)
    with locked(settings.root / "locks" / ROLLOUT_LOCK):
        assert to_carry_on(settings) is None
    assert to_carry_on(settings) == entry


def test_an_mlflow_that_has_no_stages_any_more(
    two_days_copy: CopyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then a tag is the stage; that it is not there after the upgrade is nobody's decision."""
    settings = two_days_copy()
    monkeypatch.delattr(MlflowClient, "transition_model_version_stage")

    def shown() -> dict[str, str]:
        return {version.number: version.stage for version in list_versions(settings)}

    assert shown() == {"1": "None", "2": "None"}
    assert said(settings) == []
    assert shown() == {"1": "Archived", "2": "Production"}
    candidate = add_candidate(settings)
    assert shown() == {"1": "Archived", "2": "Production", "3": "Staging"}
    note(settings, "3", {STAGE: "Production", REVIEWED_BY: "ada"})
    moved = "moved from Staging to Production in MLflow"
    assert said(settings) == [("approve", "3", "ada", moved)]
    promote_bundle(settings, candidate, who="ada", why=moved)
    assert shown() == {"1": "Archived", "2": "Archived", "3": "Production"}
    note(settings, "2", {STAGE: "Production", REVIEWED_BY: "bob"})
    assert said(settings) == [
        ("rollback", "2", "bob", "moved from Archived to Production in MLflow")
    ]
    assert shown() == {"1": "Archived", "2": "Production", "3": "Archived"}
    assert aliases(settings) == {"champion": "2", "previous": "1"}
    assert stages(settings)["2"] == "Production"  # as MLflow had it, untouched since
    assert stages(settings)["3"] == "None"
