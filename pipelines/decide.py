"""Write down what a person answered in Airflow, or that nobody did.

    python -m pipelines.decide --ds 2026-11-20 --answer Approve --who ada --why "looks good"

Without `--answer` the time is over, which is a no. A decision that was made meanwhile by another
way stays. Cost: 4 s.
"""

from datetime import date, datetime
from typing import Annotated, Literal

import typer

from pipelines.releasable import Registered
from pipelines.release import NOBODY, review_bundle
from pipelines.settings import Settings, load_settings
from pipelines.step import Partition, exit_codes
from serving.ledger import Entry

ANSWERS: dict[str, Literal["approve", "reject"]] = {"Approve": "approve", "Reject": "reject"}


def decide(settings: Settings, ds: date, answer: str | None, *, who: str, why: str) -> Entry:
    """The entry in the ledger. Raises Refused as `review_bundle` does."""
    done = Partition(settings, "register", ds).done().details
    candidate = Registered(str(done["version"]), ds, str(done["bundle"]))
    if answer is None:
        late = f"no answer within {settings.review.hours:g} hours"
        return review_bundle(settings, candidate, "reject", who=NOBODY, why=late, automatic=True)
    return review_bundle(settings, candidate, ANSWERS[answer], who=who, why=why or answer)


def main(
    ds: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Day of the candidate.")],
    answer: Annotated[str | None, typer.Option(help="Approve, or Reject.")] = None,
    who: Annotated[str, typer.Option(help="Who answered.")] = NOBODY,
    why: Annotated[str, typer.Option(help="For the ledger.")] = "",
) -> None:
    """Print the entry as JSON."""
    with exit_codes():
        entry = decide(load_settings(), ds.date(), answer, who=who, why=why)
        typer.echo(entry.model_dump_json())


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
