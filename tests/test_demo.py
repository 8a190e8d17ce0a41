"""`make demo` on a small sample: two days through Airflow, then nothing left to do."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tiny_shop import DAY_1, DAY_2, HERE

from pipelines.sample import write_sample
from pipelines.server_process import free_port
from pipelines.step import STEPS
from serving.ledger import read_ledger

pytestmark = pytest.mark.slow

ITEMS = 1000  # enough that a product has wild photos to ask with and studio photos to find
RECIPE = """
[preprocess]
pixel_spec = "decode|orient|resize(32)|pad"
[train]
width = 8
blocks = [1, 1]
epochs = 2
[reduce]
dimensions = 8
[gate]
min_recall = 0.5
[review]
max_recall_drop = 0.2
max_leaf_drop = 0.5
max_slowdown = 1000
"""


def test_the_demo_runs_two_days_and_then_finds_nothing_to_do(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    write_sample(root / "sample", items=ITEMS)  # the demo draws what is not there
    config = tmp_path / "lookalike.toml"
    config.write_text(RECIPE)
    environment = {
        **os.environ,
        "LOOKALIKE_ROOT": str(root),
        "LOOKALIKE_CONFIG": str(config),
        "LOOKALIKE_SERVE__PORT": str(free_port()),
        "AIRFLOW_HOME": str(root / "airflow"),
    }

    first, second = demo(environment), demo(environment)
    done = reports(root)
    third = demo(environment)
    for day, number, shown in ((DAY_1, 1, first), (DAY_2, 2, second), (DAY_2, 2, third)):
        assert f"Feed of {day} (day {number} of the sample)" in shown
        assert f"Gate of {day}: passed" in shown
        assert re.search(r"\d photo searches over HTTP, median \d+ ms\.", shown)
    with Image.open(root / "neighbours.png") as sheet:
        assert (sheet.format, sheet.width > 2000) == ("PNG", True)
    assert list(done) == list(STEPS)
    assert reports(root) == done
    assert [(entry.action, entry.ds) for entry in read_ledger(root)] == [
        (action, day) for day in (DAY_1, DAY_2) for action in ("approve", "promote")
    ]


def demo(environment: dict[str, str]) -> str:
    """What it shows."""
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.demo"],
        cwd=HERE,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def reports(root: Path) -> dict[str, bytes]:
    """Of the second day; a step that does something writes another one."""
    return {step: (root / step / f"ds={DAY_2}" / "report.json").read_bytes() for step in STEPS}
