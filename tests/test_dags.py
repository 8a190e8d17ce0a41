"""The DAG as Airflow reads it, and a step's command as a task runs it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipelines.step import EXIT_CODES, STEPS

HERE = Path(__file__).parents[1]
with pytest.MonkeyPatch.context() as patch:
    patch.setenv("AIRFLOW_HOME", str(HERE / "build" / "airflow"))  # it makes a folder for logs
    from airflow.sdk import RetryAction
    from airflow.sdk.exceptions import AirflowSkipException

    from dags import steps
    from dags.daily_retrain import daily_retrain
    from dags.refresh import refresh
    from dags.steps import RETRY_POLICY, StepBadData, StepRefused, StepTemporary, run_command

DAY = "2026-11-20"
PARSE = """
import json, sys, time
import airflow.sdk
started = time.perf_counter()
from airflow.dag_processing.dagbag import DagBag
opened = time.perf_counter()
bag = DagBag("dags")
def facts_of(dag):
    return {
        "schedule": dag.schedule if isinstance(dag.schedule, str) else str(dag.timetable),
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "tasks": {
            task.task_id: {
                "after": sorted(task.upstream_task_ids),
                "retries": task.retries,
                "minutes": task.execution_timeout and task.execution_timeout.total_seconds() / 60,
                "pool": task.pool,
                "rule": task.trigger_rule,
                "outlets": [outlet.name for outlet in task.outlets],
            }
            for task in dag.tasks
        },
    }
