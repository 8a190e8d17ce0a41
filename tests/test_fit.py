"""The training loop: it learns, it stops on nonsense, and a killed run ends like a whole one."""

import json
import re
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from model.errors import BadInput, LookalikeError
from model.fit import Epoch, Photos, Schedule, fit, predict
from model.hierarchy import accuracy_by_level, hierarchical_loss
from model.resnet import Architecture, build
from model.taxonomy import Taxonomy

# 2026-11: Keras 3.15 copies TensorFlow variables to NumPy 2 the old way when it saves weights.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

SIDE = 16
TREE = Taxonomy(("Fashion > Hats", "Fashion > Bags", "Home > Lamps", "Home > Rugs"))
COLOURS = np.array([(200, 40, 60), (30, 90, 180), (235, 180, 40), (60, 150, 110)])
SCHEDULE = Schedule(
    epochs=4,
    batch_size=8,
    learning_rate=0.01,
    weight_decay=0.05,
    warmup_share=0.1,
    balance=0.0,
    seed=3,
)


def photos(n: int, seed: int, leaf: np.ndarray | None = None) -> Photos:
    """A disc in the colour of its leaf, of its own shade, place and size, on noise."""
    rng = np.random.default_rng(seed)
    leaf = np.arange(n) % len(COLOURS) if leaf is None else leaf
    pixels = rng.integers(200, 256, (n, SIDE, SIDE, 3))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for photo, colour in zip(pixels, COLOURS[leaf], strict=True):
        x, y = rng.uniform(6, 10, 2)
        inside = (rows - y) ** 2 + (columns - x) ** 2 < rng.uniform(5, 7) ** 2
        photo[inside] = colour + rng.integers(-20, 21, 3)
    return Photos(np.clip(pixels, 0, 255).astype(np.uint8), leaf.astype(np.int32))


def network(seed: int = 1) -> keras.Model:
    keras.utils.set_random_seed(seed)
    mean, deviation = [200.0] * 3, [60.0] * 3
    return build(Architecture((1,), 8), len(TREE.leaves), mean=mean, deviation=deviation)


def train(
    model: keras.Model,
    checkpoints: Path,
    *,
    schedule: Schedule = SCHEDULE,
    on: Photos | None = None,
    stop_after: int | None = None,
) -> list[Epoch]:
    """Train on 32 photos; `stop_after` so many epochs the run is killed."""

    def on_epoch(epoch: Epoch) -> None:
        if epoch.epoch + 1 == stop_after:
            raise KeyboardInterrupt

    return fit(
        model,
        photos(32, 0) if on is None else on,
        photos(12, 1),
        taxonomy=TREE,
        loss=hierarchical_loss(TREE, parent_weight=0.5, smoothing=0.1),
        schedule=schedule,
        checkpoints=checkpoints,
        on_epoch=on_epoch,
    )


def curves(history: list[Epoch]) -> list[Epoch]:
    """Without the speed, which is never twice the same."""
    return [replace(epoch, images_per_second=0.0) for epoch in history]


def test_32_photos_are_learned_by_heart_in_less_than_60_steps(tmp_path: Path) -> None:
    model, seen = network(), photos(32, 0)
    schedule = replace(SCHEDULE, epochs=14, learning_rate=0.03)
    history = train(model, tmp_path, schedule=schedule, on=seen)
    assert len(history) * 4 < 60
    found = accuracy_by_level(TREE, seen.leaf, predict(model, seen.pixels))
    assert found == {"level_1": 1.0, "leaf": 1.0}
    assert history[-1].loss < history[0].loss / 2
    assert [epoch.epoch for epoch in history] == list(range(14))
    assert set(history[-1].validation) == {"level_1", "leaf"}
    assert history[-1].validation["leaf"] >= 0.9
    assert all(epoch.images_per_second > 0 for epoch in history)


def test_a_killed_run_ends_like_a_whole_one(tmp_path: Path) -> None:
    whole = network()
    expected = train(whole, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(network(), tmp_path / "killed", stop_after=2)
    weights = [path.name for path in (tmp_path / "killed").glob("*.h5")]
    assert weights == ["epoch-2.weights.h5"]
    resumed = network(seed=2)  # other first weights: everything comes from the checkpoint
    found = train(resumed, tmp_path / "killed")
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)
    assert [epoch.validation for epoch in found] == [epoch.validation for epoch in expected]
    assert [epoch.loss for epoch in found] == pytest.approx(
        [epoch.loss for epoch in expected], abs=1e-6
    )
    assert curves(found[:2]) == curves(expected[:2])


