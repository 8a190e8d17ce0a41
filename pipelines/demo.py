"""`make demo`: the sample shop through Airflow, then real queries over HTTP.

The first call runs day 1, the second day 2 of the sample, a third finds nothing to do. Cost on
two cores without AVX-512: 15 minutes for day 1 with the installation.
"""

import io
import json
import logging
import re
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

import httpx
import numpy as np
import pyarrow.compute as pc
import structlog
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

from model.errors import LookalikeError
from model.pixels import to_rgb
from pipelines import review
from pipelines.airflow import airflow_environment, program
from pipelines.catalogue import read_items
from pipelines.importers import import_feed
from pipelines.neighbours import OTHER, SAME_LEAF, SAME_PRODUCT, Row, Tile, draw_neighbours
from pipelines.operator_key import as_operator, make_operator_key
from pipelines.sample import write_sample
from pipelines.server_environment import server_environment
from pipelines.server_process import server_process
from pipelines.settings import Settings, load_settings
from pipelines.step import STEPS, Partition, exit_codes
from serving.ledger import champion

DAYS = (date(2026, 11, 19), date(2026, 11, 20))
QUERIES, NEIGHBOURS = 7, 8
START_SECONDS = 60
TASK = re.compile(r"\[DAG TEST\] (starting|end task) task_id=(\w+)")

HITS = ("product_hit@1", "product_hit@10", "leaf_hit@1", "leaf_hit@10")
WIDTH = 100  # of the tables where no terminal says its own

console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else WIDTH)


def main() -> None:
    """Run the next day of the sample, and show what search finds."""
    started = time.monotonic()
    # The tables below say what the log would.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with exit_codes():
        settings = load_settings()
        day = _next_day(settings)
        _prepare(settings, day)
        _run_airflow(settings, day)
        _show_steps(settings, day)
        _show_gate(settings, day)
        make_operator_key(settings.root)
        with server_process(
            server_environment(settings), settings.serve.host, settings.serve.port,
            settings.root / "serve.log", seconds=START_SECONDS,
        ) as server:  # fmt: skip
            _show_queries(settings, day, server.url)
    console.print(
        f"\nDone in {time.monotonic() - started:.0f} s. See it live: [bold]make up[/], then open\n"
        f"  search   http://127.0.0.1:{settings.serve.port}\n"
        f"  MLflow   http://127.0.0.1:5000   (Models > {settings.registry.model})\n"
        f"  Airflow  http://127.0.0.1:8080   (daily_retrain, release)\n"
        f"Run `make demo` again for day 2; `lookalike status` says what serves."
    )


def _next_day(settings: Settings) -> date:
    done = [day for day in DAYS if Partition(settings, "promote", day).report()]
    return DAYS[min(len(done), len(DAYS) - 1)]


def _prepare(settings: Settings, day: date) -> None:
    folder = settings.root / "sample"
    if not (folder / "day2.parquet").is_file():
        console.print("[bold]Drawing the sample shop[/]: about 4,000 photos, studio and wild")
        drawn = write_sample(folder, items=4000)
        console.print(f"  {drawn.images} photos, {drawn.leaves} categories, {drawn.seconds:.0f} s")
    number = DAYS.index(day) + 1
    report = import_feed(settings, day, folder / f"day{number}.parquet")
    console.print(f"[bold]Feed of {day}[/] (day {number} of the sample)\n  {report.line()}")


def _run_airflow(settings: Settings, day: date) -> None:
    """`airflow dags test` runs a DAG's tasks one by one, as the scheduler would."""
    environment = airflow_environment(settings)
    log = settings.root / "airflow" / f"{day}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        migrate = [program("airflow"), "db", "migrate"]
        subprocess.run(migrate, env=environment, stdout=file, stderr=file, check=True)
        _run_dag(settings, "daily_retrain", day, file)
        decision = review.run(settings, day).details
        if decision["decision"] == review.ASK:  # `dags test` would wait for a person
            raise LookalikeError(
                f"A person decides about version {decision['version']}: {decision['why']}. Look "
                f"at {settings.root / decision['page']}, then run: lookalike review "
                f"{decision['version']} --approve --why TEXT, and `make demo` again."
            )
        _run_dag(settings, "release", day, file)
    if Partition(settings, "promote", day).report() is None:
        raise _failed(day, log)


def _run_dag(settings: Settings, dag: str, day: date, log: TextIO) -> None:
    console.print(f"[bold]Airflow DAG {dag}[/] for {day}, log in {log.name}")
    with subprocess.Popen(
        [program("airflow"), "dags", "test", dag, day.isoformat()],
        env=airflow_environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
    ) as process:
        for line in process.stdout or ():
            log.write(line)
            _follow(settings, day, line)
    log.flush()
    if process.returncode != 0:
        raise _failed(day, Path(log.name))


def _failed(day: date, log: Path) -> LookalikeError:
    tail = "".join(log.read_text().splitlines(keepends=True)[-15:])
    return LookalikeError(f"The run of {day} failed. The end of {log}:\n{tail}")


