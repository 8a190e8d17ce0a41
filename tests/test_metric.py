"""The metric stage: its loss by hand, what it does to neighbours, and that it resumes exactly."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fit import SCHEDULE, SIDE, TREE, curves, network, photos

from model.errors import BadInput
from model.fit import Photos, embed
from model.hierarchy import hierarchical_loss
from model.loop import Epoch, Schedule
from model.metric import Metric, fit_metric, triplet_loss
from model.pixels import Pixels
from model.reducer import unit
from model.triplets import Array

# 2026-11: Keras 3.15 copies TensorFlow variables to NumPy 2 the old way when it saves weights.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

METRIC = Metric(epochs=3, learning_rate=0.003, margin=0.2, weight=1.0, in_class=0.3)


def mean_colour(pixels: Pixels) -> Array:
    return unit(pixels.mean(axis=(1, 2)).astype(np.float32) - 128)


def views(n: int = 32, seed: int = 0) -> Photos:
    """Eight products of four photos, two in each leaf."""
    return replace(photos(n, seed), product=np.arange(n, dtype=np.int64) % 8)


def train(
    model: keras.Model,
    checkpoints: Path,
    *,
    on: Photos | None = None,
    schedule: Schedule = SCHEDULE,
    metric: Metric = METRIC,
    stop_after: int | None = None,
    on_batch: Callable[[int, int], None] = lambda epoch, batch: None,
) -> list[Epoch]:
    def on_epoch(epoch: Epoch) -> None:
        if stop_after is not None and epoch.epoch + 1 == schedule.epochs + stop_after:
            raise KeyboardInterrupt

    return fit_metric(
        model,
        views() if on is None else on,
        photos(12, 1),
        taxonomy=TREE,
        loss=hierarchical_loss(TREE, parent_weight=0.5, smoothing=0.1),
        schedule=schedule,
        metric=metric,
        scorers=(mean_colour,),
        checkpoints=checkpoints,
        on_epoch=on_epoch,
        on_batch=on_batch,
    )


def loss_of(embedding: np.ndarray, leaf: list[int], margin: float = 0.2) -> np.ndarray:
    ids = np.array(leaf, np.float32)[:, None]
    found = triplet_loss(margin)(keras.ops.convert_to_tensor(ids), embedding.astype(np.float32))
    return keras.ops.convert_to_numpy(found)


def brute_force(embedding: np.ndarray, leaf: list[int], margin: float) -> list[float]:
    """The definition, photo by photo."""
    units = unit(embedding)
    found = []
    for anchor in range(0, len(leaf), 3):
        near = units[anchor] @ units[anchor + 1]
        negatives = {anchor + 2} | {p for p in range(len(leaf)) if leaf[p] != leaf[anchor]}
        costs = [margin - near + units[anchor] @ units[negative] for negative in negatives]
        hard = [cost for cost in costs if cost > 0]
        found.append(sum(hard) / len(hard) if hard else 0.0)
    return found


def test_the_hinge_by_hand() -> None:
    """All of one leaf. Cosines of positive and negative: 0.8 and 0, 0 and 0.8, 0.8 and 0.6."""
    anchor, near, far, between = [2.0, 0.0], [0.8, 0.6], [0.0, 5.0], [6.0, 8.0]
    rows = np.array([anchor, near, far, anchor, far, near, anchor, near, between])
    assert loss_of(rows, [1] * 9, 0.25) == pytest.approx([0.0, 1.05, 0.05], abs=1e-6)


def test_photos_of_other_leaves_in_the_batch_are_negatives_too() -> None:
    """The second anchor's positive lies where the first one's negative should be."""
    near, far = [1.0, 0.0], [0.0, 1.0]
    rows = np.array([near, near, far, far, [0.6, 0.8], near])
    # First anchor: 0.2 - 1 + 0.6 and the rest are negative. Second: 0.2 - 0.8 + 0 likewise.
    assert loss_of(rows, [0, 0, 1, 1, 1, 0], 0.2) == pytest.approx([0.0, 0.0], abs=1e-6)
    assert loss_of(rows, [0, 0, 1, 1, 1, 0], 0.6) == pytest.approx([0.2, 0.0], abs=1e-6)


@settings(max_examples=40)
@given(st.integers(1, 6), st.floats(0.01, 1), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_the_hinge_equals_brute_force(n: int, margin: float, leaves: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(3 * n, 5)) * rng.uniform(0.1, 9, (3 * n, 1))
    leaf = rng.integers(0, leaves, 3 * n).tolist()
    assert loss_of(rows, leaf, margin) == pytest.approx(brute_force(rows, leaf, margin), abs=1e-4)


def test_the_hinge_of_zeros_is_the_margin() -> None:
    assert loss_of(np.zeros((3, 4)), [0, 0, 1]) == pytest.approx([0.2])
    assert np.isfinite(loss_of(np.full((3, 4), 1e30), [0, 0, 1])).all()


def test_views_of_a_product_come_nearer_than_other_products(tmp_path: Path) -> None:
    seen, model = views(), network()
    metric = replace(METRIC, epochs=8, learning_rate=0.01, weight=8.0)

    def found() -> float:
        """Share of the photos whose nearest neighbour is of the same product or leaf."""
        units = unit(embed(model, seen.pixels))
        cosine = units @ units.T - 2 * np.eye(len(units))
        return float((seen.leaf[cosine.argmax(axis=1)] == seen.leaf).mean())

    before = found()
    shown: list[tuple[int, int]] = []
    history = train(
        model, tmp_path, on=seen, metric=metric, on_batch=lambda *batch: shown.append(batch)
    )
    # A batch of eight holds two triplets: six of them show as many photos as there are.
    assert shown == [(epoch, batch) for epoch in range(4, 12) for batch in range(6)]
    assert history[-1].loss < history[0].loss / 2
    assert found() >= max(before, 0.9)


@pytest.mark.slow
def test_a_killed_stage_ends_like_a_whole_one(tmp_path: Path) -> None:
    schedule = replace(SCHEDULE, averaging=0.8, balance=0.5)
    whole = network()
    expected = train(whole, tmp_path / "whole", schedule=schedule)
    with pytest.raises(KeyboardInterrupt):
        train(network(), tmp_path / "killed", schedule=schedule, stop_after=1)
    resumed = network(seed=2)
    found = train(resumed, tmp_path / "killed", schedule=schedule)
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)
    assert [epoch.loss for epoch in found] == pytest.approx(
        [epoch.loss for epoch in expected], abs=1e-6
    )
    assert [epoch.validation for epoch in found] == [epoch.validation for epoch in expected]
    assert curves(found[:1]) == curves(expected[:1])


def test_without_epochs_there_is_no_such_stage(tmp_path: Path) -> None:
    model = network()
    before = model.get_weights()
    assert train(model, tmp_path / "none", metric=replace(METRIC, epochs=0)) == []
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not (tmp_path / "none").exists()


def test_photos_that_are_all_equal_and_a_leaf_with_one(tmp_path: Path) -> None:
    grey = np.full((9, SIDE, SIDE, 3), 128, np.uint8)
    alike = Photos(grey, np.array([0] * 4 + [1] * 4 + [3], np.int32))
    model = network(heads={})
    history = train(model, tmp_path, on=alike, metric=replace(METRIC, epochs=1))
    assert np.isfinite([epoch.loss for epoch in history]).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.parametrize("leaf", [[1] * 6, [0, 1, 2, 3]], ids=["one leaf", "a photo a leaf"])
def test_no_triplet_at_all(tmp_path: Path, leaf: list[int]) -> None:
    few = photos(len(leaf), 0, np.array(leaf))
    with pytest.raises(BadInput) as caught:
        train(network(), tmp_path, on=few, metric=replace(METRIC, in_class=0.0))
    assert str(caught.value) == (
        "No triplet can be made of the training photos. Expected two photos of a leaf or a "
        "product, and one of another. Set `train.metric.epochs` to 0."
    )
