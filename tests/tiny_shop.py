"""A whole small shop, from the sample's photos to a bundle in Production, in about a minute.

    settings = draw_shop(folder)              # photos of 330 items, imported as the first day
    run_steps(settings, DAY_1)                # ingest .. promote, in this process
    settings = copy_shop(settings, folder)    # a private copy of everything, in a second
    done = command(settings, "index", DAY_1)  # the step's own command line

A copy shares the bytes of immutable files through hard links, as every step replaces the files it
writes; what is appended to or written in place (the ledger, MLflow's database) is copied.
"""

import errno
import importlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.importers import import_feed
from pipelines.sample import write_sample
from pipelines.settings import (
    Bless,
    Evidence,
    Gate,
    Index,
    Localise,
    Preprocess,
    Reduce,
    Review,
    Section,
    Serve,
    Settings,
    Train,
)
from pipelines.step import STEPS, Outcome, Partition, Report, run_step

DAY_1 = date(2026, 11, 19)
DAY_2 = date(2026, 11, 20)
ITEMS = 330
SPEC = "decode|orient|resize(32)|pad"
WRITTEN_IN_PLACE = (".db", ".db-shm", ".db-wal", ".html", ".json", ".jsonl", ".lock")
HERE = Path(__file__).parent.parent  # where `pipelines` is


def tiny_settings(root: Path, **given: Any) -> Settings:
    """A network that trains in seconds; `given` replaces whole sections."""
    sections: dict[str, Any] = {
        "preprocess": Preprocess(pixel_spec=SPEC, shard_images=64),
        "train": Train(width=8, blocks=(1, 1), epochs=2, projection=0.75),
        "localise": Localise(boxes="feed", width=4, epochs=1),
        "reduce": Reduce(dimensions=12),
        "index": Index(engine="scann"),  # what a tuning chooses depends on the machine
        # Four photos of each leaf teach no network: its answers are as good as drawn.
        "gate": Gate(min_leaf_lift=0),
        "bless": Bless(items=20, photos=5, max_p99_ms=60_000),  # on a busy machine
        # So few queries differ by chance from day to day, and so do the times of a busy machine.
        "review": Review(max_recall_drop=0.2, max_leaf_drop=0.5, max_slowdown=1000),
        "serve": Serve(port=1),  # where nobody answers, whatever runs on this machine
        "evidence": Evidence(items=20, photos=20),
    }
    return Settings(root=root, **{**sections, **given})


def draw_shop(root: Path, **given: Any) -> Settings:
    """The sample's photos below `root`, and its first day as the feed of DAY_1."""
    settings = tiny_settings(root, **given)
    write_sample(root / "sample", items=ITEMS, processes=1)
    import_feed(settings, DAY_1, root / "sample" / "day1.parquet")
    return settings


def run_step_of(settings: Settings, step: str, ds: date) -> Report:
    report: Report = importlib.import_module(f"pipelines.{step}").run(settings, ds)
    return report


def run_steps(settings: Settings, ds: date, steps: Sequence[str] = STEPS) -> dict[str, Report]:
    return {step: run_step_of(settings, step, ds) for step in steps}


def import_day_2(settings: Settings) -> Report:
    """The sample's second day: 2 new items, 1 new photo, 1 new price, 1 deletion."""
    return import_feed(settings, DAY_2, settings.root / "sample" / "day2.parquet")


def copy_shop(settings: Settings, root: Path, **given: Any) -> Settings:
    """Everything below another root but Airflow, with `given` in place of whole sections."""
    shutil.copytree(
        settings.root,
        root,
        copy_function=_copy,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("airflow"),  # its settings name their folder in full
    )
    _move_tracking(root, str(settings.root.resolve()), str(root.resolve()))
    return settings.model_copy(update={"root": root, **given})


def _copy(source: str, target: str) -> None:
    if not source.endswith(WRITTEN_IN_PLACE):
        try:
            return os.link(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:  # another disk
                raise
    shutil.copy2(source, target)


def _move_tracking(root: Path, old: str, new: str) -> None:
    """MLflow's database names the place of every artefact in full."""
    if not (root / "mlflow.db").is_file():
        return
    places = (("experiments", "artifact_location"), ("runs", "artifact_uri"))
    with closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        for table, column in (*places, ("model_versions", "storage_location")):
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (old, new))


def forget(settings: Settings, ds: date, *steps: str) -> None:
    """As if these steps had not run for `ds`."""
    for step in steps:
        shutil.rmtree(Partition(settings, step, ds).folder)


def rewrite(settings: Settings, step: str, ds: date, edit: Callable[[Path], None]) -> Report:
    """Commit the output of a step again as `edit` leaves it: a fault that the step did not see."""
    output = Partition(settings, step, ds).output
    done = Partition(settings, step, ds).done()

    def body(folder: Path) -> Outcome:
        shutil.copytree(output, folder, dirs_exist_ok=True)
        edit(folder)
        return Outcome(done.rows, done.details)

    inputs = {**done.inputs, "edit": f"{edit.__module__}.{edit.__qualname__}"}
    return run_step(settings, step, ds, inputs=inputs, body=body)


def environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, for a process of its own."""
    sections = {
        f"LOOKALIKE_{name.upper()}": value.model_dump_json()
        for name, value in settings
        if isinstance(value, Section)
    }
    keys = settings.serve.operator_keys
    if keys is not None:  # its JSON hides it
        sections["LOOKALIKE_SERVE__OPERATOR_KEYS"] = keys.get_secret_value()
    return {**os.environ, **sections, "LOOKALIKE_ROOT": str(settings.root)}


def start(settings: Settings, *command: str) -> "subprocess.Popen[str]":
    """`python command` with these settings."""
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=HERE,
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_step(settings: Settings, step: str, ds: date) -> "subprocess.Popen[str]":
    return start(settings, "-m", f"pipelines.{step}", "--ds", str(ds))


def start_lookalike(settings: Settings, *arguments: str) -> "subprocess.Popen[str]":
    return start(settings, "-c", "from pipelines.cli import main; main()", *arguments)


def finish(process: "subprocess.Popen[str]") -> "subprocess.CompletedProcess[str]":
    out, err = process.communicate(timeout=180)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def command(settings: Settings, step: str, ds: date) -> "subprocess.CompletedProcess[str]":
    """The command line of a step, to its end."""
    return finish(start_step(settings, step, ds))
