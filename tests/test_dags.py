"""The DAG as Airflow reads it, and a step's command as a task runs it."""

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
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
    from dags.steps import RETRY_POLICY, StepBadData, StepRefused, StepTemporary, run_command

DAY = "2026-11-20"
PARSE = """
import json, sys, time
import airflow.sdk
started = time.perf_counter()
from airflow.dag_processing.dagbag import DagBag
opened = time.perf_counter()
bag = DagBag("dags")
dag = bag.dags["daily_retrain"]
facts = {
    "errors": bag.import_errors,
    "dags": list(bag.dags),
    "seconds": time.perf_counter() - opened,
    "schedule": dag.schedule,
    "catchup": dag.catchup,
    "max_active_runs": dag.max_active_runs,
    "tasks": {
        task.task_id: {
            "after": sorted(task.upstream_task_ids),
            "retries": task.retries,
            "minutes": task.execution_timeout.total_seconds() / 60,
            "pool": task.pool,
            "rule": task.trigger_rule,
        }
        for task in dag.tasks
    },
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
    assert parsed["dags"] == ["daily_retrain"]
    assert parsed["seconds"] < 1
    assert HEAVY & set(parsed["modules"]) == set()


def test_the_dag_runs_the_steps_in_a_row(parsed: dict[str, Any]) -> None:
    def task(name: str, minutes: float, **given: Any) -> dict[str, Any]:
        former = STEPS[: STEPS.index(name)]
        usual = {"pool": "default_pool", "rule": "all_success", "retries": 2}
        return {"after": list(former[-1:]), "minutes": minutes, **usual, **given}

    assert (parsed["schedule"], parsed["catchup"], parsed["max_active_runs"]) == (
        "0 2 * * *",
        False,
        1,
    )
    assert list(parsed["tasks"]) == list(STEPS)
    assert parsed["tasks"] == {
        "ingest": task("ingest", 120),
        "preprocess": task("preprocess", 360),
        "train": task("train", 720, pool="gpu"),
        "embed": task("embed", 360, rule="none_failed"),
        "localise": task("localise", 120, pool="gpu"),
        "reduce": task("reduce", 30),
        "index": task("index", 120),
        "gate": task("gate", 60),
        "bundle": task("bundle", 30),
        "bless": task("bless", 30),
        "evidence": task("evidence", 60),
        "register": task("register", 60),
        "promote": task("promote", 30),
        "prune": task("prune", 30),
        "collect": task("collect", 30),
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
