"""Every night: the day's feed becomes a gated and registered bundle, a candidate for `release`.

One task a step. A step whose inputs did not change returns at once, `train` is skipped when its
photos hardly changed, and a day that the gate refuses stops there: shoppers keep what they have.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import Param, TriggerRule, chain, dag

from dags.steps import CANDIDATE, step

MINUTES = timedelta(minutes=1)


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
    """ingest .. register, in a row."""
    chain(
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
