"""`make up`, of which parts are killed at twenty moments of a release that Airflow carries.

A scheduler, its worker, MLflow and a server end by SIGKILL, five times each. Each is started again,
and the release comes to its end by itself: the second day serves, and all agree. Shoppers ask the
other replica all the time, and every answer is right.
"""

import itertools
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from kills import Kill
from machine import Machine
from pydantic import SecretStr
from real_airflow import answers, wait
from released import items_of_both_days, shoppers
from test_registry import aliases, stages
from test_release_faults import check_agreement, day_before
from tiny_bundle import OPERATOR, OPERATOR_SECRET
from tiny_shop import DAY_1, DAY_2, copy_shop, environment

from pipelines.server_environment import server_environment
from pipelines.server_process import free_port, server_process
from pipelines.settings import Registry, Rollout, Serve, Settings
from serving.ledger import champion

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*[Ss]tage.*:FutureWarning"),  # MLflow's, on stages
]

DAGS = ("release", "follow_registry")
VICTIMS = {  # the words of a command line
    "scheduler": "airflow scheduler",
    "worker": "airflow worker -- LocalExecutor: 0",  # one that has a task
    "mlflow": "mlflow server",
    "server": "circusd",
}
MINUTES = 60.0
PATIENCE = {  # of Airflow with tasks and schedulers that say nothing any more, in seconds
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
}
ROLLOUT = {  # of a busy machine, whose times say nothing
    "shadow_seconds": 4, "canary_seconds": 4, "shadow_share": 1, "canary_share": 0.5,
    "max_slowdown": 1000,
}  # fmt: skip


def moments(seed: int, each: int = 5) -> list[Kill]:
    rng = random.Random(seed)
    return [
        Kill(victim, (number + rng.random()) / each) for number in range(each) for victim in VICTIMS
    ]


@dataclass(frozen=True)
class Night:
    """A shop under `make up`, with a second replica that nobody kills."""

    settings: Settings
    machine: Machine
    api: httpx.Client
    numbers: Iterator[int]
    seconds: float = 0.0  # of a release

    def begin(self) -> str:
        """The second day waits for its review; returns the name of the run that carries it."""
        wait(self.is_paused_and_idle, seconds=5 * MINUTES)
        day_before(self.settings)
        check_agreement(self.settings)
        name = f"night-{next(self.numbers)}"
        body = {"dag_run_id": name, "logical_date": None, "conf": {"ds": str(DAY_2)}}
        self.api.post("/dags/release/dagRuns", json=body).raise_for_status()
        for dag in DAGS:
            self.pause(dag, False)
        return name

    def is_paused_and_idle(self) -> bool:
        """A run that began before the pause would wait for its end."""
        for paused in (True, False):
            for dag in DAGS:
                self.pause(dag, paused)
            if paused and not any(self.running(dag) for dag in DAGS):
                return True
        return False

    def is_over(self, name: str) -> bool:
        """Whatever became of the run: the second day serves, and no task is left to be done."""
        serving = champion(self.settings.root)
        return (
            serving is not None
            and serving.ds == DAY_2
            and self.state(name) in ("success", "failed")
        )

    def state(self, name: str) -> str:
        try:
            return str(self.api.get(f"/dags/release/dagRuns/{name}").json()["state"])
        except httpx.TransportError:  # it is being started again
            return "unknown"

    def pause(self, dag: str, paused: bool) -> None:
        self.api.patch(f"/dags/{dag}", json={"is_paused": paused}).raise_for_status()

    def running(self, dag: str) -> int:
        found = self.api.get(f"/dags/{dag}/dagRuns", params={"state": ["queued", "running"]})
        return int(found.json()["total_entries"])

    def kill(self, victim: str) -> psutil.Process:
        """As soon as it is there: a worker without a task is none."""
        deadline = time.monotonic() + MINUTES
        while not (found := self.find(VICTIMS[victim])):
            assert time.monotonic() < deadline, f"no {victim}"
            time.sleep(0.05)
        found[0].kill()
        return found[0]

    def is_there_again(self, victim: str, killed: psutil.Process) -> bool:
        """Another of its kind; a worker comes with the next task."""
        others = [process for process in self.find(VICTIMS[victim]) if process != killed]
        return not killed.is_running() and (bool(others) or victim == "worker")

    def find(self, words: str) -> list[psutil.Process]:
        return [
            process
            for process in self.machine.processes()
            if words in command_line(process) and "pipelines.contained" not in command_line(process)
        ]


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@contextmanager
def running(machine: Machine) -> Iterator[httpx.Client]:
    done = machine("up")
    try:
        assert done.returncode == 0, done.stderr
        url = machine.urls["Airflow"]
        token = httpx.get(f"{url}/auth/token").json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"{url}/api/v2", headers=headers, timeout=30) as api:
            yield api
    finally:
        machine("down")


