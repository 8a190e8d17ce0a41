"""Airflow on SQLite below the root, with our DAGs and nothing else."""

import os
import sys
from pathlib import Path

from pipelines.settings import Settings

# What a task of Airflow's own imports; loaded once, and shared by every task that is forked.
PRELOADED = (
    "airflow.executors.local_executor",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.dag_processing.dagbag",
    "airflow.providers.standard.decorators.python",
    "airflow.providers.standard.decorators.short_circuit",
)
BRISK = {
    # Between two looks of an idle scheduler; the default of a second is paid between all tasks.
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
    "AIRFLOW__SCHEDULER__MP_START_METHOD": "forkserver",
    "AIRFLOW__CORE__MP_FORKSERVER_PRELOAD": ",".join(PRELOADED),
    # Who looks after the tasks of a scheduler that was killed; the default is five minutes.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "60",
    # Forks of the executor. One machine runs one step at a time; beside it a rollout that watches,
    # what follows the registry, and a rollback, which must not wait for them.
    "AIRFLOW__CORE__PARALLELISM": "4",
}


def airflow_environment(settings: Settings) -> dict[str, str]:
    """For every `airflow` command; what the caller's environment says already wins."""
    root = settings.root.resolve()
    return {
        "AIRFLOW_HOME": str(root / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parents[1] / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        **BRISK,
        **os.environ,
        "LOOKALIKE_ROOT": str(root),
    }


def program(name: str) -> str:
    """A command of this environment, whatever PATH says."""
    return str(Path(sys.executable).with_name(name))
