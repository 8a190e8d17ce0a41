"""Undo the last release, as `lookalike rollback` does; the DAG `rollback` runs this.

    python -m pipelines.roll_back --who ada --why "odd results for shoes"

Ends a rollout that is under way; else the bundle that served before, or that of `--to VERSION`,
serves again. Cost: 1 s until servers know, 3 s until the registry does.
"""

from typing import Annotated

import typer

from pipelines.release import current_user, roll_back
from pipelines.settings import load_settings
from pipelines.step import exit_codes


def main(
    to: Annotated[str | None, typer.Option(help="A version that has served.")] = None,
    who: Annotated[str | None, typer.Option(help="Default: this account.")] = None,
    why: Annotated[str, typer.Option(help="For the ledger.")] = "rolled back by hand",
) -> None:
    """Print the entry as JSON."""
    with exit_codes():
        entry = roll_back(load_settings(), to=to, who=who or current_user(), why=why)
        typer.echo(entry.model_dump_json())


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
