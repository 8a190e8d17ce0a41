"""The real `airflow` for a shop: its own home below the root, settings by file.

    airflow = Airflow.of(root, RECIPE)
    done = airflow("dags", "test", "daily_retrain", "2026-11-19")
    airflow.tasks()  # {"ingest": ("success", 1), ...} of the last run: state and number of tries

The logs of its tasks are its standard output.
"""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pipelines.airflow import airflow_environment
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

    def tasks(self) -> dict[str, tuple[str, int]]:
        """State and number of tries of each task of the last run, in the order of the steps."""
        with closing(sqlite3.connect(Path(self.environment["AIRFLOW_HOME"], "airflow.db"))) as db:
            rows = {task: (state, tries) for task, state, tries in db.execute(OF_THE_LAST_RUN)}
        return {step: rows[step] for step in STEPS}
