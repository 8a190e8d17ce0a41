"""The localiser in MLflow: curves, overlap, the table of searches, and found boxes to look at."""

from datetime import date
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from model.loop import Epoch
from model.pixels import PADDING
from pipelines.localise_exam import FOUND, Shown, Verdict
from pipelines.settings import Settings
from pipelines.tracking import client, experiment_id

TILE, GAP, COLUMNS = 160, 8, 8
HEADER = 32  # pixels for the legend
FOUND_COLOUR, TRUE_COLOUR = (196, 110, 40), (24, 128, 92)


def log_localisation(
    settings: Settings, ds: date, history: list[Epoch], verdict: Verdict, facts: Path
) -> str:
    """One MLflow run a localiser; its id."""
    tracker = client(settings)
    run = tracker.create_run(
        experiment_id(settings), run_name=f"localise {ds}", tags={"ds": str(ds), "step": "localise"}
    )
    run_id = str(run.info.run_id)
    for name, value in settings.localise.model_dump().items():
        tracker.log_param(run_id, name, value)
    for epoch in history:
        values = {"loss": epoch.loss} | {f"val_{n}": v for n, v in epoch.validation.items()}
        for name, value in values.items():
            tracker.log_metric(run_id, name, value, step=epoch.epoch)
    for name, value in _metrics(verdict).items():
        tracker.log_metric(run_id, name, value)
    table = verdict.rows()
    if table:
        measures = list(next(iter(table.values())))
        columns = {"searched by": list(table)} | {
            measure: [str(row.get(measure, "")) for row in table.values()] for measure in measures
        }
        tracker.log_table(run_id, columns, "searches.json")
    tracker.log_artifact(run_id, str(facts))
    if verdict.shown:
        tracker.log_image(run_id, draw_boxes(verdict.shown), "boxes.png")
    tracker.set_terminated(run_id)
    return run_id


def draw_boxes(photos: tuple[Shown, ...]) -> Image.Image:
    """Photos with the true box in green and the found one in orange."""
    rows = -(-len(photos) // COLUMNS)
    size = (COLUMNS * (TILE + GAP) + GAP, HEADER + rows * (TILE + GAP))
    sheet = Image.new("RGB", size, PADDING)
    legend = ImageDraw.Draw(sheet)
    legend.text((GAP, 4), "true box", TRUE_COLOUR, font_size=18)
    legend.text((GAP + 90, 4), "found box", FOUND_COLOUR, font_size=18)
    for number, photo in enumerate(photos):
        tile = Image.fromarray(photo.pixels).resize((TILE, TILE), Image.Resampling.BILINEAR)
        draw = ImageDraw.Draw(tile)
        for box, colour in ((photo.true, TRUE_COLOUR), (photo.found, FOUND_COLOUR)):
            left, top, right, bottom = np.nan_to_num(box) * (TILE - 1)
            edges = (min(left, right), min(top, bottom), max(left, right), max(top, bottom))
            draw.rectangle(edges, outline=colour, width=2)
        column, row = number % COLUMNS, number // COLUMNS
        sheet.paste(tile, (GAP + column * (TILE + GAP), HEADER + row * (TILE + GAP)))
    return sheet


def _metrics(verdict: Verdict) -> dict[str, float]:
    """Means by names that MLflow takes, such as `found_box/hit_at_20`."""
    values = {
        f"{space.replace(' ', '_')}/{measure.replace('@', '_at_').replace(' ', '_')}": each.value
        for space, row in verdict.rows().items()
        for measure, each in row.items()
    }
    found = verdict.overlap.get(FOUND, {})
    return values | {name: each.value for name, each in found.items()}
