"""Train the localiser, which finds the product in a shopper's photo before it is searched.

    python -m pipelines.localise --ds 2026-11-20

Learns from the feed's boxes, or where there are few from where the classifier looks, and from
studio shots composed into disorder. Kept with its embedder, for which it crops. What searching by
the found box is worth, beside the true box and the whole photo, is in `localisation.json`.
Cost: 215 s for the sample on two cores without AVX-512, of which 20 s start, compile and export.
Killed, it goes on from the last whole epoch.
"""

import json
import shutil
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.catalogue import read_items
from pipelines.localise_exam import FACTS
from pipelines.settings import Settings
from pipelines.step import (
    Outcome,
    Partition,
    Report,
    command,
    digest_of,
    made_from,
    run_step,
)
from serving.bundle import LOCALISER


def run(settings: Settings, ds: date) -> Report:
    """Train, or keep the localiser that was trained for this embedder."""
    inputs = {
        "embedder": str(Partition(settings, "train", ds).done().details["embedder"]),
        "recipe": settings.localise.model_dump_json(),
        "pixel_spec": settings.preprocess.pixel_spec,
    }
    kept = made_from(settings, "localise", ds, inputs)
    # Without one to keep, it depends on the photos of the day it is trained on.
    inputs["trained_on"] = (
        kept.done().inputs["trained_on"] if kept else Partition(settings, "embed", ds).done().digest
    )
    report = run_step(
        settings,
        "localise",
        ds,
        inputs=inputs,
        body=lambda folder: _train_or_keep(settings, ds, kept, inputs, folder),
    )
    shutil.rmtree(_checkpoints(settings, inputs), ignore_errors=True)
    return report


def localiser_path(settings: Settings, ds: date) -> Path | None:
    """The graph that serves, or None where searching by its boxes would do harm."""
    path = Partition(settings, "localise", ds).output / LOCALISER
    return path if path.is_file() else None


def _checkpoints(settings: Settings, inputs: dict[str, str]) -> Path:
    return settings.root / "checkpoints" / digest_of(["localise", inputs])


def _train_or_keep(
    settings: Settings, ds: date, kept: Partition | None, inputs: dict[str, str], folder: Path
) -> Outcome:
    if kept is not None:
        shutil.copytree(kept.output, folder, dirs_exist_ok=True)
        return Outcome(rows=0, details={**kept.done().details, "kept": True})
    if why := _why_not(settings, ds):
        facts: dict[str, object] = {"served": False, "why": why}
        (folder / FACTS).write_text(json.dumps(facts))
        return Outcome(rows=0, details={"kept": False, **facts})
    from pipelines.localisation import Localisation  # Keras takes ten seconds to import

    rows, details = Localisation(settings, ds, _checkpoints(settings, inputs)).run(folder)
    return Outcome(rows=rows, details={"kept": False, **details})


def _why_not(settings: Settings, ds: date) -> str:
    """Why no localiser is wanted, before Keras is imported; empty to train one."""
    if settings.localise.boxes == "none":
        return "`localise.boxes` is `none`"
    items = read_items(settings, ds)
    held_out = pc.is_in(items["split"], value_set=pa.array(["val", "test"]))
    asked = pc.and_(pc.equal(items["kind"], "wild"), held_out)
    if settings.localise.boxes == "auto" and not pc.any(asked).as_py():
        return "no photo from the wild to judge it by"
    return ""


if __name__ == "__main__":
    command(run)
