"""What the benchmark of scale counts as truth and as recall, and a whole run of it in small."""

from pathlib import Path

import numpy as np
import pytest

from model.reducer import unit
from serving.exact import ExactIndex
from tests.bench import scale
from tests.bench.scale import GOALS, K, Shop, Truth, recall, rows_of, sizes


def test_truth_is_that_of_the_exact_engine() -> None:
    rng = np.random.default_rng(0)
    base = unit(rng.normal(size=(2000, 8)).astype(np.float32))
    queries = unit(rng.normal(size=(40, 8)).astype(np.float32))
    truth = Truth.of(queries)
    for first in range(0, len(base), 300):
        truth.see(base[first : first + 300], first)
    np.testing.assert_array_equal(truth.rows, ExactIndex(base).search(queries, K)[0])


def test_recall_is_the_share_of_true_rows_found() -> None:
    truth = np.array([[1, 2], [3, 4]])
    assert recall(truth, truth) == 1.0
    assert recall(np.array([[2, 9, 1], [8, -1, -1]]), truth) == 0.5


def test_blocks_end_with_the_last_item() -> None:
    shop = Shop(70_000)
    lengths = [len(block) for block in shop.blocks([])]
    assert lengths == [65_536, 70_000 - 65_536]


def test_queries_are_of_indexed_and_of_new_products() -> None:
    shop = Shop(70_000)
    queries = shop.queries(64, salt=1)
    assert queries.shape == (64, 96)
    assert not np.allclose(queries, shop.queries(64, salt=2))


def test_sizes_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIZES", "2e5,50000000")
    assert sizes() == [200_000, 50_000_000]
    monkeypatch.delenv("SIZES")
    monkeypatch.setenv("QUICK", "1")
    assert sizes() == [200_000]
    monkeypatch.setenv("QUICK", "0")
    assert sizes() == [1_000_000, 10_000_000]


def test_the_goals_of_time_are_those_of_fifty_million() -> None:
    figures = (
        "build minutes",
        "drawing minutes",
        "build GB",
        "search GB",
        "bytes",
        "recall",
        "loss",
    )
    limits = ("speed", "limit by bytes", "limit by operations", "processor us", "p99 ms")
    found = dict.fromkeys((*figures, *limits), 1.0)
    small, whole = (
        [row.goal for row in rows_of(items, found)] for items in (1_000_000, 50_000_000)
    )
    assert [goal for goal in small if goal] == [GOALS["bytes"], 0.9, GOALS["loss"]]
    assert [goal for goal in whole if goal] == [30.0, 12.0, 12.0, 230.0, 0.9, 0.01, 2000.0, 100.0]


@pytest.mark.slow
def test_a_whole_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "BUILD", tmp_path)
    found = scale.measure(Shop(66_000))
    assert found["recall"] >= 0.9
    assert found["bytes"] < 230
    assert all(value > 0 for name, value in found.items() if name != "loss")