def test_a_kill_within_an_epoch_costs_that_epoch_only(tmp_path: Path) -> None:
    """And a half-written file of the next checkpoint does no harm."""
    with pytest.raises(KeyboardInterrupt):
        train(network(), tmp_path, stop_after=1)
    (tmp_path / "epoch-2.weights.h5").write_bytes(b"half a file")
    (tmp_path / ".history.json").write_bytes(b'{"weights": "epoch-2')
    assert [epoch.epoch for epoch in train(network(2), tmp_path)] == [0, 1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "epoch-4.weights.h5",
        "history.json",
    ]


def test_a_finished_run_trains_no_further(tmp_path: Path) -> None:
    schedule = replace(SCHEDULE, epochs=1)
    first = train(network(), tmp_path, schedule=schedule)
    other = network(seed=5)
    assert train(other, tmp_path, schedule=schedule) == first
    state = json.loads((tmp_path / "history.json").read_bytes())
    assert state == {"weights": "epoch-1.weights.h5", "epochs": [vars(first[0])]}


def test_the_same_seed_gives_the_same_network_and_another_another(tmp_path: Path) -> None:
    schedule = replace(SCHEDULE, epochs=1, balance=0.5)
    losses = [
        train(network(), tmp_path / str(number), schedule=replace(schedule, seed=seed))[0].loss
        for number, seed in enumerate((3, 3, 4))
    ]
    assert losses[0] == losses[1] != losses[2]


def test_a_learning_rate_out_of_this_world_is_named(tmp_path: Path) -> None:
    schedule = replace(SCHEDULE, learning_rate=1e9)
    with pytest.raises(LookalikeError) as caught:
        train(network(), tmp_path, schedule=schedule)
    assert re.fullmatch(
        r"The loss is (nan|inf) in epoch [01], batch [0-3]\. Expected a number\. "
        r"Lower `train\.learning_rate` \(1000000000\.0\)\.",
        str(caught.value),
    )


def test_weights_that_are_no_numbers_stop_the_run(tmp_path: Path) -> None:
    model = network()
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    with pytest.raises(LookalikeError) as caught:
        train(model, tmp_path)
    assert str(caught.value) == (
        "The loss is nan in epoch 0, batch 0. Expected a number. "
        "Lower `train.learning_rate` (0.01)."
    )


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        train(network(), tmp_path, on=photos(0, 0))
    assert str(caught.value) == (
        "Nothing to train on. Expected at least one photo of split `train`."
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("balance", [0.0, 1.0])
def test_one_leaf_alone_can_be_trained(tmp_path: Path, balance: float) -> None:
    schedule = replace(SCHEDULE, epochs=2, balance=balance)
    seen = photos(9, 0, np.full(9, 2))
    first, second = train(network(), tmp_path, schedule=schedule, on=seen)
    assert second.loss < first.loss


def test_one_photo_and_no_validation(tmp_path: Path) -> None:
    model = network()
    history = fit(
        model,
        photos(1, 0),
        photos(0, 1),
        taxonomy=TREE,
        loss=hierarchical_loss(TREE, parent_weight=0.0, smoothing=0.0),
        schedule=replace(SCHEDULE, epochs=1),
        checkpoints=tmp_path,
        on_epoch=lambda epoch: None,
    )
    assert [epoch.validation for epoch in history] == [{}]


def test_predict_gives_odds_in_order() -> None:
    model, asked = network(), photos(10, 4)
    odds = predict(model, asked.pixels, batch_size=4)
    np.testing.assert_allclose(odds.sum(axis=1), np.ones(10), atol=1e-5)
    np.testing.assert_allclose(odds, predict(model, asked.pixels), atol=1e-6)
    nothing = predict(model, asked.pixels[:0])
    assert (nothing.shape, nothing.dtype, odds.dtype) == ((0, 4), np.float32, np.float32)
