"""Laps follow each other without a gap."""

import time

import pytest

from serving.stopwatch import Stopwatch


def test_laps_add_up_to_the_time_that_went_by() -> None:
    started = time.perf_counter()
    watch = Stopwatch()
    for stage, seconds in (("decode", 0.01), ("embed", 0.03)):
        time.sleep(seconds)
        watch.lap(stage)
    passed = time.perf_counter() - started
    assert list(watch.laps) == ["decode", "embed"]
    assert watch.laps["decode"] >= 0.01
    assert watch.laps["embed"] >= 0.03
    assert sum(watch.laps.values()) == pytest.approx(passed, abs=0.005)
