"""A shop on one machine has an operator's key from its first start on, for its owner alone."""

import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.operator_key import as_operator, make_operator_key, operator_keys
from pipelines.server_environment import server_environment
from pipelines.settings import Serve, Settings
from serving.keys import read_pairs


def test_the_file_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: make_operator_key(root), range(8)))
    assert paths == {root / "operator.key"} == set(root.iterdir())
    (path,) = paths
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert re.fullmatch(r"operator:[\w-]{43}\n", text)
    ((name, secret),) = read_pairs(text)
    assert name == "operator"
    make_operator_key(root)
    assert path.read_text() == text
    assert as_operator(Settings(root=root)) == {"Authorization": f"Bearer {secret}"}


def test_without_a_key_there_is_none(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    assert operator_keys(settings) is None
    assert as_operator(settings) == {}
    assert server_environment(settings) == {
        "LOOKALIKE_ROOT": str(tmp_path),
        "LOOKALIKE_SERVE__HOST": "127.0.0.1",
        "LOOKALIKE_SERVE__PORT": "3000",
        "LOOKALIKE_SERVE__POLL_SECONDS": "0.25",
        "LOOKALIKE_SERVE__TIMEOUT_SECONDS": "30",
        "LOOKALIKE_SERVE__REQUEST_BURST": "200",
        "LOOKALIKE_SERVE__SAMPLE_QUERIES": "0.0",
    }


def test_a_set_key_wins_over_the_file(tmp_path: Path) -> None:
    make_operator_key(tmp_path)
    pairs = f"ada:{'a' * 30},bob:{'b' * 30}"
    serve = Serve.model_validate({"operator_keys": pairs, "search_keys": f"shop:{'c' * 30}"})
    settings = Settings(root=tmp_path, serve=serve)
    assert as_operator(settings) == {"Authorization": f"Bearer {'a' * 30}"}
    environment = server_environment(settings)
    assert environment["LOOKALIKE_SERVE__OPERATOR_KEYS"] == pairs
    assert environment["LOOKALIKE_SERVE__SEARCH_KEYS"] == f"shop:{'c' * 30}"
    assert "a" * 30 not in repr(settings)


def test_an_unreadable_key_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "operator.key").mkdir()
    with pytest.raises(OSError, match="operator.key"):
        operator_keys(Settings(root=tmp_path))
