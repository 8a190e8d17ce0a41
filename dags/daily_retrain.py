"""Every night: the day's feed becomes a gated and registered bundle, a candidate for `release`.

One task a step, after a look at all of them: a day that is done already ends there. A step whose
inputs did not change returns at once, `train` is skipped when its photos hardly changed, and a day
that the gate refuses stops there: shoppers keep what they have.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param, TriggerRule, chain, dag, task

from dags.steps import CANDIDATE, RETRY_POLICY, day_of, run_command, step

MINUTES = timedelta(minutes=1)


@task.short_circuit(  # type: ignore[untyped-decorator]
    execution_timeout=30 * MINUTES, retries=2, retry_delay=MINUTES, retry_policy=RETRY_POLICY
)
def look(ds: str | None = None, params: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """The first step that has something to do; nothing where the day is done."""
    found = run_command("look", day_of(ds, params, None), "serve")
    return found if found["first"] else None


@dag(  # type: ignore[untyped-decorator]
    schedule="0 2 * * *",
    start_date=datetime(2026, 11, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=20),
    tags=["lookalike"],
    doc_md=__doc__,
    params={"ds": Param(None, type=["null", "string"], format="date", description="Day to run.")},
)
def daily_retrain() -> None:
    """look, then ingest .. register, in a row."""
    chain(
        look(),
        step("ingest", environment="train", timeout=120 * MINUTES),
        step("preprocess", environment="train", timeout=360 * MINUTES),
        step("train", environment="train", timeout=720 * MINUTES, pool="gpu"),
        step(
            "embed",
            environment="serve",
            timeout=360 * MINUTES,
            trigger_rule=TriggerRule.NONE_FAILED,  # `train` may be skipped
        ),
        step("localise", environment="train", timeout=120 * MINUTES, pool="gpu"),
        step("reduce", environment="serve", timeout=30 * MINUTES),
        step("index", environment="serve", timeout=120 * MINUTES),
        step("gate", environment="serve", timeout=60 * MINUTES),
        step("bundle", environment="serve", timeout=30 * MINUTES),
        step("bless", environment="serve", timeout=30 * MINUTES),
        step("evidence", environment="serve", timeout=60 * MINUTES),
        step("register", environment="serve", timeout=60 * MINUTES, outlets=[CANDIDATE]),
    )


daily_retrain()
