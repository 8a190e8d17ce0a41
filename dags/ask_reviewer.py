"""The task that waits for a person, where the policy does not approve by itself."""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.exceptions import AirflowSkipException

APPROVE, REJECT = "Approve", "Reject"


class AskReviewer(HITLOperator):  # type: ignore[misc]
    """Asks what the task `review` says is to be asked, and those whom it names.

    There is no default answer: when the time is over the task fails, and `decide` writes a no.
    """

    def __init__(self, **given: Any) -> None:
        super().__init__(
            subject="May a candidate serve?", options=[APPROVE, REJECT], retries=0, **given
        )

    def execute(self, context: Any) -> None:
        """Skipped where there is nothing to ask."""
        details = context["ti"].xcom_pull(task_ids="review")["details"]
        if details["decision"] != "ask":
            raise AirflowSkipException(f"{details['decision']} by {details['who']}")
        self.subject = f"May version {details['version']} serve?"
        self.body = (
            f"You are asked because: {details['why']}.\n\n"
            f"The evidence: in MLflow with the version's run, and `{details['page']}` below the "
            f"root.\n\n"
            f"Bundle `{details['bundle']}`. Without an answer within {details['hours']:g} hours "
            f"it is rejected."
        )
        self.assigned_users = [{"id": name, "name": name} for name in details["reviewers"]] or None
        self.response_timeout = timedelta(hours=details["hours"])
        super().execute(context)
