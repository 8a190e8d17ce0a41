"""Each candidate: reviewed by policy or a person, tried beside the champion, then served.

Starts when a bundle is registered. Two may be under way, as a person may take a day to answer, but
only one is rolled out at a time. An older one never replaces a newer champion.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param, TriggerRule, chain, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from dags.ask_reviewer import AskReviewer
from dags.steps import CANDIDATE, RETRY_POLICY, StepBroken, day_of, run_command, step

MINUTES = timedelta(minutes=1)


@task(  # type: ignore[untyped-decorator]
    execution_timeout=10 * MINUTES,
    retries=2,
    retry_policy=RETRY_POLICY,
    trigger_rule=TriggerRule.ALL_DONE,  # nobody answered: `ask` has failed
)
def decide(
    ti: Any = None,
    ds: str | None = None,
    params: dict[str, Any] | None = None,
    triggering_asset_events: Any = None,
) -> dict[str, Any]:
    """The person's answer, written to the ledger; no answer is a no."""
    review = ti.xcom_pull(task_ids="review")
    if review is None:
        raise StepBroken("The task `review` has failed, so there is nothing to decide.")
    if review["details"]["decision"] != "ask":
        raise AirflowSkipException("It was decided without a person.")
    day = day_of(ds, params, triggering_asset_events)
    told = ti.xcom_pull(task_ids="ask")
    if told is None:
        return run_command("decide", day, "serve")
    user, why = told["responded_by_user"], told["params_input"].get("why") or ""
    who = user["id"] if user["id"] in review["details"]["reviewers"] else user["name"]
    answer = told["chosen_options"][0]
    return run_command("decide", day, "serve", "--answer", answer, "--who", who, "--why", why)


@dag(  # type: ignore[untyped-decorator]
    schedule=[CANDIDATE],
    start_date=datetime(2026, 11, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=2,
    tags=["lookalike"],
    doc_md=__doc__,
    params={"ds": Param(None, type=["null", "string"], format="date", description="Day to run.")},
)
def release() -> None:
    """review, ask, decide, promote, prune, collect."""
    why = Param("", type="string", title="Why", description="For the ledger.")
    chain(
        step("review", environment="serve", timeout=30 * MINUTES),
        AskReviewer(task_id="ask", params={"why": why}),
        decide(),
        step(
            "promote",
            environment="serve",
            timeout=180 * MINUTES,
            trigger_rule=TriggerRule.NONE_FAILED,  # `decide` may be skipped
        ),
        step("prune", environment="serve", timeout=30 * MINUTES),
        step("collect", environment="serve", timeout=30 * MINUTES),
    )


release()
