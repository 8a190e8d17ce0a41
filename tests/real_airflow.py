"""The real `airflow` for a shop: its own home below the root, settings by file.

    airflow = Airflow.of(root, RECIPE)
    done = airflow("dags", "test", "daily_retrain", "2026-11-19")
    airflow.tasks()  # {"ingest": ("success", 1), ...} of the last run: state and number of tries

The logs of its tasks are its standard output.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from pipelines.airflow import airflow_environment
from pipelines.server_process import free_port
from pipelines.settings import Settings
from pipelines.step import STEPS

BIN = Path(sys.executable).parent
DAG = "daily_retrain"
OF_THE_LAST_RUN = """
    SELECT task_id, state, try_number FROM task_instance
    WHERE run_id = (SELECT run_id FROM dag_run ORDER BY id DESC LIMIT 1)
"""


@dataclass(frozen=True)
class Airflow:
    """Commands in one environment, which other processes of the test may share."""

    environment: dict[str, str]

    @classmethod
    def of(cls, root: Path, toml: str) -> "Airflow":
        """With `toml` as the settings file of every step."""
        config = root / "lookalike.toml"
        config.write_text(toml)
        environment = airflow_environment(Settings(root=root)) | {
            "AIRFLOW_HOME": str(root / "airflow"),
            "LOOKALIKE_CONFIG": str(config),
            "PATH": f"{BIN}:{os.environ['PATH']}",
        }
        airflow = cls(environment)
        assert airflow("db", "migrate").returncode == 0
        return airflow

    def __call__(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(BIN / "airflow"), *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def tasks(self, names: Sequence[str] = STEPS) -> dict[str, tuple[str, int]]:
        """State and number of tries of these tasks of the last run, in this order."""
        with closing(sqlite3.connect(Path(self.environment["AIRFLOW_HOME"], "airflow.db"))) as db:
            rows = {task: (state, tries) for task, state, tries in db.execute(OF_THE_LAST_RUN)}
        return {name: rows[name] for name in names}


@contextmanager
def standalone(airflow: Airflow) -> Iterator[httpx.Client]:
    """`airflow standalone` on a free port, and a client of its API."""
    port = free_port()
    environment = {
        **airflow.environment,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    }
    assert airflow("pools", "set", "gpu", "1", "one training at a time").returncode == 0
    with Path(environment["AIRFLOW_HOME"], "standalone.log").open("w") as log:
        process = subprocess.Popen(
            [str(BIN / "airflow"), "standalone"],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait(lambda: answers(f"{url}/api/v2/version"), seconds=300)
        token = httpx.get(f"{url}/auth/token").json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"{url}/api/v2", headers=headers, timeout=30) as client:
            yield client
    finally:
        process.send_signal(signal.SIGINT)  # on SIGTERM it leaves its children behind
        process.wait(60)


def answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


def wait(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(1)
