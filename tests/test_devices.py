"""Two devices train like one: logical CPUs, which a process must ask for at its start."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model.devices import parallel
from model.errors import BadInput

ROOT = Path(__file__).parents[1]
TWO_CPUS = """
import json, tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

logical = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], logical)

from model.backbone import Network, build
from model.devices import clip_the_sum, parallel
from model.errors import BadInput
from model.export import export_embedder
from serving.embedder import Embedder

rng = np.random.default_rng(0)
pixels = rng.integers(0, 256, (5, 8, 16, 16, 3), dtype=np.uint8)
shares = np.eye(3, dtype=np.float32)[rng.integers(0, 3, (5, 8))]


def network():
    keras.utils.set_random_seed(1)
    return build(Network(blocks=(1,), width=4), 3, mean=[120.0] * 3, deviation=[60.0] * 3)


def train(devices, alike=True):
    model, seen = parallel(network, devices), set()
    strategy = model.distribute_strategy
    count = strategy.num_replicas_in_sync

    def loss(share, logits):
        if not tf.executing_eagerly():
            seen.add(logits.shape[0])
        return -keras.ops.sum(share * keras.ops.log_softmax(logits), axis=-1)

    def parts(values):
        each = [tf.convert_to_tensor(part) for part in np.split(values, count)]
        return strategy.experimental_distribute_values_from_function(
            lambda context: each[context.replica_id_in_sync_group]
        )

    with strategy.scope():
        optimizer = keras.optimizers.AdamW(0.01, global_clipnorm=0.1)  # clips every step
        if alike and count > 1:
            clip_the_sum(optimizer)
        model.compile(optimizer=optimizer, loss={"logits": loss}, jit_compile=False)
        model.compute_loss(x=pixels[0], y={"logits": shares[0]}, y_pred=model(pixels[0]))
        losses = [
            float(model.train_on_batch(parts(x), {"logits": parts(y)}, return_dict=True)["loss"])
            for x, y in zip(pixels, shares)
        ]
    with tempfile.TemporaryDirectory() as folder:
        export_embedder(model, 16, Path(folder) / "it.onnx")
        vectors = Embedder(Path(folder) / "it.onnx", threads=1).embed(pixels[0])[0]
    return {"count": count, "seen": sorted(seen), "losses": losses, "vectors": vectors.tolist()}


found = {"one": train(1), "all": train(0), "clipped apart": train(2, alike=False)}
try:
    train(3)
except BadInput as error:
    found["error"] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", TWO_CPUS],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout))


@pytest.mark.slow
def test_each_device_takes_its_part_of_the_batch(found: dict[str, Any]) -> None:
    split = {name: (found[name]["count"], found[name]["seen"]) for name in ("one", "all")}
    assert split == {"one": (1, [8]), "all": (2, [4])}


@pytest.mark.slow
def test_two_devices_have_the_loss_of_one(found: dict[str, Any]) -> None:
    """Batch norms and clipped gradients are those of the whole batch."""
    expected = found["one"]["losses"]
    assert found["all"]["losses"] == pytest.approx(expected, abs=1e-5)
    assert found["clipped apart"]["losses"] != pytest.approx(expected, abs=1e-3)


@pytest.mark.slow
def test_two_devices_export_the_network_of_one(found: dict[str, Any]) -> None:
    for two, one in zip(found["all"]["vectors"], found["one"]["vectors"], strict=True):
        assert two == pytest.approx(one, abs=1e-4)


@pytest.mark.slow
def test_more_devices_than_there_are_are_refused(found: dict[str, Any]) -> None:
    assert found["error"] == (
        "Cannot train on 3 devices. Expected at most 2, or 0 for all of them: cpu:0, cpu:1. "
        "Set `train.devices`."
    )


def test_one_device_costs_nothing() -> None:
    built = object()
    assert parallel(lambda: built, 1) is built
    assert parallel(lambda: built, 0) is built


def test_fewer_devices_than_none_are_refused() -> None:
    with pytest.raises(BadInput, match=r"^Cannot train on -1 devices\. Expected at most 1, "):
        parallel(lambda: None, -1)
