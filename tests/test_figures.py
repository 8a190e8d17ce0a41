"""The benchmark's format: ratios, goals that hold or not, the JSON beside the table."""

import json
from pathlib import Path

import pytest

from tests.bench import figures
from tests.bench.figures import Row, interleaved, write


def test_a_ratio_is_ours_over_the_peers() -> None:
    fast = Row("embed", "photos/s", 480.0, "keras predict", 100.0, goal=4.0)
    slow = Row("embed", "photos/s", 390.0, "keras predict", 100.0, goal=4.0)
    assert (fast.ratio, fast.holds) == (4.8, True)
    assert (slow.ratio, slow.holds) == (3.9, False)


def test_a_goal_can_be_an_upper_bound_or_have_no_peer() -> None:
    assert Row("time", "s", 36.0, "keras fit", 400.0, goal=0.1, at_most=True).holds is True
    assert Row("time", "s", 44.0, "keras fit", 400.0, goal=0.1, at_most=True).holds is False
    alone = Row("leaf top-1", "share", 0.71, goal=0.70)
    assert (alone.ratio, alone.holds) == (None, True)
    assert Row("memory", "MB", 812.0).holds is None


def test_contenders_take_turns() -> None:
    order: list[str] = []

    def contender(name: str) -> float:
        order.append(name)
        return float(len(order))

    found = interleaved({"a": lambda: contender("a"), "b": lambda: contender("b")}, 3)
    assert "".join(order) == "abbaab"
    assert found == {"a": [1.0, 4.0, 5.0], "b": [2.0, 3.0, 6.0]}


def test_the_table_is_printed_and_the_json_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures, "BUILD", tmp_path / "bench")
    monkeypatch.setenv("QUICK", "1")
    rows = [Row("embed", "photos/s", 50.0, "keras predict", 25.0, goal=4.0), Row("bytes", "B", 7.0)]
    path = write("embed", {"rounds": 5}, rows)
    written = json.loads(path.read_bytes())
    assert written["rows"] == [
        {
            "figure": "embed",
            "unit": "photos/s",
            "ours": 50.0,
            "peer": "keras predict",
            "peer_value": 25.0,
            "goal": 4.0,
            "at_most": False,
            "ratio": 2.0,
            "holds": False,
        },
        {
            "figure": "bytes",
            "unit": "B",
            "ours": 7.0,
            "peer": "",
            "peer_value": None,
            "goal": None,
            "at_most": False,
            "ratio": None,
            "holds": None,
        },
    ]
    conditions = written["conditions"]
    assert (conditions["rounds"], conditions["quick"]) == (5, True)
    assert set(conditions) == {"date", "machine", "versions", "quick", "rounds"}
    shown = capsys.readouterr().out
    assert "keras predict" in shown
    assert "≥ 4" in shown
    assert "no" in shown
