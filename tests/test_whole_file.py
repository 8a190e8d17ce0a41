"""A file is the old one or the new one, never a part, and nothing else stays beside it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.whole_file import write_atomically


def test_a_torn_file_is_never_visible(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_atomically(path, b"old")

    with pytest.raises(TypeError):
        write_atomically(path, None)  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_threads_may_write_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.json"
    texts = [b"%d" % number * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_atomically(path, text), texts))
    assert path.read_bytes() in texts
    assert list(path.parent.iterdir()) == [path]
