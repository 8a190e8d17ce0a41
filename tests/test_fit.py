"""The training loop: it learns, it stops on nonsense, and a killed run ends like a whole one."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.attributes import UNKNOWN
from model.backbone import Network, build
from model.errors import BadInput, Damaged
from model.fit import Photos, draw_rows, embed, fit, predict, side_of, targets_of, validate
from model.hierarchy import accuracy_by_level, hierarchical_loss
from model.loop import Diverged, Epoch, Schedule
from model.taxonomy import Taxonomy

# 2026-11: Keras 3.15 copies TensorFlow variables to NumPy 2 the old way when it saves weights.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

SIDE = 16
TREE = Taxonomy(("Fashion > Hats", "Fashion > Bags", "Home > Lamps", "Home > Rugs"))
COLOURS = np.array([(200, 40, 60), (30, 90, 180), (235, 180, 40), (60, 150, 110)])
DEPARTMENTS = {"department": 2}
SCHEDULE = Schedule(
    epochs=4,
    batch_size=8,
    learning_rate=0.01,
    weight_decay=0.05,
    warmup_share=0.1,
    balance=0.0,
    seed=3,
)
EVERYTHING = replace(
    SCHEDULE, sizes=(0.5, 1.0), mix=0.5, averaging=0.8, balance=0.5, attribute_weight=0.5
)


def photos(n: int, seed: int, leaf: np.ndarray | None = None) -> Photos:
    """A disc in the colour of its leaf, of its own shade, place and size, on noise.

    The department is an attribute too, which every third photo lacks.
    """
    rng = np.random.default_rng(seed)
    leaf = np.arange(n) % len(COLOURS) if leaf is None else leaf
    pixels = rng.integers(200, 256, (n, SIDE, SIDE, 3))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for photo, colour in zip(pixels, COLOURS[leaf], strict=True):
        x, y = rng.uniform(6, 10, 2)
        inside = (rows - y) ** 2 + (columns - x) ** 2 < rng.uniform(5, 7) ** 2
        photo[inside] = colour + rng.integers(-20, 21, 3)
    department = np.where(np.arange(n) % 3 == 2, UNKNOWN, leaf // 2).astype(np.int32)
    return Photos(
        np.clip(pixels, 0, 255).astype(np.uint8), leaf.astype(np.int32), {"department": department}
    )


def network(
    seed: int = 1, leaves: int = len(TREE.leaves), *, heads: Mapping[str, int] = DEPARTMENTS
) -> keras.Model:
    keras.utils.set_random_seed(seed)
    mean, deviation = [200.0] * 3, [60.0] * 3
    options = Network(blocks=(1,), width=8)
    return build(options, leaves, mean=mean, deviation=deviation, attributes=heads)


def train(
    model: keras.Model,
    checkpoints: Path,
    *,
    schedule: Schedule = SCHEDULE,
    on: Photos | None = None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    robustness: float = 0.0,
    on_batch: Callable[[int, int], None] = lambda epoch, batch: None,
) -> list[Epoch]:
    """Train on 32 photos."""
    return fit(
        model,
        photos(32, 0) if on is None else on,
        photos(12, 1),
        taxonomy=TREE,
        loss=hierarchical_loss(TREE, parent_weight=0.5, smoothing=0.1, robustness=robustness),
        schedule=schedule,
        checkpoints=checkpoints,
        on_epoch=on_epoch,
        on_batch=on_batch,
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
    assert validate(model, TREE, seen) == {**found, "attribute_department": 1.0}
    assert history[-1].loss < history[0].loss / 2
    assert [epoch.epoch for epoch in history] == list(range(14))
    assert set(history[-1].validation) == {"level_1", "leaf", "attribute_department"}
    assert history[-1].validation["leaf"] >= 0.9
    assert all(epoch.images_per_second > 0 for epoch in history)


def test_a_killed_run_ends_like_a_whole_one(tmp_path: Path) -> None:
    options: Any = {"schedule": EVERYTHING, "robustness": 0.5}
    whole = network()

    def kill(epoch: Epoch) -> None:
        """What the disk of a run has that is killed now."""
        if epoch.epoch == 2:
            shutil.copytree(tmp_path / "whole", tmp_path / "killed")

    expected = train(whole, tmp_path / "whole", on_epoch=kill, **options)
    weights = [path.name for path in (tmp_path / "killed").glob("*.h5")]
    assert weights == ["epoch-3.weights.h5"]
    # A half-written file of the next checkpoint does no harm.
    (tmp_path / "killed" / "epoch-4.weights.h5").write_bytes(b"half a file")
    (tmp_path / "killed" / ".history.json").write_bytes(b'{"weights": "epoch-4')
    resumed = network(seed=2)  # other first weights: everything comes from the checkpoint
    found = train(resumed, tmp_path / "killed", **options)
    kept = sorted(path.name for path in (tmp_path / "killed").iterdir())
    assert kept == ["epoch-4.weights.h5", "history.json"]
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)
    assert [epoch.validation for epoch in found] == [epoch.validation for epoch in expected]
    assert [epoch.loss for epoch in found] == pytest.approx(
        [epoch.loss for epoch in expected], abs=1e-6
    )
    assert curves(found[:3]) == curves(expected[:3])


def test_a_loss_that_is_no_number_names_the_photos_of_its_batch(tmp_path: Path) -> None:
    """The weights are lost after the second batch, so the third is the first to show it."""
    model = network()

    def spoil(epoch: int, batch: int) -> None:
        if (epoch, batch) == (0, 1):
            model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])

    schedule = replace(SCHEDULE, batch_size=10)
    with pytest.raises(Diverged) as caught:
        train(model, tmp_path, schedule=schedule, on_batch=spoil)
    rows = draw_rows(photos(32, 0).leaf, schedule, 0, 40)[20:30]
    assert (caught.value.epoch, caught.value.batch) == (0, 2)
    np.testing.assert_array_equal(caught.value.rows, rows)
    assert str(caught.value) == (
        f"The loss is nan in epoch 0, batch 2. Expected a number. Training photos of the batch: "
        f"{', '.join(map(str, rows[:8]))} and 2 more. Look at them, or lower the learning rate "
        f"(0.01)."
    )
    assert not list(tmp_path.iterdir())


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        train(network(), tmp_path, on=photos(0, 0))
    assert str(caught.value) == (
        "Nothing to train on. Expected at least one photo of split `train`."
    )
    assert not list(tmp_path.iterdir())


def test_one_photo_of_one_leaf_and_no_validation(tmp_path: Path) -> None:
    history = fit(
        network(),
        photos(1, 0),
        photos(0, 1),
        taxonomy=TREE,
        loss=hierarchical_loss(TREE, parent_weight=0.0, smoothing=0.0),
        schedule=replace(SCHEDULE, epochs=1, mix=1.0),
        checkpoints=tmp_path,
        on_epoch=lambda epoch: None,
    )
    assert [epoch.validation for epoch in history] == [{}]


def test_photos_that_are_all_equal_and_a_leaf_with_one(tmp_path: Path) -> None:
    grey = np.full((9, SIDE, SIDE, 3), 128, np.uint8)
    leaf = np.array([0] * 4 + [1] * 4 + [3], np.int32)
    schedule = replace(EVERYTHING, epochs=1, sizes=(1.0,))
    model = network(heads={})
    history = train(model, tmp_path, schedule=schedule, on=Photos(grey, leaf))
    assert np.isfinite([epoch.loss for epoch in history]).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


# The order of the photos and their size.


@settings(max_examples=40)
@given(st.integers(1, 50), st.integers(1, 8), st.integers(0, 9), st.integers(0, 99))
def test_without_balance_an_epoch_shows_each_photo_and_fills_up(
    n: int, batch: int, epoch: int, seed: int
) -> None:
    count = -(-n // batch) * batch
    rows = draw_rows(np.zeros(n, np.int32), replace(SCHEDULE, seed=seed), epoch, count)
    assert sorted(rows[:n]) == list(range(n))
    np.testing.assert_array_equal(rows[n:], np.resize(rows[:n], count)[n:])


def test_the_seed_and_the_epoch_decide_the_order() -> None:
    leaf = np.zeros(50, np.int32)
    for balance in (0.0, 0.5):
        orders = [
            draw_rows(leaf, replace(SCHEDULE, seed=seed, balance=balance), epoch, 50).tolist()
            for seed, epoch in ((3, 1), (3, 1), (4, 1), (3, 2))
        ]
        assert orders[0] == orders[1]
        assert orders[0] not in orders[2:]


def test_balance_shows_leaves_equally_often() -> None:
    leaf = np.repeat(np.arange(3, dtype=np.int32), (80, 15, 5))
    shown = {
        balance: np.bincount(leaf[draw_rows(leaf, replace(SCHEDULE, balance=balance), 0, 9000)])
        for balance in (0.5, 1.0)
    }
    assert list(shown[1.0]) == pytest.approx([3000] * 3, rel=0.1)
    roots = np.sqrt([80, 15, 5])
    assert list(shown[0.5]) == pytest.approx(list(9000 * roots / roots.sum()), rel=0.1)


@pytest.mark.parametrize(
    ("sizes", "epochs", "expected"),
    [
        ((1.0,), 3, [64, 64, 64]),
        ((0.5, 0.75, 1.0), 6, [32, 32, 48, 48, 64, 64]),
        ((0.5, 1.0), 3, [32, 32, 64]),
        ((0.01, 1.0), 2, [8, 64]),
        ((0.2, 0.5, 1.0), 2, [13, 32]),
    ],
)
def test_sizes_in_equal_parts(sizes: tuple[float, ...], epochs: int, expected: list[int]) -> None:
    schedule = replace(SCHEDULE, sizes=sizes, epochs=epochs)
    assert [side_of(schedule, epoch, 64) for epoch in range(epochs)] == expected


@pytest.mark.parametrize("sizes", [(), (0.5,), (1.0, 0.5)])
def test_the_last_size_must_be_the_whole(tmp_path: Path, sizes: tuple[float, ...]) -> None:
    with pytest.raises(BadInput) as caught:
        train(network(), tmp_path, schedule=replace(SCHEDULE, sizes=sizes))
    assert str(caught.value) == (
        f"Expected the last of `train.sizes` to be 1, the size that searches see. "
        f"Received: {sizes}."
    )


# Averaged weights, attributes.


def test_validation_and_the_end_are_of_the_averaged_weights(tmp_path: Path) -> None:
    schedule = replace(SCHEDULE, epochs=2, averaging=0.7)
    model, steps = network(), []

    def keep(epoch: int, batch: int) -> None:
        steps.append([keras.ops.convert_to_numpy(v) for v in model.trainable_variables])

    history = train(model, tmp_path, schedule=schedule, on_batch=keep)
    average = steps[0]
    for step in steps[1:]:
        pairs = zip(average, step, strict=True)
        average = [0.7 * mean + 0.3 * value for mean, value in pairs]
    for variable, mean, last in zip(model.trainable_variables, average, steps[-1], strict=True):
        np.testing.assert_allclose(variable, mean, atol=1e-6)
        assert np.abs(mean - last).max() > 1e-5
    assert history[-1].validation == validate(model, TREE, photos(12, 1))


def test_the_targets_of_a_batch() -> None:
    found = targets_of(network(), photos(8, 0), np.array([1, 2, 7]))
    np.testing.assert_array_equal(found["logits"], np.eye(4)[[1, 2, 3]])
    np.testing.assert_array_equal(found["attribute_department"], [[1, 0], [0, 0], [0, 1]])
    assert {name: target.dtype for name, target in found.items()} == dict.fromkeys(found, "f4")


def test_an_attribute_without_a_head(tmp_path: Path) -> None:
    strange = replace(photos(8, 0), attributes={"brand": np.zeros(8, np.int32)})
    with pytest.raises(BadInput) as caught:
        train(network(), tmp_path, on=strange)
    assert str(caught.value) == (
        "The network has no head for the attribute 'brand'. Expected an output 'attribute_brand'. "
        "Build it with the attributes of the photos."
    )


# Checkpoints that are not whole.


def damage_of(folder: Path, model: keras.Model, *, averaging: float = 0.0) -> str:
    with pytest.raises(Damaged) as caught:
        train(model, folder, schedule=replace(SCHEDULE, epochs=2, averaging=averaging))
    message = str(caught.value)
    start = f"Cannot resume from the checkpoint {folder}. Expected "
    end = " Put the file back, or remove the folder to train from the start."
    assert message.startswith(start)
    assert message.endswith(end)
    return message.removeprefix(start).removesuffix(end)


def test_a_finished_run_trains_no_further_and_a_damaged_checkpoint_is_named(
    tmp_path: Path,
) -> None:
    schedule = replace(SCHEDULE, epochs=1)
    first = train(network(), tmp_path, schedule=schedule)
    assert train(network(seed=5), tmp_path, schedule=schedule) == first
    state = json.loads((tmp_path / "history.json").read_bytes())
    assert state == {"weights": "epoch-1.weights.h5", "epochs": [vars(first[0])]}
    weights, history = tmp_path / "epoch-1.weights.h5", tmp_path / "history.json"
    text, expected = history.read_bytes(), f"{weights.name}, which history.json names, to hold"
    assert damage_of(tmp_path, network(leaves=7)).startswith(expected)
    assert damage_of(tmp_path, network(), averaging=0.9).startswith(expected)
    weights.write_bytes(weights.read_bytes()[:5000])
    assert damage_of(tmp_path, network()).startswith(
        f"{expected} this network's weights. Received:"
    )
    weights.unlink()
    assert damage_of(tmp_path, network()).startswith(expected)
    for broken in (text[:20], b"[]", b'{"weights": "epoch-1.weights.h5"}'):
        history.write_bytes(broken)
        found = damage_of(tmp_path, network())
        assert found.startswith("history.json to name weights and epochs. Received: ")


# Several devices.

TWO_DEVICES = """
import sys, tempfile
from pathlib import Path
import numpy as np
import tensorflow as tf
devices = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
from model.devices import parallel
from tests_of import EVERYTHING, TREE, network, photos, replace, train
from model.errors import BadInput

