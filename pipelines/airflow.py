"""Airflow on SQLite below the root, with our DAGs and nothing else."""

import os
import sys
from pathlib import Path

from pipelines.settings import Settings


def airflow_environment(settings: Settings) -> dict[str, str]:
    """For every `airflow` command; what the caller's environment says already wins."""
    root = settings.root.resolve()
    return {
        "AIRFLOW_HOME": str(root / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parents[1] / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        **os.environ,
        "LOOKALIKE_ROOT": str(root),
    }


def program(name: str) -> str:
    """A command of this environment, whatever PATH says."""
    return str(Path(sys.executable).with_name(name))
