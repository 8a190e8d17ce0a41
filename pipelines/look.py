"""Is there anything to do for a day, from its feed to a registered candidate?

    python -m pipelines.look --ds 2026-11-20

The steps are asked one after the other, in one process, and the first that would do something is
the answer: `first` of the last line of standard output, as JSON, or null. Cost: 3 s; a process for
each of them takes four times as long.
"""

import importlib
import sys
from datetime import date, datetime
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

from model.errors import LookalikeError
from pipelines.settings import Settings, load_settings
from pipelines.step import STEPS, WouldRun, exit_codes, only_looking

ASKED = STEPS[: STEPS.index("register") + 1]


class Look(BaseModel):
    """The answer."""

    model_config = ConfigDict(frozen=True)

    ds: date
    first: str | None  # step that has something to do


def look(settings: Settings, ds: date) -> Look:
    """A step that fails has something to do: it says itself what is wrong."""
    with only_looking():
        for step in ASKED:
            try:
                importlib.import_module(f"pipelines.{step}").run(settings, ds)
            except (WouldRun, LookalikeError, OSError):
                return Look(ds=ds, first=step)
    return Look(ds=ds, first=None)


def main(
    ds: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day to look at.")],
) -> None:
    with exit_codes():
        sys.stdout.write(look(load_settings(), ds.date()).model_dump_json() + "\n")


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
