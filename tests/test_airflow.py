"""The real Airflow runs whole days of a small shop: by itself, and by its scheduler over HTTP."""

from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from real_airflow import DAG, Airflow, standalone, wait
from test_refresh import three_changes
from tiny_shop import DAY_1, DAY_2, copy_shop, draw_shop, import_day_2

from pipelines.registry import versions
from pipelines.settings import Settings
from pipelines.step import STEPS, Partition
from serving.ledger import champion, read_ledger

pytestmark = pytest.mark.slow

RECIPE = """
[preprocess]
pixel_spec = "decode|orient|resize(32)|pad"
[train]
width = 8
blocks = [1, 1]
epochs = 2
[reduce]
dimensions = {dimensions}
[gate]
min_recall = {min_recall}
"""
USUAL = RECIPE.format(dimensions=8, min_recall=0.5)
BLOCKED = RECIPE.format(dimensions=1, min_recall=1.0)
SECONDS_OF_A_RUN = 8 * 60
STEPS_OF_A_DAY = STEPS[: STEPS.index("register") + 1]
DAILY = ("look", *STEPS_OF_A_DAY)
SUCCESS = dict.fromkeys(DAILY, ("success", 1))
AFTER_GATE = DAILY[DAILY.index("gate") + 1 :]
RELEASED = {
    "review": ("success", 1),
    "ask": ("skipped", 1),
    "decide": ("skipped", 1),
    **dict.fromkeys(("promote", "prune", "collect"), ("success", 1)),
}


@pytest.fixture(scope="module")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A shop whose first day went through `airflow dags test`."""
    settings = draw_shop(tmp_path_factory.mktemp("airflow") / "root")
    airflow = Airflow.of(settings.root, USUAL)
    done = airflow("dags", "test", DAG, str(DAY_1))
    assert (done.returncode, airflow.tasks(DAILY)) == (0, SUCCESS), done.stdout[-3000:]
    done = airflow("dags", "test", "release", str(DAY_1))
    tasks = airflow.tasks([*RELEASED])
    assert (done.returncode, tasks) == (0, RELEASED), done.stdout[-3000:]
    return settings


@pytest.fixture
def second_day(first_day: Settings, tmp_path: Path) -> Settings:
    """A copy with the feed of the second day, and an Airflow that has seen no run."""
    settings = copy_shop(first_day, tmp_path / "root")
    import_day_2(settings)
    return settings


def test_a_first_day_ends_in_production(first_day: Settings) -> None:
    bundle = Partition(first_day, "bundle", DAY_1).done().details["bundle"]
    assert [(e.action, e.who, e.ds, e.bundle, e.former) for e in read_ledger(first_day.root)] == [
        (action, "policy", DAY_1, bundle, None) for action in ("approve", "promote")
    ]


def test_a_day_that_the_gate_refuses_stops_there_and_is_not_tried_again(
    second_day: Settings,
) -> None:
    before = champion(second_day.root)
    airflow = Airflow.of(second_day.root, BLOCKED)
    done = airflow("dags", "test", DAG, str(DAY_2))
    assert airflow.tasks(DAILY) == {
        **SUCCESS,
        "train": ("skipped", 1),
        "gate": ("failed", 1),
        **dict.fromkeys(AFTER_GATE, ("upstream_failed", 0)),
    }, done.stdout[-3000:]
    assert (
        "Refused: The gate refused the index of 2026-11-20: slice `all`: recall@10" in done.stdout
    )
    assert champion(second_day.root) == before
    assert not (second_day.root / "bundle" / f"ds={DAY_2}").exists()


def test_the_scheduler_runs_a_day_and_lets_no_two_overlap(second_day: Settings) -> None:
    """Unpaused, it also starts the run of today by itself; whichever is first does the work."""
    airflow = Airflow.of(second_day.root, USUAL)
    with standalone(airflow) as api:
        wait(lambda: api.get(f"/dags/{DAG}").is_success, seconds=120)
        assert trigger(api, "no date", ds="20 November").status_code == 400
        for run in ("first", "second"):
            assert trigger(api, run, ds=str(DAY_2)).status_code == 200
        api.patch(f"/dags/{DAG}", json={"is_paused": False}).raise_for_status()
        wait(lambda: {"first", "second"} <= ended(api).keys(), seconds=SECONDS_OF_A_RUN)
        runs = ended(api)
        states = {run: states_of(api, run) for run in ("first", "second")}
    assert (runs["first"]["state"], runs["second"]["state"]) == ("success", "success")
    times = sorted((moment(run["start_date"]), moment(run["end_date"])) for run in runs.values())
    assert all(before[1] <= after[0] for before, after in pairwise(times))
    did, looked = sorted(states.values(), key=lambda found: found["ingest"], reverse=True)
    assert did == {**SUCCESS, "train": ("skipped", 1)}
    # The second run of a day finds that it is done, and makes no other candidate.
    assert looked == {**dict.fromkeys(DAILY, ("skipped", 0)), "look": ("success", 1)}
    assert [version.tags["ds"] for version in versions(second_day)] == [str(DAY_2), str(DAY_1)]


def test_a_refresh_ends_in_its_first_task_until_something_changes(
    first_day: Settings, tmp_path: Path
) -> None:
    settings = copy_shop(first_day, tmp_path / "root")
    airflow = Airflow.of(settings.root, USUAL)
    former = Partition(settings, "bundle", DAY_1).done().details["bundle"]
    tasks = ("news", *STEPS_OF_A_DAY)
    quiet = airflow("dags", "test", "refresh")
    assert quiet.returncode == 0, quiet.stdout[-3000:]
    assert airflow.tasks(tasks) == {
        **dict.fromkeys(tasks, ("skipped", 0)), "news": ("success", 1)
    }  # fmt: skip
    three_changes(settings)
    done = airflow("dags", "test", "refresh")
    assert done.returncode == 0, done.stdout[-3000:]
    assert airflow.tasks(tasks) == {
        **dict.fromkeys(tasks, ("success", 1)), "train": ("skipped", 1)
    }  # fmt: skip
    candidate = Partition(settings, "register", DAY_1).done().details
    assert candidate["bundle"] != former
    assert (candidate["version"], candidate["stage"]) == ("2", "Staging")


def trigger(api: httpx.Client, run: str, *, ds: str) -> httpx.Response:
    body = {"dag_run_id": run, "logical_date": None, "conf": {"ds": ds}}
    return api.post(f"/dags/{DAG}/dagRuns", json=body)


def states_of(api: httpx.Client, run: str) -> dict[str, tuple[str, int]]:
    tasks = api.get(f"/dags/{DAG}/dagRuns/{run}/taskInstances").json()["task_instances"]
    return {task["task_id"]: (task["state"], task["try_number"]) for task in tasks}


def ended(api: httpx.Client) -> dict[str, dict[str, Any]]:
    """The runs that are over, by name."""
    runs = api.get(f"/dags/{DAG}/dagRuns").json()["dag_runs"]
    return {run["dag_run_id"]: run for run in runs if run["state"] in ("success", "failed")}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
