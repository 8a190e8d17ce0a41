"""A look at a whole day: it says which step is the first to do something, and does nothing."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from conftest import CopyShop
from tiny_shop import DAY_1, DAY_2, HERE, command, environment, forget, import_day_2, run_steps

from pipelines.look import ASKED, Look, look
from pipelines.settings import Gate, Reduce, Registry, Settings
from pipelines.step import Partition
from pipelines.train import checkpoints
from serving.ledger import LEDGER

TRAINING_ONLY = ("apache_beam", "cleanlab", "keras", "pandera", "tensorflow", "tf2onnx")


def files(settings: Settings) -> dict[Path, int]:
    """What there is, and when it was written; a lock is no output."""
    return {
        path: path.stat().st_mtime_ns
        for path in settings.root.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def test_a_day_that_is_done(shop: Settings) -> None:
    before = files(shop)
    assert look(shop, DAY_1) == Look(ds=DAY_1, first=None)
    assert files(shop) == before


@pytest.mark.parametrize(
    ("given", "first"),
    [
        ({"reduce": Reduce(dimensions=8)}, "reduce"),
        ({"gate": Gate(min_leaf_lift=0, min_recall=0.1)}, "gate"),
    ],
)
def test_other_settings(shop: Settings, given: dict[str, object], first: str) -> None:
    before = files(shop)
    assert look(shop.model_copy(update=given), DAY_1) == Look(ds=DAY_1, first=first)
    assert files(shop) == before


def test_what_is_missing_is_to_be_done(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    assert look(settings, DAY_2).first == "ingest"  # there is no feed: `ingest` says so itself
    import_day_2(settings)
    before = files(settings)
    assert look(settings, DAY_2).first == "ingest"
    assert files(settings) == before
    for step in reversed(ASKED):
        forget(settings, DAY_1, step)
        assert look(settings, DAY_1).first == step


def test_a_day_that_the_gate_refused_is_looked_at_again(shop_copy: CopyShop) -> None:
    settings = shop_copy(reduce=Reduce(dimensions=1), gate=Gate(min_leaf_lift=0, min_recall=1.0))
    run_steps(settings, DAY_1, ("reduce", "index"))
    assert command(settings, "gate", DAY_1).returncode == 3
    assert look(settings, DAY_1).first == "bundle"  # which the gate's verdict keeps from running


def test_a_candidate_that_nobody_has_decided_about_is_told_again(
    shop: Settings, shop_copy: CopyShop
) -> None:
    settings = shop_copy(registry=Registry(tracking_uri=shop.tracking_uri))
    assert look(settings, DAY_1).first is None
    (settings.root / LEDGER).unlink()
    assert look(settings, DAY_1).first == "register"


def test_a_training_that_is_under_way_keeps_its_checkpoints(
    shop: Settings, shop_copy: CopyShop
) -> None:
    settings = shop_copy(registry=Registry(tracking_uri=shop.tracking_uri))
    folder = checkpoints(settings, DAY_1)
    folder.mkdir(parents=True)
    assert look(settings, DAY_1).first is None
    assert folder.is_dir()


def test_the_command_needs_nothing_that_only_a_training_needs(shop: Settings) -> None:
    """It runs where the server does, and says so in its last line."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({TRAINING_ONLY}));"
        f"from datetime import datetime; from pipelines.look import main;"
        f"main(datetime({DAY_1.year}, {DAY_1.month}, {DAY_1.day}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=HERE, env=environment(shop), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1]) == {"ds": str(DAY_1), "first": None}


def test_every_step_is_asked(shop: Settings) -> None:
    assert ASKED[0] == "ingest"
    assert ASKED[-1] == "register"
    assert all(Partition(shop, step, DAY_1).report() for step in ASKED)
    assert look(shop, date(2020, 1, 1)).first == "ingest"
