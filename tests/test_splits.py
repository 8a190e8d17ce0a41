"""Splits hold whole groups, keep what was decided and follow the shares."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.splits import NAMES, assign

SHARES = (0.1, 0.1)
OWN = st.sampled_from([None, *NAMES])


def test_a_given_split_stays_and_its_group_follows() -> None:
    groups = np.array([1, 1, 2, 2])
    assert assign(groups, ["a", "a", "b", "c"], ["val", None, None, "test"], SHARES) == [
        "val",
        "val",
        "test",
        "test",
    ]


def test_in_a_clash_the_most_held_out_split_wins() -> None:
    own = ["train", "val", "test", "none", None]
    assert assign(np.ones(5, np.int64), list("abcde"), own, SHARES) == [
        "none",
        "none",
        "test",
        "none",
        "test",
    ]


def test_an_undecided_group_goes_by_its_smallest_product() -> None:
    names = [f"product-{n}" for n in range(2000)]
    alone = assign(np.arange(2000), names, [None] * 2000, SHARES)
    counts = {name: alone.count(name) for name in NAMES}
    assert counts == {"none": 0, "train": 1596, "val": 204, "test": 200}
    joined = assign(np.arange(2000) // 2, names, [None] * 2000, SHARES)
    assert (
        joined[0::2]
        == joined[1::2]
        == [alone[min(n, n + 1, key=lambda m: names[m])] for n in range(0, 2000, 2)]
    )


def test_shares_may_be_none_or_all() -> None:
    assert assign(np.arange(3), list("abc"), [None] * 3, (0, 0)) == ["train"] * 3
    assert assign(np.arange(3), list("abc"), [None] * 3, (1, 0)) == ["val"] * 3
    assert assign(np.arange(0), [], [], SHARES) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abcdef"), OWN), max_size=20))
def test_no_group_straddles_and_a_second_run_changes_nothing(
    rows: list[tuple[int, str, str | None]],
) -> None:
    groups = np.array([group for group, _, _ in rows], np.int64)
    products = [product for _, product, _ in rows]
    splits = assign(groups, products, [own for _, _, own in rows], SHARES)
    for group in set(groups.tolist()):
        members = {split for number, split in zip(groups, splits, strict=True) if number == group}
        assert len(members - {"none"}) <= 1
    assert all(
        split in (own, "none") for split, (_, _, own) in zip(splits, rows, strict=True) if own
    )
    assert assign(groups, products, splits, SHARES) == splits
