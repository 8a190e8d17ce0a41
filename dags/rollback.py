"""Undo the last release, or serve an earlier version again. Started by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from dags.steps import run_command

MINUTES = timedelta(minutes=1)


@task(execution_timeout=30 * MINUTES, retries=0, priority_weight=1000)  # type: ignore[untyped-decorator]
def roll_back(dag_run: Any = None, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """The ledger's entry. Never tried again by itself: a second try would go back one further."""
    given = params or {}
    to = ["--to", given["to"]] if given.get("to") else []
    who = getattr(dag_run, "triggering_user_name", None) or "airflow"
    return run_command("roll_back", None, "serve", *to, "--who", who, "--why", given["why"])


@dag(  # type: ignore[untyped-decorator]
    schedule=None,
    start_date=datetime(2026, 11, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["lookalike"],
    doc_md=__doc__,
    params={
        "to": Param(None, type=["null", "string"], description="A version that has served."),
        "why": Param("rolled back in Airflow", type="string", description="For the ledger."),
    },
)
def rollback() -> None:
    """One task."""
    roll_back()


rollback()
