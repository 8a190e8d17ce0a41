"""What all steps share: fingerprint, staging, one atomic commit, a report beside every output.

    <root>/<step>/ds=2026-11-20/<fingerprint>/...   the output
    <root>/<step>/ds=2026-11-20/report.json         names the output; its rename is the commit

A step that is killed leaves the old report and its output, or the new ones. The same inputs give
the same fingerprint, and a step whose fingerprint is already there returns at once.
"""

import fcntl
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from pydantic import BaseModel, ConfigDict

from model.errors import BadInput, LookalikeError, Refused
from pipelines.settings import Settings, load_settings
from serving.whole_file import sync, write_atomically

STEPS = (
    "ingest", "preprocess", "train", "embed", "localise", "reduce", "index", "gate", "bundle",
    "bless", "evidence", "register", "review", "promote", "prune",
    "collect",
)  # fmt: skip
REPORT = "report.json"
EXIT_CODES: dict[type[Exception], int] = {
    Refused: 3,  # a gate or a release rule said no: never try again
    LookalikeError: 65,  # bad or damaged data, as sysexits.h EX_DATAERR: never try again
    OSError: 75,  # disk, network, as EX_TEMPFAIL: try again
}
CODE_VERSION = 2  # raise it when a step's output changes for the same inputs

log = structlog.get_logger()


class Report(BaseModel):
    """What a step did; the same record is shown by Airflow, MLflow and the terminal."""

    model_config = ConfigDict(frozen=True)

    step: str
    ds: date
    fingerprint: str
    digest: str  # of the output's files
    rows: int
    seconds: float
    bytes: int
    inputs: dict[str, str]
    details: dict[str, Any]
    reused: bool = False

    def line(self) -> str:
        took = "unchanged" if self.reused else f"{self.seconds:7.1f} s"
        facts = ", ".join(
            f"{name} {value}" for name, value in self.details.items() if _is_brief(value)
        )
        return f"{self.step:<11}{took:>11}  {self.rows:>8} rows  {facts}"


@dataclass(frozen=True)
class Outcome:
    """What the body of a step returns: rows written and facts for the report."""

    rows: int
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Partition:
    """One step's place for one day."""

    settings: Settings
    step: str
    ds: date

    @property
    def folder(self) -> Path:
        return self.settings.root / self.step / f"ds={self.ds.isoformat()}"

    def report(self) -> Report | None:
        try:
            return Report.model_validate_json((self.folder / REPORT).read_bytes())
        except FileNotFoundError:
            return None

    def done(self) -> Report:
        """The report, or BadInput that says which step must run first."""
        report = self.report()
        if report is None:
            raise BadInput(
                f"Step `{self.step}` has no output for {self.ds}. "
                f"Run it first: python -m pipelines.{self.step} --ds {self.ds}"
            )
        return report

    @property
    def output(self) -> Path:
        return self.folder / self.done().fingerprint


class Looked(Exception):
    """A step was only asked whether it has something to do."""

    def __init__(self, *, would_run: bool) -> None:
        super().__init__()
        self.would_run = would_run


_only_looking: ContextVar[bool] = ContextVar("_only_looking", default=False)


@contextmanager
def only_looking() -> Iterator[None]:
    """Here no step does anything, or waits for one that does: `run_step` raises Looked."""
    token = _only_looking.set(True)
    try:
        yield
    finally:
        _only_looking.reset(token)


