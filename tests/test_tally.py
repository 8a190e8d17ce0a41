"""Answers counted by outcome, with the times of the latest."""

from concurrent.futures import ThreadPoolExecutor

from serving.tally import KEPT, OUTCOMES, Tally


def test_nothing_yet() -> None:
    assert Tally().facts() == {
        "answered": 0, "empty": 0, "unknown": 0, "failed": 0, "p50_ms": None, "p99_ms": None,
    }  # fmt: skip


def test_counts_and_milliseconds() -> None:
    tally = Tally()
    for hundredths in range(1, 102):
        tally.add("answered", hundredths / 100)
    tally.add("empty", 0.51)
    tally.add("failed")
    tally.add("unknown")
    assert tally.facts() == {
        "answered": 101, "empty": 1, "unknown": 1, "failed": 1, "p50_ms": 510.0, "p99_ms": 999.9,
    }  # fmt: skip


def test_only_the_latest_times_count() -> None:
    tally = Tally()
    for _ in range(100):
        tally.add("answered", 9.0)
    for _ in range(KEPT):
        tally.add("answered", 1.0)
    assert tally.facts() == {
        "answered": KEPT + 100, "empty": 0, "unknown": 0, "failed": 0,
        "p50_ms": 1000.0, "p99_ms": 1000.0,
    }  # fmt: skip


def test_several_threads_lose_no_count() -> None:
    tally = Tally()
    with ThreadPoolExecutor(8) as pool:
        for number in range(4000):
            pool.submit(tally.add, OUTCOMES[number % 4])
    assert [tally.facts()[outcome] for outcome in OUTCOMES] == [1000] * 4
