"""A day without Airflow: the same commands that the DAG runs, in the same order."""

import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import date

from model.errors import LookalikeError
from pipelines.refresh import News, read_news
from pipelines.settings import Settings
from pipelines.step import STEPS, Report, locked

LOCK = "day.lock"
REFRESHED = tuple(step for step in STEPS if step != "prune")
KEEP_CHAMPION = {"LOOKALIKE_TRAIN__KEEP": "champion"}


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
    with locked(settings.root / "locks" / LOCK):
        return _run(settings, ds, steps, {})


def run_refresh(settings: Settings) -> tuple[News, list[Report]]:
    """Fold what changed live into a new bundle; no reports where nothing did. Raises StepFailed.

    Waits for a day, or another refresh, that is being run without Airflow.
    """
    with locked(settings.root / "locks" / LOCK):
        news = read_news(settings)
        if news.ds is None or not news.changes:
            return news, []
        return news, _run(settings, news.ds, REFRESHED, KEEP_CHAMPION)


def _run(
    settings: Settings, ds: date, steps: tuple[str, ...], given: Mapping[str, str]
) -> list[Report]:
    environment = {**os.environ, "LOOKALIKE_ROOT": str(settings.root), **given}
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
