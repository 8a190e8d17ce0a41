"""Every week: can the bundle that a rollback goes to serve, and how soon? No shopper sees it.

It fails where the artefact store has lost or damaged that bundle, where a server no longer loads
it, or where the way back takes longer than the bounds of `drill`: better now than on the night when
it is needed.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import dag, task

from dags.steps import RETRY_POLICY, run_command

MINUTES = timedelta(minutes=1)


@task(  # type: ignore[untyped-decorator]
    execution_timeout=60 * MINUTES, retries=2, retry_delay=MINUTES, retry_policy=RETRY_POLICY
)
def drill() -> dict[str, Any]:
    """Its figures, or that there is nothing to drill yet."""
    return run_command("drill", None, "serve")


@dag(  # type: ignore[untyped-decorator]
    schedule="0 9 * * 1",  # when somebody is there to look
    start_date=datetime(2026, 11, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["lookalike"],
    doc_md=__doc__,
)
def rollback_drill() -> None:
    """One task."""
    drill()


rollback_drill()
