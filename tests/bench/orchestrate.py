"""What Airflow itself costs: a task's own time, the wait for the next, and a day without changes.

    make demo && make bench NAME=orchestrate

Two real schedulers, with the settings of `make up` and with those that Airflow comes with, run the
DAG `daily_retrain` in turn, ROUNDS times each. Their commands are stand-ins that write down when
they began and ended, so that what is left of a task is Airflow's. Then our scheduler runs a day of
the demo's shop, in a copy, that was done before: its first task looks, and the others are skipped;
this counts from the trigger to the end of the run. A full day is what the steps of the first day
took, as their reports say. Cost: 4 minutes.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from pipelines.airflow import BRISK, airflow_environment
from pipelines.look import ASKED
from pipelines.settings import Settings, load_settings
from pipelines.step import Partition, days_of
from tests.bench.figures import Row, median, quick, write
from tests.real_airflow import BIN, DAG, Airflow, standalone, wait
from tests.tiny_shop import copy_shop

ROOT = Path(os.environ.get("SHOP", "build/demo"))
TASKS = ("look", *ASKED)
ROUNDS = 5
OURS, STOCK = "make up", "airflow standalone"
OWN_SECONDS, NO_CHANGE_SHARE = 0.5, 0.02  # wanted: of a task, of a full day
PATIENCE = 300
TRIES = 3
STAND_IN = """#!/bin/bash
begun=$EPOCHREALTIME
echo '{{"step": "stand-in", "first": "ingest", "details": {{}}}}'
echo "$2 $begun $EPOCHREALTIME" >> "{times}"
"""


@dataclass(frozen=True)
class Costs:
    """Seconds of one run, without those of the commands."""

    inside: float  # median over the tasks: from a task's begin to its end
    between: float  # median: from the end of a task to the begin of the next
    whole: float  # from the begin of the first task to the end of the last


@dataclass(frozen=True)
class Scheduler:
    """A running one, whose commands are those of `python`."""

    api: httpx.Client
    python: Path
    times: Path

    def stand_in(self) -> None:
        self.python.write_text(STAND_IN.format(times=self.times))
        self.python.chmod(0o755)

    def real(self) -> None:
        self.python.write_text(f'#!/bin/bash\nexec "{sys.executable}" "$@"\n')

    def run(self, name: str, ds: date) -> list[dict[str, Any]]:
        """The tasks that a run did, in the order of their begin. Raises SystemExit if it fails."""
        body = {"dag_run_id": name, "logical_date": None, "conf": {"ds": str(ds)}}
        self.api.post(f"/dags/{DAG}/dagRuns", json=body).raise_for_status()
        self.api.patch(f"/dags/{DAG}", json={"is_paused": False}).raise_for_status()
        wait(lambda: self._state(name) in ("success", "failed"), seconds=PATIENCE)
        if self._state(name) != "success":
            raise SystemExit(f"The run {name} failed. Look at it with `airflow standalone`.")
        found = self.api.get(f"/dags/{DAG}/dagRuns/{name}/taskInstances").json()["task_instances"]
        done = [task for task in found if task["state"] == "success"]
        return sorted(done, key=lambda task: str(task["start_date"]))

    def costs(self, name: str, ds: date) -> Costs:
        tasks = self.run(name, ds)
        lines = [line.split() for line in self.times.read_text().splitlines()]
        first, last = (_moment(tasks[0]["start_date"]), _moment(tasks[-1]["end_date"]))
        commands = {step.removeprefix("pipelines."): float(end) - float(begun)
                    for step, begun, end in lines if first <= float(begun) <= last}  # fmt: skip
        inside = [_seconds(task["start_date"], task["end_date"]) - commands[task["task_id"]]
                  for task in tasks]  # fmt: skip
        between = [_seconds(one["end_date"], other["start_date"]) for one, other in pairwise(tasks)]
        return Costs(median(inside), median(between), whole(tasks))

    def seconds(self, name: str) -> float:
        """From its trigger to its end."""
        run = self.api.get(f"/dags/{DAG}/dagRuns/{name}").json()
        return _seconds(run["queued_at"], run["end_date"])

    def _state(self, name: str) -> str:
        return str(self.api.get(f"/dags/{DAG}/dagRuns/{name}").json()["state"])


def main() -> None:
    if not days_of(load_settings(root=ROOT), "prune"):
        raise SystemExit(f"No whole day below {ROOT}. Run `make demo` first, or set SHOP.")
    with TemporaryDirectory(dir=ROOT.parent) as folder, ExitStack() as running:
        settings = copy_shop(load_settings(root=ROOT), Path(folder).resolve() / "shop")
        first, ds = days_of(settings, "prune")[0], days_of(settings, "prune")[-1]
        with ThreadPoolExecutor() as pool:  # both start at once
            started = pool.map(
                lambda name: running.enter_context(
                    scheduler(settings, Path(folder).resolve() / name.split()[0], name)
                ),
                (OURS, STOCK),
            )
            schedulers = dict(zip((OURS, STOCK), started, strict=True))
        found = in_turn(schedulers, ds, 1 if quick() else ROUNDS)
        schedulers[OURS].real()
        unchanged = [
            without_changes(schedulers[OURS], settings, ds, f"unchanged-{number}")
            for number in range(1 if quick() else 3)
        ]
        full = sum(_report_seconds(settings, first))
    conditions = {"steps": len(TASKS), "full day": str(first)}
    write("orchestrate", conditions, rows(found, median(unchanged), full))


def in_turn(schedulers: dict[str, Scheduler], ds: date, rounds: int) -> dict[str, dict[str, float]]:
    """Medians over the rounds."""
    costs: dict[str, list[Costs]] = {name: [] for name in schedulers}
    for number in range(rounds):
        for name, each in schedulers.items():
            costs[name].append(each.costs(f"round-{number}", ds))
    return {
        name: {field: median([getattr(one, field) for one in some])
               for field in ("inside", "between", "whole")}
        for name, some in costs.items()
    }  # fmt: skip


def without_changes(scheduler: Scheduler, settings: Settings, ds: date, name: str) -> float:
    """Seconds of a run in which no step did anything; the first may, after another version's."""
    for number in range(TRIES):
        run = f"{name}-{number}"
        if [task["task_id"] for task in scheduler.run(run, ds)] == ["look"]:
            return scheduler.seconds(run)
    raise SystemExit(f"The day {ds} of {ROOT} does not come to rest in {TRIES} runs.")