def _follow(settings: Settings, day: date, line: str) -> None:
    found = TASK.search(line)
    if found and found[1] == "starting" and found[2] in STEPS and console.is_terminal:
        console.print(f"  {found[2]:<11} ...", end="\r")
    elif found and found[1] != "starting" and found[2] in STEPS:
        report = Partition(settings, found[2], day).report()
        console.print(f"  {report.line() if report else found[2] + ' failed'}", soft_wrap=True)


def _show_steps(settings: Settings, day: date) -> None:
    table = Table(title=f"Steps of {day}", title_justify="left")
    for heading in ("step", "seconds", "rows", "MB"):
        table.add_column(heading, justify="left" if heading == "step" else "right")
    if day != DAYS[0]:
        table.add_column(f"seconds on {DAYS[0]}", justify="right")
    for step in STEPS:
        report = Partition(settings, step, day).done()
        cells = [step, f"{report.seconds:.1f}", str(report.rows), f"{report.bytes / 1e6:.1f}"]
        if day != DAYS[0]:
            cells.append(f"{Partition(settings, step, DAYS[0]).done().seconds:.1f}")
        table.add_row(*cells)
    console.print(table)


def _show_gate(settings: Settings, day: date) -> None:
    verdict = json.loads((Partition(settings, "gate", day).output / "verdict.json").read_bytes())
    table = Table(
        title=f"Gate of {day}: {'passed' if verdict['passed'] else 'refused'}",
        title_justify="left",
        caption="lower bound: 95 %, bootstrap; truth: exact neighbours in the full space",
    )
    headings = ["slice", "queries", "recall", "lower bound", "threshold"]
    for heading in [*headings, "reducer loses", "precision loses", "engine loses"]:
        table.add_column(heading, justify="left" if heading == "slice" else "right")
    for row in verdict["slices"]:
        table.add_row(
            row["slice"],
            str(row["queries"]),
            f"{row['recall']:.3f}",
            f"{row['lower_bound']:.3f}",
            f"{row['bound']:.2f}" if row["judged"] else "too few",
            f"{row['reducer_loss']:.3f}",
            f"{row['precision_loss']:.3f}",
            f"{row['engine_loss']:.3f}",
        )
    console.print(table)
    hits = verdict["wild_photos"]
    found = ", ".join(f"{name.replace('_', ' ')} {hits[name]:.2f}" for name in HITS if name in hits)
    console.print(
        f"A wild photo finds its own: {found or 'nothing to ask'}. "
        f"One search: p50 {verdict['latency_ms']['p50']} ms, p99 {verdict['latency_ms']['p99']} ms."
    )


def _show_queries(settings: Settings, day: date, url: str) -> None:
    rows, milliseconds = [], []
    with httpx.Client(base_url=url, timeout=30, headers=as_operator(settings)) as client:
        for item in _wild_items(settings, day):
            photo = (settings.root / item["image"]).read_bytes()
            started = time.perf_counter()
            answer = client.post("/v1/search", content=photo, params={"k": NEIGHBOURS})
            milliseconds.append(1000 * (time.perf_counter() - started))
            rows.append(_row(client, item, photo, answer.raise_for_status().json()))
    entry = champion(settings.root)
    sheet = draw_neighbours(
        rows,
        "Photos from the wild, and what search finds",
        f"Bundle {entry.bundle if entry else '?'} of {day}. Left: a photo that nothing was trained "
        f"on, with the box that was found in it and searched.",
    )
    path = settings.root / "neighbours.png"
    sheet.save(path)
    console.print(
        f"{len(rows)} photo searches over HTTP, median {np.median(milliseconds):.0f} ms. "
        f"[bold]Look at {path}[/]"
    )


def _wild_items(settings: Settings, day: date) -> list[dict[str, Any]]:
    """Wild photos that nothing was trained on, each of another category."""
    items = read_items(settings, day)
    wild = items.filter(
        pc.and_(pc.equal(items["kind"], "wild"), pc.equal(items["split"], "test"))
    ).sort_by("image_digest")
    first_of_leaf: dict[str, dict[str, Any]] = {}
    for item in wild.to_pylist():
        first_of_leaf.setdefault(item["category"].split(" > ")[1], item)
    return list(first_of_leaf.values())[:QUERIES]


def _row(client: httpx.Client, item: dict[str, Any], photo: bytes, answer: dict[str, Any]) -> Row:
    hits = []
    for hit in answer["hits"]:
        image = (
            client.get(f"/v1/items/{quote(hit['item_id'], safe='')}/image")
            .raise_for_status()
            .content
        )
        same = hit["product_id"] == item["product_id"]
        leaf = hit["category"] == item["category"]
        colour = SAME_PRODUCT if same else SAME_LEAF if leaf else OTHER
        name = hit["category"].split(" > ")[-1]
        photo_of_hit = Image.open(io.BytesIO(image))
        hits.append(Tile(photo_of_hit, hit["title"], f"{hit['score']:.3f}  {name}", colour))
    picture = to_rgb(Image.open(io.BytesIO(photo)))
    x, y, width, height = answer["searched"]["box"]
    ImageDraw.Draw(picture).rectangle((x, y, x + width, y + height), outline="white", width=2)
    query = Tile(picture, item["title"], item["category"].split(" > ")[-1])
    return Row(query, hits)


if __name__ == "__main__":
    main()
