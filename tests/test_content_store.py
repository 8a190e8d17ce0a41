"""Arrays kept by content: what is written comes back, and a torn shard is never seen."""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_shop import HERE

from model.errors import BadInput
from pipelines.content_store import ContentStore, shard_name

SHAPE = (2, 3)
COUNTS = st.lists(st.integers(0, 5), min_size=1, max_size=4)  # values in each shard


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store", SHAPE, "float32")


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def value(number: int) -> npt.NDArray[np.float32]:
    """Every value differs from every other in each place."""
    return np.arange(6, dtype=np.float32).reshape(SHAPE) + 10 * number


def write(store: ContentStore, numbers: list[int]) -> str:
    keys = [key(number) for number in numbers]
    name = shard_name(keys)
    values = [value(number) for number in numbers]
    store.write(name, keys, np.array(values, np.float32).reshape(-1, *SHAPE))
    return name


@given(counts=COUNTS, data=st.data())
def test_what_is_written_comes_back(counts: list[int], data: st.DataObject) -> None:
    """Any shards, empty ones too; any order and repetition of keys in a view."""
    total = sum(counts)
    edges = np.cumsum([0, *counts])
    groups = [list(range(a, b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    picks = st.lists(st.integers(0, total - 1), max_size=12) if total else st.just([])
    wanted: list[int] = data.draw(picks)
    with tempfile.TemporaryDirectory() as folder:
        store = ContentStore(Path(folder), SHAPE, "float32")
        names = [write(store, numbers) for numbers in groups]
        for name, numbers in zip(names, groups, strict=True):
            keys, values = store.read(name)
            assert keys == [key(number) for number in numbers]
            expected = np.array([value(n) for n in numbers], np.float32).reshape(-1, *SHAPE)
            np.testing.assert_array_equal(values, expected)
        view = store.view(names, [key(number) for number in wanted])
        expected = np.array([value(n) for n in wanted], np.float32).reshape(-1, *SHAPE)
        assert (len(view), view.shape, view.dtype) == (len(wanted), expected.shape, np.float32)
        np.testing.assert_array_equal(view[:], expected)


def test_a_view_keeps_order_and_repetition(store: ContentStore) -> None:
    names = [write(store, [0, 1, 2]), write(store, [3, 4])]
    view = store.view(names, [key(number) for number in (4, 0, 4, 2)])
    np.testing.assert_array_equal(view[:], [value(4), value(0), value(4), value(2)])
    np.testing.assert_array_equal(view[1:3], [value(0), value(4)])
    np.testing.assert_array_equal(view[np.array([3, 3, 0])], [value(2), value(2), value(4)])
    np.testing.assert_array_equal(view[np.array([], np.int64)], np.empty((0, *SHAPE)))


def test_rows_of_a_view_are_copies(store: ContentStore) -> None:
    name = write(store, [0])
    store.view([name], [key(0)])[:][:] = 99
    np.testing.assert_array_equal(store.read(name)[1], [value(0)])


def test_a_key_in_two_shards_is_found(store: ContentStore) -> None:
    names = [write(store, [0, 1]), write(store, [1, 2])]
    view = store.view(names, [key(1), key(0)])
    np.testing.assert_array_equal(view[:], [value(1), value(0)])


def test_a_lost_key_is_named(store: ContentStore) -> None:
    name = write(store, [0, 1])
    with pytest.raises(BadInput) as caught:
        store.view([name], [key(0), key(7), key(0)])
    assert str(caught.value) == (
        f"1 of 2 keys are in no shard of store, such as {key(7)[:16]}. "
        f"Run the step that writes them again."
    )


def test_a_shard_of_another_shape_is_refused(store: ContentStore) -> None:
    name = write(store, [0])
    other = ContentStore(store.folder, (4,), "uint8")
    with pytest.raises(BadInput) as caught:
        other.read(name)
    assert str(caught.value) == (
        f"Shard {name} holds arrays of another shape. Expected 4 bytes each. Found: 24."
    )


def test_values_that_are_not_of_the_keys_leave_no_shard(store: ContentStore) -> None:
    for values in (np.zeros((2, 3, 3), np.float32), np.zeros((3, *SHAPE), np.float32)):
        with pytest.raises((BadInput, ValueError)):
            store.write("shard", [key(0), key(1)], values)
    assert not list(store.folder.glob("*"))


def test_the_bytes_of_a_shard_depend_on_its_content_alone(
    store: ContentStore, tmp_path: Path
) -> None:
    other = ContentStore(tmp_path / "other", SHAPE, "float32")
    here, there = store.path(write(store, [0, 1])), other.path(write(other, [0, 1]))
    assert here.name == there.name
    assert here.read_bytes() == there.read_bytes()
    assert shard_name([key(0), key(1)]) != shard_name([key(1), key(0)])


def test_a_torn_shard_is_never_seen(store: ContentStore) -> None:
    """A process whose files may not grow past 4 KB writes a shard of 24 KB."""
    name = write(store, [0])
    code = f"""
import resource, numpy as np
from pathlib import Path
from pipelines.content_store import ContentStore
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
keys = [f"{{n:064x}}" for n in range(1000)]
store = ContentStore(Path({str(store.folder)!r}), {SHAPE}, "float32")
for shard in ("new", {name!r}):
    try:
        store.write(shard, keys, np.zeros((1000, *store.shape), np.float32))
    except OSError as error:
        print(shard, error.errno)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["new 27", f"{name} 27"]  # EFBIG
    assert [path.name for path in store.folder.iterdir()] == [f"{name}.arrow"]
    np.testing.assert_array_equal(store.read(name)[1], [value(0)])
