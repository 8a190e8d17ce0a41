"""Every item in the index, once, with its own photo's vector; or how many are not."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from model.reducer import Reducer, unit
from pipelines.integrity import (
    differing,
    missing_items,
    own_photos,
    repeated_items,
    self_match,
    unknown_items,
    wrong_vectors,
)
from serving.exact import ExactIndex
from serving.index import Vectors


def table(ids: str, *, kind: str = "catalogue") -> pa.Table:
    """Items named by letters; upper-case ones are of category `Up`."""
    return pa.table(
        {
            "item_id": pa.array(list(ids), pa.string()),
            "pixel_key": pa.array([f"photo {name}" for name in ids], pa.string()),
            "category": pa.array(["Up" if name.isupper() else "Low" for name in ids], pa.string()),
            "kind": pa.array([kind for _ in ids], pa.string()),
        }
    )


def drawn(seed: int, n: int, d: int = 6) -> Vectors:
    return unit(np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32))


@given(st.text("abcdEFGH"), st.text("abcdEFGH"))
def test_items_are_counted_as_sets_are(listed: str, indexed: str) -> None:
    catalogue = pa.concat_tables([table("".join(sorted(set(listed)))), table("xyz", kind="wild")])
    items = table(indexed)
    lost = set(listed) - set(indexed)
    expected = {"Low": sum(n.islower() for n in lost), "Up": sum(n.isupper() for n in lost)}
    assert missing_items(catalogue, items) == {name: n for name, n in expected.items() if n}
    assert unknown_items(catalogue, items) == sum(name not in listed for name in indexed)
    assert repeated_items(items) == len(indexed) - len(set(indexed))


def test_a_wild_photo_is_no_item_of_the_index() -> None:
    catalogue = pa.concat_tables([table("ab"), table("x", kind="wild")])
    assert unknown_items(catalogue, table("abx")) == 1
    assert missing_items(catalogue, table("ab")) == {}


def test_an_item_has_the_photo_that_the_catalogue_gives_it() -> None:
    items = table("ba?").set_column(1, "pixel_key", [["wrong", "photo a", "its own"]])
    assert own_photos(table("abc"), items) == ["photo b", "photo a", "its own"]


def test_vectors_are_compared_row_by_row() -> None:
    full = drawn(0, 50)
    reducer = Reducer(drawn(1, 6, 4), np.ones(4, np.float32))
    right = reducer(full)
    assert wrong_vectors(right, full, reducer) == 0
    assert wrong_vectors(right[np.r_[1, 0, 2:50]], full, reducer) == 2
    zeroed = right.copy()
    zeroed[:7] = 0
    assert wrong_vectors(zeroed, full, reducer) == 7
    zeroed[:7] = np.nan
    assert wrong_vectors(zeroed, full, reducer) == 7
    assert wrong_vectors(right[:0], full[:0], reducer) == 0


def test_rounding_is_no_difference() -> None:
    vectors = drawn(2, 100, 64)
    noise = np.random.default_rng(3).normal(size=vectors.shape).astype(np.float32)
    assert differing(vectors, unit(vectors + 1e-4 * noise)) == 0
    assert differing(vectors, unit(vectors + 1e-1 * noise)) == 100
    assert differing(np.zeros((3, 4), np.float32), np.zeros((3, 4), np.float32)) == 0


def test_an_item_that_the_engine_lacks_is_counted_in_its_category() -> None:
    base = drawn(4, 40, 16)
    leaves = ["Low"] * 30 + ["Up"] * 10
    assert self_match(ExactIndex(base), base, leaves, 10) == (1.0, 1.0, {})
    indexed = base.copy()
    indexed[[0, 35, 36]] = base[1]
    coverage, own, lost = self_match(ExactIndex(indexed), base, leaves, 10)
    assert (coverage, own) == (37 / 40, 36 / 40)  # row 1 is found, behind what looks like it
    assert lost == {"Low": (1, 30), "Up": (2, 10)}


def test_an_equal_item_counts_and_zeros_do_not() -> None:
    base = drawn(5, 20, 16)
    base[3] = base[4]
    base[7] = 0
    coverage, own, lost = self_match(ExactIndex(base), base, ["A"] * 20, 10)
    assert (coverage, own, lost) == (0.95, 0.95, {"A": (1, 20)})
