"""The command `lookalike`: its texts and its exit codes."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import CopyShop
from tiny_feed import photo
from tiny_shop import DAY_1, DAY_2, environment, finish, start_lookalike
from typer.testing import CliRunner, Result

from pipelines.bundle import bundle_digest
from pipelines.cli import app
from pipelines.settings import Serve, Settings
from pipelines.step import Partition
from serving.ledger import read_ledger

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
    for name in ("import", "sample", "run", "status", "promote", "rollback", "explain", "serve"):
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
    assert replica.endswith(" serves nothing: is it running?")


def test_status_as_json(lookalike: Run, two_days: Settings) -> None:
    done = lookalike(two_days, "status", "--json")
    facts = json.loads(done.stdout)
    assert done.exit_code == 0
    assert set(facts) == {"root", "production", "bundles", "ledger", "replicas"}
    assert facts["production"]["bundle"] == bundle_digest(two_days, DAY_2)


def test_rollback_then_promote_by_hand(lookalike: Run, two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    first, second = (bundle_digest(settings, ds) for ds in (DAY_1, DAY_2))
    done = lookalike(settings, "rollback", "--why", "looks wrong")
    assert (done.exit_code, done.stdout) == (0, f"Production is version 1, bundle {first}.\n")
    again = lookalike(settings, "rollback")
    assert again.exit_code == 65
    assert again.stderr.startswith("BadInput: Nothing to roll back to. ")
    done = lookalike(settings, "promote", "--date", str(DAY_2))
    assert (done.exit_code, done.stdout) == (0, f"Production is version 2, bundle {second}.\n")
    entries = read_ledger(settings.root)[2:]
    assert [(e.action, e.version, e.why) for e in entries] == [
        ("rollback", "1", "looks wrong"),
        ("promote", "2", "promoted by hand"),
    ]
    older = lookalike(settings, "promote", "--ds", str(DAY_1))
    assert older.exit_code == 3
    assert older.stderr.startswith(f"Refused: The bundle of {DAY_1} is older than the champion")
    never = lookalike(settings, "rollback", "--to", "7")
    assert never.exit_code == 65
    assert never.stderr.startswith("BadInput: Version 7 has never served")
    assert lookalike(settings, "rollback", "--to", "1").exit_code == 0


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