facts = {
    "errors": bag.import_errors,
    "seconds": time.perf_counter() - opened,
    "dags": {name: facts_of(dag) for name, dag in bag.dags.items()},
    "modules": sorted(sys.modules),
}
sys.stdout.write("\\n" + json.dumps(facts))
"""
HEAVY = {"apache_beam", "mlflow", "pandas", "pyarrow", "scann", "tensorflow"}
KEPT = {"kept": True, "trained": "2026-11-19", "changed_share": 0.01}
# `python -m pipelines.<step>` of a package that takes this one's place.
STAND_INS = {
    "report": 'print("a line of the log"); print(\'{"step": "report", "rows": 3}\')',
    "refuse": 'import sys; print("the gate says no"); sys.exit(3)',
    "die": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "train": f"print('{json.dumps({'details': KEPT})}')",
    "hang": "import os, time; print(os.getpid(), flush=True); time.sleep(60)",
}


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process that reads the folder `dags` knows; its Airflow has nothing else."""
    home = tmp_path_factory.mktemp("airflow")
    done = subprocess.run(
        [sys.executable, "-c", PARSE],
        cwd=HERE,
        env={**os.environ, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
        capture_output=True,
        text=True,
        check=True,
    )
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `pipelines` whose steps end as STAND_INS say."""
    for name, code in STAND_INS.items():
        (tmp_path / "pipelines").mkdir(exist_ok=True)
        (tmp_path / "pipelines" / f"{name}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_dags_are_read_without_errors_and_without_the_heavy_libraries(
    parsed: dict[str, Any],
) -> None:
    assert parsed["errors"] == {}
    assert sorted(parsed["dags"]) == [
        "daily_retrain", "follow_registry", "refresh", "release", "rollback",
        "rollback_drill",
    ]  # fmt: skip
    assert parsed["seconds"] < 1
    assert HEAVY & set(parsed["modules"]) == set()


def task(after: Sequence[str], minutes: float | None, **given: Any) -> dict[str, Any]:
    usual = {"pool": "default_pool", "rule": "all_success", "retries": 2, "outlets": []}
    return {"after": sorted(after), "minutes": minutes, **usual, **given}


def test_the_dag_runs_the_steps_in_a_row(parsed: dict[str, Any]) -> None:
    daily = parsed["dags"]["daily_retrain"]
    expected = {
        "look": (30, {}),
        "ingest": (120, {}),
        "preprocess": (360, {}),
        "train": (720, {"pool": "gpu"}),
        "embed": (360, {"rule": "none_failed"}),
        "localise": (120, {"pool": "gpu"}),
        "reduce": (30, {}),
        "index": (120, {}),
        "gate": (60, {}),
        "bundle": (30, {}),
        "bless": (30, {}),
        "evidence": (60, {}),
        "register": (60, {"outlets": ["lookalike_candidate"]}),
    }
    assert (daily["schedule"], daily["catchup"], daily["max_active_runs"]) == (
        "0 2 * * *",
        False,
        1,
    )
    release = list(parsed["dags"]["release"]["tasks"])
    assert list(daily["tasks"]) == list(expected)
    steps = [*expected, *(name for name in release if name not in ("ask", "decide"))]
    assert steps == ["look", *STEPS]
    assert daily["tasks"] == {
        name: task([former] if former else [], minutes, **given)
        for former, (name, (minutes, given)) in zip(["", *expected], expected.items(), strict=False)
    }


def test_a_release_begins_with_a_candidate_and_asks_a_person_in_between(
    parsed: dict[str, Any],
) -> None:
    release = parsed["dags"]["release"]
    assert "'lookalike_candidate'" in release["schedule"]
    assert (release["catchup"], release["max_active_runs"]) == (False, 2)
    assert release["tasks"] == {
        "review": task([], 30),
        # No answer in time fails it; a second try would ask again.
        "ask": task(["review"], None, retries=0),
        "decide": task(["ask"], 10, rule="all_done"),
        "promote": task(["decide"], 180, rule="none_failed"),
        "prune": task(["promote"], 30),
        "collect": task(["prune"], 30),
    }


def test_what_people_move_in_the_registry_is_followed_every_minute(parsed: dict[str, Any]) -> None:
    follow = parsed["dags"]["follow_registry"]
    assert (follow["schedule"], follow["catchup"], follow["max_active_runs"]) == (
        "* * * * *", False, 1,
    )  # fmt: skip
    assert follow["tasks"] == {
        "follow": task([], 5, retries=0),
        "promote": task(["follow"], 180),
    }


def test_a_rollback_is_never_tried_twice(parsed: dict[str, Any]) -> None:
    """The second try would go back one further."""
    assert parsed["dags"]["rollback"]["tasks"] == {"roll_back": task([], 30, retries=0)}


def test_the_drill_is_weekly_and_alone(parsed: dict[str, Any]) -> None:
    drill = parsed["dags"]["rollback_drill"]
    assert (drill["schedule"], drill["catchup"], drill["max_active_runs"]) == (
        "0 9 * * 1", False, 1,
    )  # fmt: skip
    assert drill["tasks"] == {"drill": task([], 60)}


def test_a_refresh_asks_first_and_never_trains(parsed: dict[str, Any]) -> None:
    """Every step is told its day by the first task; the last one says that there is a candidate."""
    refresh = parsed["dags"]["refresh"]
    steps = STEPS[: STEPS.index("register") + 1]
    assert (refresh["catchup"], refresh["max_active_runs"]) == (False, 1)
    for part in ("AssetOrTimeSchedule", "'lookalike_catalogue'", "*/15 * * * *"):
        assert part in refresh["schedule"]
    assert list(refresh["tasks"]) == ["news", *steps]
    assert {name: facts["after"] for name, facts in refresh["tasks"].items()} == {
        "news": [],
        **{name: sorted({"news", former}) for former, name in pairwise(["news", *steps])},
    }
    assert {name for name, facts in refresh["tasks"].items() if facts["outlets"]} == {"register"}
    assert refresh["tasks"]["register"]["outlets"] == ["lookalike_candidate"]
    assert refresh["tasks"]["embed"]["rule"] == "none_failed"
    assert {facts["pool"] for facts in refresh["tasks"].values()} == {"default_pool"}


@pytest.mark.parametrize("first", ["gate", None])
def test_a_day_that_is_done_ends_with_the_look(stand_ins: Path, first: str | None) -> None:
    told = {"ds": DAY, "first": first}
    (stand_ins / "pipelines" / "look.py").write_text(
        f"import sys; assert sys.argv[1:] == ['--ds', '{DAY}']; print({json.dumps(told)!r})"
    )
    look = daily_retrain().get_task("look").python_callable
    assert look(ds=DAY, params={}) == (told if first else None)


@dataclass
class Instance:
    """What a task asks of Airflow about another DAG."""

    running: int

    def get_dr_count(self, dag_id: str, states: Sequence[str]) -> int:
        assert (dag_id, list(states)) == ("daily_retrain", ["running"])
        return self.running


@pytest.mark.parametrize(
    ("running", "answer", "found"),
    [
        (0, {"ds": DAY, "changes": 2}, {"ds": DAY, "changes": 2}),
        (0, {"ds": DAY, "changes": 0, "why": "quiet"}, None),
        (1, {"ds": DAY, "changes": 2}, None),
    ],
)
def test_a_refresh_is_skipped_without_news_and_beside_a_training(
    stand_ins: Path, running: int, answer: dict[str, Any], found: dict[str, Any] | None
) -> None:
    (stand_ins / "pipelines" / "refresh.py").write_text(
        f"import sys; assert not sys.argv[1:]; print({json.dumps(answer)!r})"
    )
    news = refresh().get_task("news").python_callable
    assert news(ti=Instance(running)) == found


def test_the_commands_of_a_refresh_keep_the_champion(stand_ins: Path) -> None:
    (stand_ins / "pipelines" / "embed.py").write_text(
        "import json, os, sys; print(json.dumps({'details': "
        "{'given': sys.argv[1:], 'keep': os.environ['LOOKALIKE_TRAIN__KEEP']}}))"
    )
    embed = refresh().get_task("embed").python_callable
    assert embed(given={"ds": "2026-11-19", "changes": 1}, ds=DAY) == {
        "details": {"given": ["--ds", "2026-11-19"], "keep": "champion"}
    }


def test_exit_codes_are_those_of_the_steps() -> None:
    assert list(EXIT_CODES.values()) == [steps.REFUSED, steps.BAD_DATA, steps.TEMPORARY]


def test_only_what_may_pass_is_tried_again() -> None:
    decisions = [
        RETRY_POLICY.evaluate(error, try_number=1, max_tries=3)
        for error in (StepRefused("no"), StepBadData("bad"), StepTemporary("full"))
    ]
    assert [(decision.action, decision.retry_delay) for decision in decisions] == [
        (RetryAction.FAIL, None),
        (RetryAction.FAIL, None),
        (RetryAction.RETRY, timedelta(seconds=30)),
    ]


def test_a_command_gives_the_report_of_its_last_line(
    stand_ins: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command("report", DAY, "train") == {"step": "report", "rows": 3}
    assert "a line of the log\n" in capfd.readouterr().out


def test_a_refusal_carries_its_reason(stand_ins: Path) -> None:
    with pytest.raises(StepRefused, match=r"(?s)^refuse ended with exit code 3.*gate says no$"):
        run_command("refuse", DAY, "serve")


def test_a_command_that_the_kernel_killed_is_tried_again(stand_ins: Path) -> None:
    with pytest.raises(StepTemporary, match=r"^die ended with exit code -9\."):
        run_command("die", DAY, "train")


def test_a_timeout_ends_the_command(stand_ins: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Airflow raises in the main thread on SIGALRM, as here."""

    def out_of_time(number: int, frame: object) -> None:
        raise TimeoutError

    former = signal.signal(signal.SIGALRM, out_of_time)
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        with pytest.raises(TimeoutError):
            run_command("hang", DAY, "train")
    finally:
        signal.signal(signal.SIGALRM, former)
    child = int(capfd.readouterr().out)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_each_environment_has_its_interpreter(
    stand_ins: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "python"
    other.write_text('#!/bin/sh\necho "{\\"arguments\\": \\"$*\\"}"\n')
    other.chmod(0o755)
    monkeypatch.setenv("LOOKALIKE_SERVE_PYTHON", str(other))
    assert run_command("report", DAY, "train") == {"step": "report", "rows": 3}
    assert run_command("report", DAY, "serve") == {"arguments": f"-m pipelines.report --ds {DAY}"}


def test_a_kept_embedder_shows_as_skipped(stand_ins: Path) -> None:
    train = daily_retrain().get_task("train").python_callable
    with pytest.raises(
        AirflowSkipException, match=r"^Kept the embedder of 2026-11-19: 1\.0% of its photos changed"
    ):
        train(ds=DAY)


@pytest.mark.parametrize("params", [None, {}, {"ds": None}])
def test_a_run_without_a_date_is_bad_data(params: dict[str, Any] | None) -> None:
    ingest = daily_retrain().get_task("ingest").python_callable
    with pytest.raises(StepBadData, match=r"^The run has no date\."):
        ingest(ds=None, params=params)


def test_a_parameter_names_another_day(stand_ins: Path) -> None:
    (stand_ins / "pipelines" / "ingest.py").write_text(
        "import json, sys; print(json.dumps({'details': {'given': sys.argv[1:]}}))"
    )
    ingest = daily_retrain().get_task("ingest").python_callable
    report = ingest(ds=DAY, params={"ds": "2026-11-19"})
    assert report == {"details": {"given": ["--ds", "2026-11-19"]}}


def test_a_day_without_a_feed_is_bad_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_ROOT", str(tmp_path))
    with pytest.raises(StepBadData, match=rf"There is no feed for {DAY}\."):
        run_command("ingest", DAY, "train")


def test_a_root_that_cannot_be_written_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "a file"
    root.touch()
    monkeypatch.setenv("LOOKALIKE_ROOT", str(root))
    monkeypatch.setenv("LOOKALIKE_INGEST__FEED", str(feed(tmp_path)))
    with pytest.raises(StepTemporary, match="NotADirectoryError"):
        run_command("ingest", DAY, "train")


def feed(folder: Path) -> Path:
    table = folder / "feed.csv"
    table.write_text("item_id,image,category\na,a.jpg,Home > Lamps\n")
    return table
