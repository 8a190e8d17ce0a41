"""The command `lookalike`: its texts and its exit codes."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import CopyShop
from released import add_candidate, approve, champion_version
from tiny_feed import photo
from tiny_shop import DAY_1, DAY_2, environment, finish, start_lookalike
from typer.testing import CliRunner, Result

from pipelines.bundle import bundle_digest
from pipelines.cli import app
from pipelines.release import current_user, try_beside
from pipelines.settings import Review, Serve, Settings
from pipelines.stages import sync
from pipelines.step import Partition
from serving.ledger import LEDGER, read_ledger

pytestmark = pytest.mark.filterwarnings("ignore:.*[Ss]tage.*:FutureWarning")  # MLflow's, on stages

Run = Callable[..., Result]


@pytest.fixture
def lookalike(monkeypatch: pytest.MonkeyPatch) -> Run:
    """`lookalike(settings, "status", "--json")` in this process."""

    def run(settings: Settings, *arguments: str) -> Result:
        with socket.socket() as probe:  # a port where nothing listens
            probe.bind(("127.0.0.1", 0))
            serve = Serve(port=probe.getsockname()[1])
        for name, value in environment(settings.model_copy(update={"serve": serve})).items():
            monkeypatch.setenv(name, value)
        return CliRunner().invoke(app, arguments)

    return run


def test_help_names_every_command(lookalike: Run, tmp_path: Path) -> None:
    done = lookalike(Settings(root=tmp_path), "--help")
    assert done.exit_code == 0
    for name in (
        "import", "sample", "run", "refresh", "status", "review", "promote", "rollback", "explain",
        "serve",
    ):  # fmt: skip
        assert f" {name} " in done.output


def test_status_as_text(lookalike: Run, two_days: Settings) -> None:
    done = lookalike(two_days, "status")
    first, second, replica = done.stdout.splitlines()
    recall = [Partition(two_days, "gate", ds).done().details["recall"] for ds in (DAY_1, DAY_2)]
    assert done.exit_code == 0
    assert first == (
        f"version   2  Production  {DAY_2}  bundle {bundle_digest(two_days, DAY_2)}"
        f"  recall@10 {recall[1]}"
    )
    assert second == (
        f"version   1  Archived    {DAY_1}  bundle {bundle_digest(two_days, DAY_1)}"
        f"  recall@10 {recall[0]}"
    )
    assert " tells nothing: no operator's key is known here; " in replica


def test_status_as_json(lookalike: Run, two_days: Settings) -> None:
    done = lookalike(two_days, "status", "--json")
    facts = json.loads(done.stdout)
    assert done.exit_code == 0
    assert set(facts) == {
        "root", "production", "bundles", "candidate", "waiting", "ledger", "replicas",
    }  # fmt: skip
    assert facts["production"]["bundle"] == bundle_digest(two_days, DAY_2)


def said(settings: Settings) -> list[tuple[str, str, str]]:
    """Decisions since the second day's promotion."""
    return [(e.action, e.version, e.why) for e in read_ledger(settings.root)[4:]]


