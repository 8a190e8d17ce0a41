"""The command `lookalike`."""

import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.settings import load_settings
from pipelines.step import STEPS, exit_codes

app = typer.Typer(
    name="lookalike",
    help="Visually similar products, retrained every day, released safely.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Day = Annotated[
    datetime, typer.Option("--date", "--ds", formats=["%Y-%m-%d"], help="Day of the feed.")
]


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="A folder tree of images, or CSV/JSONL/Parquet.")],
    day: Day,
) -> None:
    """Take a shop's catalogue as the feed of a day."""
    from pipelines.importers import import_feed

    with exit_codes():
        report = import_feed(load_settings(), day.date(), source)
        typer.echo(report.line(), err=True)
        typer.echo(json.dumps(report.details, indent=1, default=str))


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="Where to write the images and two feeds.")],
    items: Annotated[int, typer.Option(min=1, help="Rows of the first day.")] = 4000,
    seed: Annotated[int, typer.Option(help="The same seed draws the same shop.")] = 7,
) -> None:
    """Draw the sample catalogue: photos and the feeds of two days."""
    from pipelines.sample import write_sample

    with exit_codes():
        typer.echo(str(write_sample(folder, items=items, seed=seed)))


@app.command()
def run(
    day: Day,
    only: Annotated[str, typer.Option(help="Steps to run, with commas.")] = ",".join(STEPS),
) -> None:
    """Run a day's steps without Airflow: the same commands in the same order."""
    from pipelines.cycle import StepFailed, run_day

    chosen = tuple(step.strip() for step in only.split(","))
    unknown = sorted(set(chosen) - set(STEPS))
    if unknown:
        raise typer.BadParameter(f"unknown steps {unknown}, expected some of {list(STEPS)}")
    with exit_codes():
        settings = load_settings()
    try:
        run_day(settings, day.date(), chosen)
    except StepFailed as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.code) from error


@app.command()
def refresh() -> None:
    """Fold what changed live into a new bundle, with the embedder that serves; trains nothing."""
    from pipelines.cycle import StepFailed, run_refresh

    with exit_codes():
        settings = load_settings()
    try:
        news, reports = run_refresh(settings)
    except StepFailed as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.code) from error
    if not reports:
        typer.echo(f"Nothing to do: {news.why}.")
        return
    facts = {report.step: report.details for report in reports}["bundle"]
    ages = facts.get("freshness_seconds", {})
    typer.echo(
        f"Bundle {facts['bundle']} of {news.ds} has {news.changes} changes; "
        f"the oldest was {ages.get('oldest', 0):.0f} s old when it was sealed."
    )


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """Which bundles there are, which one serves, and how the gate measured them."""
    from pipelines.status import status as read_status

    with exit_codes():
        facts = read_status(load_settings())
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    for row in facts["bundles"]:
        recall = row.get("recall_at_10", {}).get("all", {}).get("recall", "?")
        typer.echo(
            f"version {row['version']:>3}  {row['stage']:<10}  {row['ds']}  bundle {row['bundle']}"
            f"  recall@10 {recall}"
        )
    for replica in facts["replicas"]:
        typer.echo(f"{replica['url']} serves {replica['serves'] or 'nothing: is it running?'}")


@app.command()
def promote(
    day: Day,
    why: Annotated[str, typer.Option(help="For the ledger.")] = "promoted by hand",
) -> None:
    """Put the day's registered bundle in Production."""
    from pipelines.bundle import bundle_digest
    from pipelines.release import current_user, promote_bundle

    with exit_codes():
        settings = load_settings()
        digest = bundle_digest(settings, day.date())
        entry = promote_bundle(settings, day.date(), digest, who=current_user(), why=why)
        typer.echo(f"Production is version {entry.version}, bundle {entry.bundle}.")


@app.command()
def rollback(
    to: Annotated[str | None, typer.Option(help="A version that has served.")] = None,
    why: Annotated[str, typer.Option(help="For the ledger.")] = "rolled back by hand",
) -> None:
    """Serve the bundle that served before, or a given version."""
    from pipelines.release import current_user, roll_back

    with exit_codes():
        entry = roll_back(load_settings(), to=to, who=current_user(), why=why)
        typer.echo(f"Production is version {entry.version}, bundle {entry.bundle}.")


@app.command()
def explain(
    image: Annotated[str, typer.Argument(help="A photo: a path, or a URI.")],
    box: Annotated[str | None, typer.Option(help="x,y,width,height: what is searched.")] = None,
    root: Annotated[Path | None, typer.Option(help="With another bundle in Production.")] = None,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("explain.html"),
    k: Annotated[int, typer.Option("-k", min=1, max=200, help="How many neighbours.")] = 12,
) -> None:
    """Show how a photo came to its answer: pixels, vector, neighbours."""
    from rich.console import Console

    from pipelines.explain import explain as explain_photo
    from pipelines.explain import report
    from pipelines.explain_page import explain_page

    with exit_codes():
        explained = explain_photo(root or load_settings().root, image, box, k)
        out.write_text(explain_page(explained))
        Console(highlight=False).print(report(explained, out))


@app.command()
def serve() -> None:
    """Serve the Production bundle over HTTP until interrupted."""
    from pipelines.server_environment import server_environment
    from pipelines.server_process import server_command

    with exit_codes():
        settings = load_settings()
    environment = os.environ | {"BENTOML_DO_NOT_TRACK": "True"} | server_environment(settings)
    command = server_command(settings.serve.host, settings.serve.port)
    os.execve(sys.executable, command, environment)


def main() -> None:
    app()
