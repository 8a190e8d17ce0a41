"""Is there anything to do for a day, from its feed to a registered candidate?

    python -m pipelines.look --ds 2026-11-20

The steps are asked one after the other, in one process, and the first that would do something, or
would refuse to, is the answer: `first` of the last line of standard output, as JSON, or null. A
candidate that nobody has decided about is to be registered again, which tells the DAG `release`.
Cost: 3 s; a process for each step takes four times as long.
"""

import importlib
import sys
from datetime import date, datetime
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

from model.errors import LookalikeError
from pipelines.bundle import bundle_digest
from pipelines.decisions import latest_about
from pipelines.settings import Settings, load_settings
from pipelines.step import STEPS, Looked, exit_codes, only_looking
from serving.ledger import read_ledger

ASKED = STEPS[: STEPS.index("register") + 1]


class Look(BaseModel):
    """The answer."""

    model_config = ConfigDict(frozen=True)

    ds: date
    first: str | None  # step that has something to do


def look(settings: Settings, ds: date) -> Look:
    """Waits for nothing and writes nothing, while the day is being run too."""
    first = next((step for step in ASKED if _would_run(settings, step, ds)), None)
    if first is None and not _is_decided(settings, ds):
        first = "register"
    return Look(ds=ds, first=first)


def _is_decided(settings: Settings, ds: date) -> bool:
    return latest_about(read_ledger(settings.root), bundle_digest(settings, ds)) is not None


def _would_run(settings: Settings, step: str, ds: date) -> bool:
    """A step that fails has something to do: it says itself what is wrong."""
    with only_looking():
        try:
            importlib.import_module(f"pipelines.{step}").run(settings, ds)
        except Looked as looked:
            return looked.would_run
        except (LookalikeError, OSError):
            return True
    raise AssertionError(f"The step {step} has not asked whether it is done.")


def main(
    ds: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day to look at.")],
) -> None:
    with exit_codes():
        sys.stdout.write(look(load_settings(), ds.date()).model_dump_json() + "\n")


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
