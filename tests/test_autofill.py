"""What a listing is: categories level by level, and a brand by vote."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.taxonomy import SEPARATOR, split
from serving.autofill import SHARPNESS, brand, levels

paths = st.lists(st.sampled_from("ABC"), min_size=1, max_size=3).map(SEPARATOR.join)
trees = st.lists(paths, min_size=1, max_size=10, unique=True)


@given(trees, st.integers(0, 1000))
def test_a_level_has_the_sum_of_the_odds_below_it(names: list[str], seed: int) -> None:
    odds = np.random.default_rng(seed).dirichlet(np.ones(len(names))).astype(np.float32)
    found = levels(names, odds)
    former = ""
    for depth, level in enumerate(found, start=1):
        assert level["path"].startswith(former)
        below: dict[str, float] = {}
        for name, odd in zip(names, odds, strict=True):
            head = SEPARATOR.join(split(name)[:depth])
            if len(split(name)) >= depth and (head + SEPARATOR).startswith(former):
                below[head] = below.get(head, 0.0) + float(odd)
        assert level["confidence"] == pytest.approx(below[level["path"]], abs=6e-5)
        assert below[level["path"]] >= max(below.values()) - 1e-6
        former = level["path"] + SEPARATOR
    assert not any(name.startswith(former) for name in names)  # it goes down to a leaf
    sure = [level["confidence"] for level in found]
    assert sure == sorted(sure, reverse=True)
    assert all(0 <= each <= 1 for each in sure)


def test_the_likeliest_top_wins_over_the_likeliest_leaf() -> None:
    names = ["Home > Rugs", "Home > Lamps", "Fashion > Hats"]
    assert levels(names, np.array([0.3, 0.31, 0.39], np.float32)) == [
        {"path": "Home", "confidence": 0.61},
        {"path": "Home > Lamps", "confidence": 0.31},
    ]


def test_a_leaf_that_is_also_a_branch_counts_on_its_own_level() -> None:
    assert levels(["Home", "Home > Rugs", "Toys"], np.array([0.5, 0.1, 0.4], np.float32)) == [
        {"path": "Home", "confidence": 0.6},
        {"path": "Home > Rugs", "confidence": 0.1},
    ]


def test_without_categories_there_are_no_levels() -> None:
    assert levels([], np.zeros(0, np.float32)) == []


hits = st.lists(
    st.fixed_dictionaries(
        {"brand": st.none() | st.sampled_from(["Norrby", "Aldi"]), "score": st.floats(-1, 1)}
    ),
    max_size=12,
)


@given(hits)
def test_the_brand_has_the_greatest_share_of_the_votes(hits: list[dict[str, object]]) -> None:
    found = brand(hits)
    votes: dict[object, float] = {}
    for hit in hits:
        vote = math.exp(SHARPNESS * (float(str(hit["score"])) - 1))
        votes[hit["brand"]] = votes.get(hit["brand"], 0.0) + vote
    total = sum(votes.values())
    votes.pop(None, None)
    if not votes:
        assert found is None
    else:
        assert found is not None
        assert votes[found["name"]] >= max(votes.values()) * (1 - 1e-9)
        assert found["confidence"] == pytest.approx(votes[found["name"]] / total, abs=6e-5)


def test_the_nearest_has_the_most_votes() -> None:
    near, far = {"brand": "Norrby", "score": 0.95}, {"brand": "Aldi", "score": 0.8}
    assert brand([near, far, far]) == {"name": "Norrby", "confidence": 0.9094}
    assert brand([near, {"brand": None, "score": 0.95}]) == {"name": "Norrby", "confidence": 0.5}
    assert brand([{"brand": None, "score": 1.0}]) is None
    assert brand([]) is None