@pytest.fixture(scope="module")
def night(two_days: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    root = tmp_path_factory.mktemp("night") / "root"
    copied = copy_shop(two_days, root)
    machine, port = Machine(root), free_port()
    urls = (machine.urls["search"], f"http://127.0.0.1:{port}")
    settings = copied.model_copy(
        update={
            "serve": Serve(
                operator_keys=SecretStr(f"{OPERATOR}:{OPERATOR_SECRET}"),
                port=machine.ports["search"],
            ),
            "rollout": Rollout(min_queries=5, replicas=urls, **ROLLOUT),
            "registry": Registry(tracking_uri=machine.urls["MLflow"]),
        }
    )
    machine.environment |= environment(settings) | PATIENCE
    with ExitStack() as stack:
        stack.enter_context(
            server_process(
                server_environment(settings), "127.0.0.1", port, root / "replica.log", seconds=60
            )
        )
        api = stack.enter_context(running(machine))
        for dag in DAGS:
            wait(lambda dag=dag: api.get(f"/dags/{dag}").is_success, seconds=2 * MINUTES)  # type: ignore[misc]
        undisturbed = Night(settings, machine, api, itertools.count())
        name = undisturbed.begin()
        started = time.monotonic()
        wait(lambda: undisturbed.is_over(name), seconds=10 * MINUTES)
        seconds = time.monotonic() - started
        assert undisturbed.state(name) == "success"
        yield Night(settings, machine, api, undisturbed.numbers, seconds)


@pytest.mark.parametrize("kill", moments(20261123), ids=str)
def test_a_part_is_killed_and_the_release_comes_to_its_end(night: Night, kill: Kill) -> None:
    name = night.begin()
    assert day_that_serves(night.settings.root) == DAY_1
    other = night.settings.rollout.replicas[1]
    with shoppers([other], items_of_both_days(night.settings)[:2]) as answered:
        time.sleep(kill.share * night.seconds)
        killed = night.kill(kill.name)
        wait(lambda: night.is_there_again(kill.name, killed), seconds=MINUTES)
        wait(lambda: night.is_over(name), seconds=5 * MINUTES)
        for path in ("search", "MLflow", "Airflow"):
            wait(lambda path=path: answers(night.machine.urls[path]), seconds=MINUTES)  # type: ignore[misc]
        wait(lambda: agree(night.settings), seconds=2 * MINUTES)
        check_agreement(night.settings)
    assert {answer.status_code for answer in answered} == {200}


def agree(settings: Settings) -> bool:
    """Where MLflow was away, who follows the registry puts it in step within a minute."""
    serving, found = champion(settings.root), stages(settings)
    production = [version for version, stage in found.items() if stage == "Production"]
    return (
        serving is not None
        and production == [serving.version]
        and aliases(settings)["champion"] == serving.version
    )


def day_that_serves(root: Path) -> object:
    entry = champion(root)
    return entry and entry.ds