schedule = replace(EVERYTHING, epochs=1, sizes=(1.0,))
found = {}
for devices in (1, 2):
    model = parallel(network, devices)
    with tempfile.TemporaryDirectory() as folder:
        history = train(model, Path(folder), schedule=schedule)
        found[devices] = [epoch.loss for epoch in history], model.get_weights()
np.testing.assert_allclose(found[1][0], found[2][0], rtol=1e-4)
for one, two in zip(found[1][1], found[2][1], strict=True):
    np.testing.assert_allclose(one, two, atol=2e-3)
try:
    train(model, Path("never"), schedule=replace(schedule, batch_size=7))
except BadInput as error:
    print(error)
"""


@pytest.mark.slow
def test_two_devices_train_like_one() -> None:
    """In a process of its own: devices are set before TensorFlow starts."""
    here = Path(__file__)
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES.replace("tests_of", here.stem)],
        env={**os.environ, "PYTHONPATH": f"{here.parent}:{here.parents[1]}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == (
        "Cannot share a batch equally. Expected `train.batch_size` to be a multiple of the "
        "2 devices. Received: 7."
    )


# Outputs.


def test_predict_gives_odds_in_order() -> None:
    model, asked = network(), photos(10, 4)
    odds = predict(model, asked.pixels, batch_size=4)
    np.testing.assert_allclose(odds.sum(axis=1), np.ones(10), atol=1e-5)
    np.testing.assert_allclose(odds, predict(model, asked.pixels), atol=1e-6)
    nothing = predict(model, asked.pixels[:0])
    assert (nothing.shape, nothing.dtype, odds.dtype) == ((0, 4), np.float32, np.float32)
    found = embed(model, asked.pixels, batch_size=4)
    assert (found.shape, found.dtype) == ((10, 8), np.float32)
    np.testing.assert_allclose(found, embed(model, asked.pixels), atol=1e-4)
