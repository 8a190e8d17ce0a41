"""What every benchmark ends with: a table for people, a JSON file for machines.

    make bench NAME=embed           # tests/bench/embed.py, minutes
    make bench NAME=embed QUICK=1   # the same peers, fewer rounds, a minute or two

A ratio is ours over the peer's (or over a limit of the machine), both from the same run. A goal
that is missed is a row that says so; the command still ends well.
"""

import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

BUILD = Path("build/bench")
FILE_WIDTH = 160  # characters
PACKAGES = ("keras", "tensorflow", "openvino", "onnxruntime", "scann", "numpy")


@dataclass(frozen=True)
class Row:
    """One figure beside one peer. `goal` is what the ratio should reach, from above or below."""

    figure: str
    unit: str
    ours: float
    peer: str = ""
    peer_value: float | None = None
    goal: float | None = None
    at_most: bool = False

    @property
    def ratio(self) -> float | None:
        return None if not self.peer_value else self.ours / self.peer_value

    @property
    def holds(self) -> bool | None:
        """Against the ratio, or without a peer against the figure itself."""
        value = self.ours if self.peer_value is None else self.ratio
        if self.goal is None or value is None:
            return None
        return value <= self.goal if self.at_most else value >= self.goal


def quick() -> bool:
    return os.environ.get("QUICK", "") not in ("", "0")


def interleaved(
    contenders: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
    """Each contender's figure, round by round, so that a busy machine slows all of them alike."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        names = list(contenders)
        for name in names if number % 2 == 0 else reversed(names):
            found[name].append(contenders[name]())
    return found


def median(values: Sequence[float]) -> float:
    return float(statistics.median(values))


def write(
    name: str, conditions: Mapping[str, Any], rows: Sequence[Row], tables: Sequence[Table] = ()
) -> Path:
    """Print `tables`, or one of `rows`, and write the rows to `build/bench/<name>.json`."""
    facts = {**machine(), "quick": quick(), **conditions}
    # Into a file as wide as the words need: rich takes 80 columns for what is no terminal.
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    for each in tables or [table(name, rows)]:
        console.print(each)
    for key, value in facts.items():
        Console(soft_wrap=True).print(f"  [dim]{key}: {value}[/]", highlight=False)
    BUILD.mkdir(parents=True, exist_ok=True)
    path = BUILD / f"{name}.json"
    path.write_text(json.dumps({"conditions": facts, "rows": [_plain(r) for r in rows]}, indent=1))
    return path


def table(name: str, rows: Sequence[Row]) -> Table:
    shown = Table(title=name, title_justify="left")
    for heading in ("figure", "ours", "unit", "peer", "theirs", "ratio", "goal", "holds"):
        words = heading in ("figure", "unit", "peer", "goal", "holds")
        shown.add_column(heading, justify="left" if words else "right")
    for row in rows:
        sign = "≤" if row.at_most else "≥"
        shown.add_row(
            row.figure,
            _number(row.ours),
            row.unit,
            row.peer,
            _number(row.peer_value),
            _number(row.ratio),
            "" if row.goal is None else f"{sign} {row.goal:g}",
            {None: "", True: "yes", False: "[bold]no[/]"}[row.holds],
        )
    return shown


def machine() -> dict[str, Any]:
    """The processor, its cores and the versions of what is measured."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.is_file() else []
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{model or platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "versions": {package: version(package) for package in PACKAGES},
    }


def _plain(row: Row) -> dict[str, Any]:
    return {**asdict(row), "ratio": row.ratio, "holds": row.holds}


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
