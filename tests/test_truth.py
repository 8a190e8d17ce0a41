"""Full-space truth is computed once, and never read for anything else."""

import os
from pathlib import Path

import numpy as np
import pytest

from model.reducer import unit
from pipelines import truth
from pipelines.truth import KEPT, Photos, Truth, full_truth
from serving.exact import ExactIndex

D = 12


def photos(seed: int, n: int) -> Photos:
    rng = np.random.default_rng(seed)
    vectors = unit(rng.normal(size=(n, D)).astype(np.float32))
    return Photos([f"{seed}-{row}" for row in range(n)], vectors)


ASKED, BASE = photos(1, 7), photos(2, 200)


def exact(asked: Photos, base: Photos, k: int) -> Truth:
    return Truth(*ExactIndex(base.vectors).search(asked.vectors, k))


def same(one: Truth, other: Truth) -> bool:
    return np.array_equal(one.rows, other.rows) and np.array_equal(one.scores, other.scores)


def files(root: Path) -> list[Path]:
    return sorted((root / truth.FOLDER).iterdir())


def nearer(base: Photos) -> Photos:
    """The same keys, but the row that was the farthest of the first query is now the query."""
    vectors = base.vectors.copy()
    vectors[(vectors @ ASKED.vectors[0]).argmin()] = ASKED.vectors[0]
    return Photos(base.keys, vectors)


def test_the_second_time_it_is_read(tmp_path: Path) -> None:
    first = full_truth(tmp_path, "space", ASKED, BASE, 10)
    assert same(first, exact(ASKED, BASE, 10))
    # Keys stand for photos: under the same ones nobody looks at what is far away.
    assert not same(exact(ASKED, nearer(BASE), 10), first)
    assert same(full_truth(tmp_path, "space", ASKED, nearer(BASE), 10), first)
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize(
    ("space", "asked", "base", "k"),
    [
        ("another", ASKED, BASE, 10),
        ("space", Photos([*ASKED.keys[:-1], "other"], ASKED.vectors), BASE, 10),
        ("space", Photos(ASKED.keys[:6], ASKED.vectors[:6]), BASE, 10),
        ("space", ASKED, Photos([*BASE.keys[:-1], "other"], BASE.vectors), 10),
        ("space", ASKED, Photos(BASE.keys[:50], BASE.vectors[:50]), 10),
        ("space", ASKED, BASE, 11),
        ("space", ASKED, BASE, 500),
    ],
)
def test_another_space_query_item_or_k_does_not_meet_it(
    tmp_path: Path, space: str, asked: Photos, base: Photos, k: int
) -> None:
    full_truth(tmp_path, "space", ASKED, BASE, 10)
    changed = nearer(base)
    assert same(full_truth(tmp_path, space, asked, changed, k), exact(asked, changed, k))
    assert len(files(tmp_path)) == 2


def test_keys_do_not_run_into_each_other(tmp_path: Path) -> None:
    """The last query is not the first item."""
    one = Photos([*ASKED.keys, BASE.keys[0]], np.vstack([ASKED.vectors, BASE.vectors[:1]]))
    other = Photos(BASE.keys[1:], BASE.vectors[1:])
    full_truth(tmp_path, "space", one, other, 3)
    full_truth(tmp_path, "space", ASKED, BASE, 3)
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "text"])
def test_a_damaged_file_is_computed_anew(tmp_path: Path, harm: str) -> None:
    first = full_truth(tmp_path, "space", ASKED, BASE, 10)
    (path,) = files(tmp_path)
    data = bytearray(path.read_bytes())
    data[300] ^= 255
    path.write_bytes(
        {"cut": data[:200], "flipped": data, "empty": b"", "text": b"no archive"}[harm]
    )
    assert same(full_truth(tmp_path, "space", ASKED, BASE, 10), first)
    with np.load(path, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["rows"], first.rows)


def test_embeddings_that_changed_under_their_keys_are_noticed(tmp_path: Path) -> None:
    full_truth(tmp_path, "space", ASKED, BASE, 10)
    other = Photos(BASE.keys, photos(3, 200).vectors)
    assert same(full_truth(tmp_path, "space", ASKED, other, 10), exact(ASKED, other, 10))


def test_no_query_and_no_item(tmp_path: Path) -> None:
    nobody, nothing = photos(4, 0), photos(5, 0)
    for _ in range(2):
        assert full_truth(tmp_path, "space", nobody, BASE, 10).rows.shape == (0, 10)
        assert full_truth(tmp_path, "space", ASKED, nothing, 10).scores.shape == (7, 0)


def test_the_newest_stay(tmp_path: Path) -> None:
    full_truth(tmp_path, "first", ASKED, BASE, 1)
    (oldest,) = files(tmp_path)
    os.utime(oldest, (1, 1))
    for number in range(KEPT):
        full_truth(tmp_path, f"space {number}", ASKED, BASE, 1)
    assert len(files(tmp_path)) == KEPT
    assert not oldest.exists()
