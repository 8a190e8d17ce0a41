"""Every 15 minutes, or when the catalogue says so: what changed live becomes part of the bundle.

The newest day again, with the champion's embedder and without any training. Where nothing changed
it ends in its first task. Never two at once, and not beside a day that is being retrained: that
day's bundle takes the same changes in.

Whoever changes the catalogue in another way may send an event of the asset `lookalike_catalogue`
(`POST /api/v2/assets/events`) instead of waiting.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import (
    Asset,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    TriggerRule,
    chain,
    dag,
    task,
)

from dags.steps import CANDIDATE, RETRY_POLICY, run_command, step

MINUTES = timedelta(minutes=1)
CATALOGUE = Asset("lookalike_catalogue")
RETRAINING = "daily_retrain"
KEEP_CHAMPION = {"LOOKALIKE_TRAIN__KEEP": "champion"}


@task.short_circuit(  # type: ignore[untyped-decorator]
    execution_timeout=10 * MINUTES, retries=2, retry_delay=MINUTES, retry_policy=RETRY_POLICY
)
def news(ti: Any = None) -> dict[str, Any] | None:
    """Which day to do again; nothing where nothing changed, or while a day is retrained."""
    if ti.get_dr_count(RETRAINING, states=["running"]):
        print(f"{RETRAINING} runs; its bundle takes in what changed.")
        return None
    found = run_command("refresh", None, "serve")
    return found if found["changes"] else None


@dag(  # type: ignore[untyped-decorator]
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("*/15 * * * *", timezone="UTC"), assets=[CATALOGUE]
    ),
    start_date=datetime(2026, 11, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=6),
    tags=["lookalike"],
    doc_md=__doc__,
)
def refresh() -> None:
    """news .. register, in a row."""
    found = news()
    same: dict[str, Any] = {"of_day": found, "settings": KEEP_CHAMPION}
    after_train: dict[str, Any] = {"trigger_rule": TriggerRule.NONE_FAILED}  # it shows as skipped
    chain(
        found,
        step("ingest", environment="train", timeout=30 * MINUTES, **same),
        step("preprocess", environment="train", timeout=60 * MINUTES, **same),
        step("train", environment="train", timeout=10 * MINUTES, **same),
        step("embed", environment="serve", timeout=60 * MINUTES, **same, **after_train),
        step("localise", environment="train", timeout=10 * MINUTES, **same),
        step("reduce", environment="serve", timeout=10 * MINUTES, **same),
        step("index", environment="serve", timeout=60 * MINUTES, **same),
        step("gate", environment="serve", timeout=60 * MINUTES, **same),
        step("bundle", environment="serve", timeout=30 * MINUTES, **same),
        step("bless", environment="serve", timeout=30 * MINUTES, **same),
        step("evidence", environment="serve", timeout=30 * MINUTES, **same),
        step("register", environment="serve", timeout=60 * MINUTES, **same, outlets=[CANDIDATE]),
    )


refresh()
