"""Every minute: what people did in the MLflow registry becomes release decisions.

A candidate that was approved there or by `lookalike review` is rolled out, and a rollout whose
process was killed is carried on.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowSkipException

from dags.steps import RETRY_POLICY, run_command

MINUTES = timedelta(minutes=1)


@task(execution_timeout=5 * MINUTES)  # type: ignore[untyped-decorator]
def follow() -> dict[str, Any]:
    """The decisions, and the day whose candidate waits."""
    return run_command("follow", None, "serve")


@task(  # type: ignore[untyped-decorator]
    execution_timeout=180 * MINUTES, retries=2, retry_policy=RETRY_POLICY
)
def promote(found: dict[str, Any]) -> dict[str, Any]:
    """The rollout of that day's candidate."""
    if found["waiting"] is None:
        raise AirflowSkipException("No candidate waits.")
    return run_command("promote", found["waiting"], "serve")


@dag(  # type: ignore[untyped-decorator]
    schedule="* * * * *",
    start_date=datetime(2026, 11, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["lookalike"],
    doc_md=__doc__,
)
def follow_registry() -> None:
    """follow, promote."""
    promote(follow())


follow_registry()