def run_step(
    settings: Settings,
    step: str,
    ds: date,
    *,
    inputs: Mapping[str, str],
    body: Callable[[Path], Outcome],
    intact: Callable[[Path], bool] = lambda output: True,
) -> Report:
    """Run `body` into a staging folder and commit it, unless these inputs are done already.

    `inputs` names every digest and setting that the output depends on; `intact` says whether what
    an output refers to outside its folder is still there. Raises Looked where `only_looking`.
    """
    partition = Partition(settings, step, ds)
    fingerprint = digest_of({"step": step, "code": CODE_VERSION, **inputs})
    output = partition.folder / fingerprint

    def found() -> Report | None:
        done = partition.report()
        same = done is not None and done.fingerprint == fingerprint
        return done if same and output.is_dir() and intact(output) else None

    if _only_looking.get():
        raise Looked(would_run=found() is None)
    with locked(settings.root / "locks" / f"{step}-{ds}.lock"):
        done = found()
        if done is not None:
            log.info("step.unchanged", step=step, ds=str(ds), fingerprint=fingerprint)
            return done.model_copy(update={"reused": True})
        started = time.monotonic()
        with staging(settings.root, f"{step}-{ds}") as folder:
            outcome = body(folder)
            replace_folder(folder, output)
        report = Report(
            step=step,
            ds=ds,
            fingerprint=fingerprint,
            digest=digest_of(file_digests(output)),
            rows=outcome.rows,
            seconds=round(time.monotonic() - started, 3),
            bytes=sum(p.stat().st_size for p in files_below(output)),
            inputs=dict(inputs),
            details=outcome.details,
        )
        write_atomically(partition.folder / REPORT, report.model_dump_json(indent=1).encode())
        _drop_former(partition.folder, keep=fingerprint)
    log.info("step.done", step=step, ds=str(ds), rows=report.rows, seconds=report.seconds)
    return report


def command(run: Callable[[Settings, date], Report]) -> None:
    """The command line of a step: `python -m pipelines.<step> --ds 2026-11-20`.

    The last line of standard output is the report as JSON. Exit codes tell an orchestrator what
    another try is worth; see EXIT_CODES.
    """

    def main(
        ds: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day to work on.")],
    ) -> None:
        with exit_codes():
            report = run(load_settings(), ds.date())
            sys.stderr.write(report.line() + "\n")
            sys.stdout.write(report.model_dump_json() + "\n")

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn our own errors into one clear line and an exit code."""
    try:
        yield
    except (LookalikeError, OSError) as error:
        code = next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        raise SystemExit(code) from error
    except Exception as error:
        # By name: importing MLflow for its exception would cost every step five seconds.
        if not type(error).__module__.startswith("mlflow."):
            raise
        sys.stderr.write(f"The registry failed: {error}\n")
        raise SystemExit(EXIT_CODES[OSError]) from error


def previous_day(settings: Settings, step: str, ds: date) -> Partition | None:
    """The newest partition of `step` before `ds`."""
    before = [day for day in days_of(settings, step) if day < ds]
    return Partition(settings, step, before[-1]) if before else None


def made_from(
    settings: Settings, step: str, ds: date, inputs: Mapping[str, str]
) -> Partition | None:
    """The newest partition of `step` up to `ds` that has these inputs, whatever its others are.

    The day itself counts: done again, it keeps what it made for the same embedder.
    """
    for day in reversed(days_of(settings, step)):
        partition = Partition(settings, step, day)
        known = partition.done().inputs
        same = all(known.get(name) == value for name, value in inputs.items())
        if day <= ds and same and partition.output.is_dir():
            return partition
    return None


def days_of(settings: Settings, step: str) -> list[date]:
    """The days that `step` has done, the newest last."""
    return sorted(
        date.fromisoformat(folder.name.removeprefix("ds="))
        for folder in (settings.root / step).glob("ds=*")
        if (folder / REPORT).is_file()
    )


def digest_of(value: object) -> str:
    """Hex digest of a JSON value; 16 digits are enough to tell outputs apart."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): file_digest(path) for path in files_below(folder)}


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def replace_folder(source: Path, target: Path) -> None:
    """Move `source` to `target`; a leftover of a killed run there is removed first."""
    flush(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        shutil.rmtree(target)
    source.rename(target)
    flush(target.parent)


def flush(folder: Path) -> None:
    """Bring a folder and the files in it to the disk, so that a power cut cannot empty them."""
    for path in [
        *files_below(folder),
        *(each for each in folder.rglob("*") if each.is_dir()),
        folder,
    ]:
        sync(path)


@contextmanager
def staging(root: Path, name: str) -> Iterator[Path]:
    """An empty folder on the root's disk; gone afterwards, also what a killed run left of it."""
    folder = root / "staging" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_locked(path: Path) -> bool:
    """Does another process hold the lock file now?"""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; the kernel lets go of it when the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _drop_former(folder: Path, keep: str) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != keep:
            shutil.rmtree(entry, ignore_errors=True)


def _is_brief(value: object) -> bool:
    return isinstance(value, str | int | float | bool) and len(str(value)) <= 60