def rows(found: dict[str, dict[str, float]], unchanged: float, full: float) -> Sequence[Row]:
    ours, stock = found[OURS], found[STOCK]
    return [
        Row("Airflow's own time in a task", "s", ours["inside"], goal=OWN_SECONDS, at_most=True),
        Row("Airflow's own time in a task", "s", ours["inside"], STOCK, stock["inside"], 1.0, True),
        Row("from a task to the next", "s", ours["between"], STOCK, stock["between"], 1.0, True),
        Row(f"{len(TASKS)} tasks without work", "s", ours["whole"], STOCK, stock["whole"], 1.0,
            True),
        Row("a day without changes", "s", unchanged, "a full day", full, NO_CHANGE_SHARE, True),
    ]  # fmt: skip


@contextmanager
def scheduler(settings: Settings, home: Path, name: str) -> Iterator[Scheduler]:
    """Its own database and log; the shop is the same."""
    home.mkdir()
    python, config = home / "python", home / "lookalike.toml"
    config.touch()
    environment = airflow_environment(settings) | {
        "AIRFLOW_HOME": str(home.resolve()),
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",  # or each would begin with today
        "LOOKALIKE_CONFIG": str(config.resolve()),
        "LOOKALIKE_TRAIN_PYTHON": str(python.resolve()),
        "LOOKALIKE_SERVE_PYTHON": str(python.resolve()),
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    if name == STOCK:
        environment = {key: value for key, value in environment.items() if key not in BRISK}
    airflow = Airflow(environment)
    if airflow("db", "migrate").returncode:
        raise SystemExit(f"`airflow db migrate` failed for {name}.")
    with standalone(airflow) as api:
        wait(lambda: api.get(f"/dags/{DAG}").is_success, seconds=PATIENCE)
        found = Scheduler(api, python, home / "times.txt")
        found.stand_in()
        yield found


def whole(tasks: Sequence[dict[str, Any]]) -> float:
    return _seconds(tasks[0]["start_date"], tasks[-1]["end_date"])


def _report_seconds(settings: Settings, ds: date) -> list[float]:
    reports = (Partition(settings, step, ds).report() for step in ASKED)
    return [report.seconds for report in reports if report]


def _seconds(begun: str, ended: str) -> float:
    return _moment(ended) - _moment(begun)


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    main()
