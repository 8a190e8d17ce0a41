"""A day without Airflow: the same commands that the DAG runs, in the same order."""

import os
import subprocess
import sys
from datetime import date

from model.errors import LookalikeError
from pipelines.settings import Settings
from pipelines.step import STEPS, Report


class StepFailed(LookalikeError):
    """A step ended with an exit code; its own message is above."""

    def __init__(self, step: str, code: int) -> None:
        super().__init__(
            f"Step `{step}` ended with exit code {code}; its message is above. "
            f"`lookalike status` says what serves."
        )
        self.code = code


def run_day(settings: Settings, ds: date, steps: tuple[str, ...] = STEPS) -> list[Report]:
    """Run the steps one after the other, each in its own process. Raises StepFailed."""
    environment = {**os.environ, "LOOKALIKE_ROOT": str(settings.root)}
    reports = []
    for step in steps:
        done = subprocess.run(
            [sys.executable, "-m", f"pipelines.{step}", "--ds", ds.isoformat()],
            env=environment,
            stdout=subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            raise StepFailed(step, done.returncode)
        reports.append(Report.model_validate_json(done.stdout.splitlines()[-1]))
    return reports
