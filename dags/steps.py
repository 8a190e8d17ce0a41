"""A pipeline step as an Airflow task: a command, its exit code, its report.

A DAG imports nothing heavy: each step runs in the interpreter of its own environment, named by
LOOKALIKE_TRAIN_PYTHON and LOOKALIKE_SERVE_PYTHON (default: this one).
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from airflow.sdk import Asset, ExceptionRetryPolicy, RetryAction, RetryRule, TriggerRule, task
from airflow.sdk.exceptions import AirflowSkipException

CANDIDATE = Asset("lookalike_candidate")  # a registered bundle; its events say of which day

# Exit codes of `python -m pipelines.<step>`.
REFUSED, BAD_DATA, TEMPORARY = 3, 65, 75
CRASHED = 1  # of Python itself, after a traceback


class StepRefused(Exception):
    """The gate or a release rule said no. Another try gives the same answer."""


class StepBadData(Exception):
    """Input that no retry repairs."""


class StepBroken(Exception):
    """A fault of the step itself, which every try repeats."""


class StepTemporary(Exception):
    """Disk or network: the same command may work in a minute."""


RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=[StepRefused, StepBadData, StepBroken],
            action=RetryAction.FAIL,
            reason="a refusal, bad data or a bug stays what it is",
        ),
        RetryRule(
            exception=StepTemporary,
            action=RetryAction.RETRY,
            retry_delay=timedelta(seconds=30),
            reason="disk or network",
        ),
    ]
)


def step(
    name: str,
    *,
    environment: str,
    timeout: timedelta,
    pool: str | None = None,
    trigger_rule: TriggerRule = TriggerRule.ALL_SUCCESS,
    of_day: Any = None,
    settings: Mapping[str, str] | None = None,
    outlets: Sequence[Asset] = (),
) -> Any:
    """The task of one step; its XCom is the step's report.

    `of_day`: what another task returned, whose `ds` is the day, not the run's own; `settings`:
    more of the command's environment.
    """

    def run(
        given: dict[str, Any] | None = None,
        ds: str | None = None,
        params: dict[str, Any] | None = None,
        triggering_asset_events: Any = None,
        outlet_events: Any = None,
    ) -> dict[str, Any]:
        day = day_of(ds, given or params, triggering_asset_events)
        report = run_command(name, day, environment, settings=settings)
        for asset in outlets:
            outlet_events[asset].extra = {"ds": day}
        if report["details"].get("kept") and name == "train":
            raise AirflowSkipException(
                f"Kept the embedder of {report['details']['trained']}: "
                f"{report['details']['changed_share']:.1%} of its photos changed."
            )
        return report

    options: dict[str, Any] = {"pool": pool} if pool else {}
    build: Callable[..., Any] = task(
        task_id=name,
        execution_timeout=timeout,
        retries=2,
        retry_delay=timedelta(minutes=1),
        retry_policy=RETRY_POLICY,
        trigger_rule=trigger_rule,
        outlets=list(outlets),
        **options,
    )
    return build(run)(given=of_day)


def day_of(ds: str | None, params: Mapping[str, Any] | None, events: Any) -> str:
    """By the parameter, else of the newest asset that started the run, else its logical date."""
    renewed = [event.extra.get("ds") for some in (events or {}).values() for event in some]
    day = (params or {}).get("ds") or max(filter(None, renewed), default=None) or ds
    if day is None:
        raise StepBadData(
            "The run has no date. Trigger it with a logical date, or with the parameter "
            '`ds`, such as {"ds": "2026-11-20"}.'
        )
    return date.fromisoformat(day).isoformat()


def run_command(
    name: str,
    day: str | None,
    environment: str,
    *more: str,
    settings: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run the step, its log on ours, and return its report. Raises by exit code.

    `more`: arguments after the day; `settings`: more of its environment.
    """
    python = os.environ.get(f"LOOKALIKE_{environment.upper()}_PYTHON", sys.executable)
    command = [python, "-m", f"pipelines.{name}", *(["--ds", day] if day else []), *more]
    lines = [""]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(settings or {})},
        text=True,
        bufsize=1,
    ) as process:
        try:
            for line in process.stdout or ():
                lines.append(line.rstrip())
                sys.stdout.write(line)
            code = process.wait()
        finally:
            process.kill()  # a task that times out takes its command with it
    if code == 0:
        return dict(json.loads(next(line for line in reversed(lines) if line.startswith("{"))))
    # What is left is disk or network (75), or a kill, as by a machine that ran out of memory.
    errors: dict[int, type[Exception]] = {
        REFUSED: StepRefused,
        BAD_DATA: StepBadData,
        CRASHED: StepBroken,
    }
    message = "\n".join(lines[-5:])
    raise errors.get(code, StepTemporary)(f"{name} ended with exit code {code}.\n{message}")
