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
    details = {report.step: report.details for report in reports}
    typer.echo(f"Bundle {details['bundle']['bundle']} of {news.ds} has {news.changes} changes.")
    for step, moment in (("bundle", "was sealed"), ("promote", "served")):
        if ages := details[step].get("freshness_seconds"):
            typer.echo(f"The oldest was {ages['oldest']:.0f} s old when it {moment}.")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """Which bundles there are, what waits, what is tried and what each server serves."""
    from pipelines.status import status as read_status
    from pipelines.status import status_lines

    with exit_codes():
        facts = read_status(load_settings())
    typer.echo(json.dumps(facts, indent=1) if as_json else "\n".join(status_lines(facts)))


@app.command()
def review(
    version: Annotated[str | None, typer.Argument(help="Without one: what waits.")] = None,
    approve: Annotated[
        bool | None, typer.Option("--approve/--reject", help="May it serve?", show_default=False)
    ] = None,
    why: Annotated[str, typer.Option(help="For the ledger.")] = "",
) -> None:
    """Say whether a candidate may serve; or list those that wait, each with its evidence."""
    from pipelines.releasable import of_version
    from pipelines.release import current_user, review_bundle
    from pipelines.waiting import waiting_for_review

    with exit_codes():
        settings = load_settings()
        if version is None:
            lines = [each.line for each in waiting_for_review(settings)]
            typer.echo("\n".join(lines) or "No candidate waits for a review.")
            return
        if approve is None:
            raise typer.BadParameter("expected --approve or --reject beside the version")
        if not why.strip():
            raise typer.BadParameter("expected --why: the ledger keeps the reason")
        entry = review_bundle(
            settings,
            of_version(settings, version),
            "approve" if approve else "reject",
            who=current_user(),
            why=why,
        )
        typer.echo(f"Version {entry.version}: {entry.action} by {entry.who}, {entry.why}.")


@app.command()
def promote(
    day: Day,
    why: Annotated[str, typer.Option(help="For the ledger.")] = "promoted by hand",
    at_once: Annotated[bool, typer.Option(help="Without shadow and canary.")] = False,
) -> None:
    """Approve the day's bundle and bring it to the shoppers: shadow, canary, all of them."""
    from pipelines.bundle import bundle_digest
    from pipelines.releasable import registered
    from pipelines.release import current_user, promote_bundle, review_bundle
    from pipelines.rollout import roll_out
    from serving.ledger import champion

    with exit_codes():
        settings = load_settings()
        candidate = registered(settings, day.date(), bundle_digest(settings, day.date()))
        entry = champion(settings.root)
        if entry is None or entry.bundle != candidate.digest:
            who = current_user()
            review_bundle(settings, candidate, "approve", who=who, why=why)
            if at_once:
                entry = promote_bundle(settings, candidate, who=who, why=why)
            else:
                entry = roll_out(settings, candidate).entry
        typer.echo(f"Production is version {entry.version}, bundle {entry.bundle}.")


@app.command()
def rollback(
    to: Annotated[str | None, typer.Option(help="A version that has served.")] = None,
    why: Annotated[str, typer.Option(help="For the ledger.")] = "rolled back by hand",
) -> None:
    """End a rollout that is under way; else serve the bundle before, or a given version."""
    from pipelines.release import current_user, roll_back
    from serving.ledger import champion

    with exit_codes():
        settings = load_settings()
        entry = roll_back(settings, to=to, who=current_user(), why=why)
        if entry.action == "abort":
            typer.echo(f"Version {entry.version} is out of its rollout.")
        serving = champion(settings.root)
        if serving is not None:
            typer.echo(f"Production is version {serving.version}, bundle {serving.bundle}.")


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