def test_back_and_forward_by_hand(lookalike: Run, two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    first, second = (bundle_digest(settings, ds) for ds in (DAY_1, DAY_2))
    done = lookalike(settings, "rollback", "--why", "looks wrong")
    assert (done.exit_code, done.stdout) == (0, f"Production is version 1, bundle {first}.\n")
    again = lookalike(settings, "rollback")
    assert again.exit_code == 65
    assert again.stderr.startswith("BadInput: Nothing to roll back to. ")
    # What was taken away comes back by the same command, and by no review.
    done = lookalike(settings, "promote", "--date", str(DAY_2))
    assert done.exit_code == 3
    assert done.stderr.startswith("Refused: Version 2 has served, so there is nothing to review.")
    done = lookalike(settings, "rollback", "--to", "2")
    assert (done.exit_code, done.stdout) == (0, f"Production is version 2, bundle {second}.\n")
    done = lookalike(settings, "promote", "--date", str(DAY_2))
    assert (done.exit_code, done.stdout) == (0, f"Production is version 2, bundle {second}.\n")
    assert said(settings) == [
        ("rollback", "1", "looks wrong"),
        ("rollback", "2", "rolled back by hand"),
    ]
    never = lookalike(settings, "rollback", "--to", "7")
    assert never.exit_code == 65
    assert never.stderr.startswith("BadInput: Version 7 has never served")


def test_review_lists_what_waits_and_takes_a_yes_and_a_no(
    lookalike: Run, two_days_copy: CopyShop
) -> None:
    settings = two_days_copy()
    done = lookalike(settings, "review")
    assert (done.exit_code, done.stdout) == (0, "No candidate waits for a review.\n")
    candidate = add_candidate(settings)
    line = (
        f"version   3  {DAY_2}  bundle {candidate.digest}  "
        f"its evidence is in MLflow, with the version\n"
    )
    assert lookalike(settings, "review").stdout == line
    me = current_user()
    done = lookalike(settings, "review", "3", "--approve", "--why", "looks good")
    assert (done.exit_code, done.stdout) == (0, f"Version 3: approve by {me}, looks good.\n")
    assert lookalike(settings, "review").stdout == "No candidate waits for a review.\n"
    done = lookalike(settings, "review", "3", "--reject", "--why", "odd shoes")
    assert (done.exit_code, done.stdout) == (0, f"Version 3: reject by {me}, odd shoes.\n")
    assert said(settings) == [("approve", "3", "looks good"), ("reject", "3", "odd shoes")]
    assert champion_version(settings) == "2"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("3",), 2, "expected --approve or --reject beside the version"),
        (("3", "--approve"), 2, "expected --why: the ledger keeps the reason"),
        (("3", "--reject", "--why", " "), 2, "expected --why: the ledger keeps the reason"),
        (("9", "--approve", "--why", "so"), 65, "BadInput: The registry has no version 9."),
        (("2", "--reject", "--why", "so"), 3, "Refused: Version 2 has served, so there is nothing"),
        (
            ("1", "--approve", "--why", "so"),
            3,
            "Refused: Version 1 has served, so there is nothing",
        ),
    ],
)
def test_reviews_that_are_refused(
    lookalike: Run, two_days: Settings, arguments: tuple[str, ...], code: int, text: str
) -> None:
    before = (two_days.root / LEDGER).read_bytes()
    done = lookalike(two_days, "review", *arguments)
    assert done.exit_code == code
    assert text in done.stderr
    assert (two_days.root / LEDGER).read_bytes() == before


def test_only_those_who_are_named_review(lookalike: Run, two_days_copy: CopyShop) -> None:
    settings = two_days_copy(review=Review(reviewers=("ada", "bob")))
    add_candidate(settings)
    done = lookalike(settings, "review", "3", "--approve", "--why", "so")
    assert (done.exit_code, done.stderr) == (
        3,
        f"Refused: {current_user()} may not review. Expected one of review.reviewers: ada, bob. "
        f"Nothing was changed.\n",
    )
    assert said(settings) == []


@pytest.mark.parametrize("at_once", [True, False])
def test_promote_approves_and_serves(
    lookalike: Run, two_days_copy: CopyShop, at_once: bool
) -> None:
    settings = two_days_copy()
    ledger = settings.root / LEDGER
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:2]))  # day 1
    sync(settings)
    more = ["--at-once"] if at_once else []  # without a server there is nothing to try it on
    done = lookalike(settings, "promote", "--ds", str(DAY_2), "--why", "checked", *more)
    digest = bundle_digest(settings, DAY_2)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == f"Production is version 2, bundle {digest}."
    entries = read_ledger(settings.root)[2:]
    assert [(e.action, e.version, e.who, e.why) for e in entries] == [
        ("approve", "2", current_user(), "checked"),
        ("promote", "2", current_user(), "checked"),
    ]


