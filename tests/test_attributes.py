"""Heads of attributes: a value that nobody knows costs nothing."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.attributes import UNKNOWN, accuracy, attribute_loss, shares


def loss_of(share: np.ndarray, logits: np.ndarray) -> list[float]:
    found = attribute_loss(share, logits.astype(np.float32))
    return list(keras.ops.convert_to_numpy(found).astype(float))


def test_shares_are_one_hot_and_zeros_where_unknown() -> None:
    found = shares(np.array([2, UNKNOWN, 0], np.int32), 3)
    np.testing.assert_array_equal(found, [[0, 0, 1], [0, 0, 0], [1, 0, 0]])
    assert found.dtype == np.float32
    assert shares(np.empty(0, np.int32), 3).shape == (0, 3)


def test_the_loss_by_hand() -> None:
    odds = np.array([[0.2, 0.5, 0.3], [0.1, 0.8, 0.1]])
    known = shares(np.array([1, UNKNOWN], np.int32), 3)
    assert loss_of(known, np.log(odds)) == pytest.approx([-math.log(0.5), 0.0], abs=1e-6)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_mixture_with_an_unknown_photo_costs_its_known_share(seed: int, kept: float) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(1, 4))
    known, unknown = shares(np.array([3, UNKNOWN], np.int32), 4)[:, None]
    mixed = loss_of(kept * known + (1 - kept) * unknown, logits)
    assert mixed == pytest.approx([kept * loss_of(known, logits)[0]], abs=1e-5)


def test_the_loss_of_hopeless_odds_is_finite() -> None:
    assert np.isfinite(loss_of(np.eye(2, dtype="f4"), np.array([[-900, 900], [9, 9]]))).all()


def test_accuracy_counts_known_photos_alone() -> None:
    odds = np.eye(3, dtype=np.float32)
    assert accuracy(np.array([0, 2, UNKNOWN], np.int32), odds) == 0.5
    assert accuracy(np.full(3, UNKNOWN, np.int32), odds) is None
