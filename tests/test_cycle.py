"""A day as one command: the steps in order, each in its own process, and only the day's work."""

import time
from pathlib import Path
from typing import Any

import pytest
from conftest import CopyShop
from tiny_shop import DAY_1, DAY_2, environment, import_day_2

from pipelines.cycle import StepFailed, run_day
from pipelines.settings import Settings
from pipelines.step import STEPS, Partition

CHEAP = ("ingest", "embed", "reduce")


@pytest.fixture
def as_configured(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The child processes read the settings of a shop from the environment."""

    def configure(settings: Settings) -> Settings:
        for name, value in environment(settings).items():
            monkeypatch.setenv(name, value)
        return settings

    return configure


def test_what_is_done_is_not_done_again(shop: Settings, as_configured: Any) -> None:
    reports = run_day(as_configured(shop), DAY_1, CHEAP)
    assert reports == [
        Partition(shop, step, DAY_1).done().model_copy(update={"reused": True}) for step in CHEAP
    ]


def test_a_step_that_fails_ends_the_day(tmp_path: Path, as_configured: Any) -> None:
    settings = as_configured(Settings(root=tmp_path))
    with pytest.raises(StepFailed) as caught:
        run_day(settings, DAY_1)
    assert str(caught.value) == (
        "Step `ingest` ended with exit code 65; its message is above. "
        "`lookalike status` says what serves."
    )
    assert caught.value.code == 65
    assert not (tmp_path / "preprocess").exists()


def test_the_second_day_does_the_work_of_the_second_day(two_days: Settings) -> None:
    """Rows that each step touched: 330 items, of which 3 have a photo that was not there before."""
    first, second = (
        {step: Partition(two_days, step, ds).done() for step in STEPS} for ds in (DAY_1, DAY_2)
    )
    assert [
        {
            "ingest": day["ingest"].details["new"] + day["ingest"].details["changed"],
            "preprocess": day["preprocess"].details["decoded"],
            "train": 0 if day["train"].details["kept"] else day["train"].rows,
            "embed": day["embed"].rows,
            "reduce": day["reduce"].rows,
        }
        for day in (first, second)
    ] == [
        {"ingest": 329, "preprocess": 326, "train": 286, "embed": 326, "reduce": 326},
        {"ingest": 3, "preprocess": 3, "train": 0, "embed": 3, "reduce": 0},
    ]
    assert second["index"].rows == first["index"].rows + 2 - 1  # two new, one deleted


@pytest.mark.slow
def test_a_day_by_commands_is_a_day(shop_copy: CopyShop, as_configured: Any) -> None:
    settings = as_configured(shop_copy())
    import_day_2(settings)
    reports = run_day(settings, DAY_2)
    assert [report.step for report in reports] == list(STEPS)
    assert not any(report.reused for report in reports)
    assert reports == [Partition(settings, step, DAY_2).done() for step in STEPS]
    started = time.monotonic()
    again = run_day(settings, DAY_2)
    seconds = time.monotonic() - started
    assert again == [report.model_copy(update={"reused": True}) for report in reports]
    assert seconds < 60  # ten processes that import and look
