"""Ranking labels that are likely wrong: planted ones are found, judged ones stay away."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import suspects
from model.errors import BadInput
from model.suspects import Array, Ids, Listings, Rows, find_suspects

LEAVES, VIEWS = 8, 3


def shop(seed: int, products: int = 160, spread: float = 0.5) -> tuple[Array, Ids, Rows]:
    """Embeddings, true leaves and groups of products with three views each."""
    rng = np.random.default_rng(seed)
    leaf = np.arange(products) % LEAVES
    centres = np.random.default_rng(0).normal(size=(LEAVES, 10))
    looks = centres[leaf] + spread * rng.normal(size=(products, 10))
    views = looks.repeat(VIEWS, axis=0) + 0.1 * rng.normal(size=(products * VIEWS, 10))
    group = np.arange(products, dtype=np.int64).repeat(VIEWS)
    return views.astype(np.float32), leaf.repeat(VIEWS).astype(np.int32), group


def with_wrong(leaf: Ids, group: Rows, wrong: list[int]) -> Ids:
    """Products sold under the next leaf."""
    return np.where(np.isin(group, wrong), (leaf + 1) % LEAVES, leaf).astype(np.int32)


def test_planted_labels_come_first() -> None:
    embeddings, leaf, group = shop(1)
    wrong = [3, 44, 45, 80, 101, 150, 151, 152]  # 5 % of the products
    found = find_suspects(embeddings, with_wrong(leaf, group, wrong), group)
    planted = len(wrong) * VIEWS
    assert set(group[found.rows[:planted]].tolist()) == set(wrong)
    np.testing.assert_array_equal(found.likely[:planted], leaf[found.rows[:planted]])
    assert (np.diff(found.score) >= 0).all()
    np.testing.assert_array_equal(found.rank[:planted], np.arange(1, 9).repeat(VIEWS))
    assert (found.rows.dtype, found.likely.dtype, found.score.dtype, found.rank.dtype) == (
        np.int64, np.int32, np.float32, np.int64,
    )  # fmt: skip


def test_most_of_the_first_are_wrong_where_leaves_overlap() -> None:
    """Of as many suspects as there are wrong labels at least 80 %; of the first half, more."""
    embeddings, leaf, group = shop(2, products=800, spread=0.9)
    wrong = np.random.default_rng(3).choice(800, 40, replace=False)
    found = find_suspects(embeddings, with_wrong(leaf, group, wrong.tolist()), group)
    hit = np.isin(group[found.rows], wrong)
    planted = len(wrong) * VIEWS
    assert hit[:planted].mean() > 0.8
    assert hit[: planted // 2].mean() > 0.95


def test_a_leaf_of_one_product_is_not_judged() -> None:
    """Nothing else speaks for it, nor against it."""
    embeddings, leaf, group = shop(4)
    given = np.where(group == 5, LEAVES, leaf).astype(np.int32)
    assert 5 not in group[find_suspects(embeddings, given, group).rows]


def test_views_of_a_product_do_not_vouch_for_each_other() -> None:
    """A third of a small leaf are views of one wrong product; they would be right by themselves."""
    embeddings, leaf, group = shop(4)
    new = np.isin(group, [50, 51])
    embeddings[new] = 4 + 0.1 * embeddings[new]
    given = np.where(new | (group == 5), LEAVES, leaf).astype(np.int32)
    found = find_suspects(embeddings, given, group)
    assert group[found.rows[:VIEWS]].tolist() == [5] * VIEWS
    assert found.likely[0] == leaf[group == 5][0]


def test_judged_labels_do_not_come_back() -> None:
    embeddings, leaf, group = shop(5)
    given = with_wrong(leaf, group, [10, 20, 30])
    before = find_suspects(embeddings, given, group)
    assert {10, 20, 30} <= set(group[before.rows].tolist())
    one_view = np.zeros(len(leaf), bool)
    one_view[np.flatnonzero(group == 10)[1]] = True
    after = find_suspects(embeddings, given, group, right=one_view, wrong=group == 30)
    assert set(group[before.rows].tolist()) - set(group[after.rows].tolist()) >= {10, 30}
    assert 20 in group[after.rows]


def test_wrong_labels_are_not_learnt_from() -> None:
    """Half of a leaf is of another: until a person says so, that leaf is what it holds."""
    embeddings, leaf, group = shop(6)
    stray = np.flatnonzero((leaf == 1) & (group < 120))
    given = leaf.copy()
    given[stray] = 0
    rest = np.isin(group, group[stray][-VIEWS:])  # the last of them, not judged yet
    judged = np.isin(np.arange(len(leaf)), stray) & ~rest
    blind, told = (find_suspects(embeddings, given, group, wrong=w) for w in (None, judged))
    place = [np.flatnonzero(rest[found.rows]) for found in (blind, told)]
    assert len(place[1]) == VIEWS
    assert told.score[place[1]].max() < 0.01
    assert len(place[0]) == 0 or blind.score[place[0]].min() > told.score[place[1]].max()


def test_large_shops_are_judged_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, leaf, group = shop(7)
    given = with_wrong(leaf, group, [1, 51, 111])
    monkeypatch.setattr(suspects, "MAX_ODDS", 60 * LEAVES)
    found = find_suspects(embeddings, given, group)
    assert set(group[found.rows[: 3 * VIEWS]].tolist()) == {1, 51, 111}


@pytest.mark.parametrize(("photos", "leaves"), [(0, 1), (1, 1), (1, 2), (2, 2), (6, 1), (6, 6)])
def test_where_nothing_can_be_said_nothing_is(photos: int, leaves: int) -> None:
    leaf = (np.arange(photos) % leaves).astype(np.int32)
    found = find_suspects(np.ones((photos, 3), np.float32), leaf, np.arange(photos))
    assert (len(found), found.rows.shape) == (0, (0,))


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 40))
def test_any_labels_can_be_judged(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    leaf, group = rng.integers(0, 5, n).astype(np.int32) * 7, rng.integers(0, n, n)
    vectors = rng.normal(size=(n, 4)).astype(np.float32) * rng.integers(0, 2, (n, 1))
    found = find_suspects(vectors.astype(np.float32), leaf, group)
    assert len(set(found.rows.tolist())) == len(found)
    assert np.isin(found.likely, leaf).all()
    assert ((found.score >= 0) & (found.score <= 1)).all()
    assert (found.likely != leaf[found.rows]).all()


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_a_leaf_of_two_products_lies_in_two_folds(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 20, n)
    leaf = group % 6  # a group of one leaf
    listings = Listings.of(rng.normal(size=(n, 2)).astype(np.float32), leaf, group)
    for each in np.unique(leaf):
        folds = listings.fold[listings.leaf == each]
        assert len(set(folds.tolist())) == min(len(folds), suspects.FOLDS)
    assert len(np.unique(np.stack([group, listings.of_photo]), axis=1).T) == len(np.unique(group))


def test_a_group_of_two_leaves_lies_in_one_fold() -> None:
    group = np.array([0, 0, 1, 1, 2, 3])
    leaf = np.array([0, 1, 1, 1, 0, 1])
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    listings = Listings.of(rows, leaf, group)
    assert listings.of_photo.tolist() == [0, 1, 2, 2, 3, 4]
    assert listings.leaf.tolist() == [0, 1, 1, 0, 1]
    np.testing.assert_array_equal(listings.embeddings, [[0, 1], [2, 3], [5, 6], [8, 9], [10, 11]])
    assert listings.fold[0] == listings.fold[1]
    assert len(set(listings.fold[1:].tolist())) == 4


def test_lengths_must_agree() -> None:
    embeddings, leaf, group = shop(8)
    with pytest.raises(BadInput) as caught:
        find_suspects(embeddings, leaf[:-1], group, right=np.zeros(4, bool))
    assert str(caught.value) == (
        "Cannot rank labels. Expected a leaf, a group and a verdict for each of 480 embeddings. "
        "Received: 479, 480, 4 and 480."
    )