def test_an_older_day_is_not_promoted(lookalike: Run, two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    candidate = add_candidate(settings, ds=DAY_1)
    done = lookalike(settings, "review", candidate.version, "--approve", "--why", "so")
    assert done.exit_code == 3
    assert done.stderr.startswith(f"Refused: The bundle of {DAY_1} is older than the champion")


def test_rollback_first_ends_a_canary(lookalike: Run, two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    candidate = add_candidate(settings)
    approve(settings, candidate)
    try_beside(settings, candidate, "canary", 0.1, why="a test")
    done = lookalike(settings, "status")
    assert "\nVersion 3 is in canary with 10.0% of the queries since " in done.stdout
    done = lookalike(settings, "rollback", "--why", "odd shoes")
    digests = [bundle_digest(settings, ds) for ds in (DAY_1, DAY_2)]
    assert (done.exit_code, done.stdout) == (
        0,
        f"Version 3 is out of its rollout.\nProduction is version 2, bundle {digests[1]}.\n",
    )
    done = lookalike(settings, "rollback")
    assert done.stdout == f"Production is version 1, bundle {digests[0]}.\n"
    assert [entry[:2] for entry in said(settings)] == [
        ("approve", "3"), ("canary", "3"), ("abort", "3"), ("rollback", "1"),
    ]  # fmt: skip


def test_a_refresh_with_nothing_to_fold(lookalike: Run, tmp_path: Path) -> None:
    done = lookalike(Settings(root=tmp_path), "refresh")
    assert (done.exit_code, done.stdout) == (0, "Nothing to do: nothing serves yet.\n")


def test_promote_before_there_is_a_bundle(lookalike: Run, tmp_path: Path) -> None:
    done = lookalike(Settings(root=tmp_path), "promote", "--ds", str(DAY_1))
    assert done.exit_code == 65
    assert done.stderr == (
        f"BadInput: Step `bundle` has no output for {DAY_1}. "
        f"Run it first: python -m pipelines.bundle --ds {DAY_1}\n"
    )


def test_import_a_tree_of_photos(lookalike: Run, tmp_path: Path) -> None:
    settings = Settings(root=tmp_path / "root")
    folder = tmp_path / "tree" / "Home" / "Lamps"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"lamp {number}.jpg").write_bytes(photo(number))
    done = lookalike(settings, "import", str(tmp_path / "tree"), "--date", str(DAY_1))
    assert done.exit_code == 0
    output = Partition(settings, "feed", DAY_1).output
    assert pq.read_table(output / "feed.parquet")["category"].to_pylist() == ["Home > Lamps"] * 3
    assert '"taken": 3' in done.stdout
    missing = lookalike(settings, "import", str(tmp_path / "none"), "--date", str(DAY_1))
    assert missing.exit_code == 65
    assert missing.stderr.startswith(f"BadInput: There is nothing at {tmp_path / 'none'}.")


def test_sample(lookalike: Run, tmp_path: Path) -> None:
    done = lookalike(Settings(root=tmp_path), "sample", str(tmp_path / "s"), "--items", "1")
    assert done.exit_code == 0
    assert pq.read_table(tmp_path / "s" / "day1.parquet").num_rows == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("run", "--ds", "2026-11-19", "--only", "ingest,fly"), "unknown steps ['fly']"),
        (("run", "--ds", "yesterday"), "yesterday"),
        (("run",), "--ds"),
        (("sample", "folder", "--items", "0"), "--items"),
        (("fly",), "fly"),
    ],
)
def test_wrong_usage(lookalike: Run, tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    done = lookalike(Settings(root=tmp_path), *arguments)
    assert done.exit_code == 2
    assert text in done.stderr.replace("\n", " ")
    assert list(tmp_path.iterdir()) == []


def test_bad_settings_are_an_error_of_one_line_each(
    lookalike: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(root=tmp_path)
    monkeypatch.setenv("LOOKALIKE_TRAIN__EPOCHS", "soon")
    for arguments in (("status",), ("serve",), ("run", "--ds", str(DAY_1), "--only", "ingest")):
        done = lookalike(settings, *arguments)
        assert (arguments, done.exit_code) == (arguments, 65)
        assert "train.epochs: Input should be a valid integer" in done.stderr


def test_a_step_that_fails_ends_the_run_with_its_code(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    process = start_lookalike(settings, "run", "--ds", str(DAY_1), "--only", "ingest,index")
    done = finish(process)
    assert done.returncode == 65
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"BadInput: There is no feed for {DAY_1}.")
    assert lines[-1] == (
        "Step `ingest` ended with exit code 65; its message is above. "
        "`lookalike status` says what serves."
    )
