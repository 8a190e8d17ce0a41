"""The whole network: one contract, and an error with what there is for what there is not."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from model.backbone import Network, build
from model.errors import BadInput
from model.fit import Photos, Schedule, fit
from model.hierarchy import hierarchical_loss
from model.taxonomy import Taxonomy

# 2026-11: Keras 3.15 copies TensorFlow variables to NumPy 2 the old way when it saves weights.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

GREY: dict[str, Any] = {"mean": [128.0, 120.0, 110.0], "deviation": [60.0, 61.0, 62.0]}
TINY = Network(blocks=(1, 1), width=4)


def pixels(n: int, side: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def run(model: keras.Model, batch: np.ndarray) -> dict[str, np.ndarray]:
    outputs = model(batch, training=False)
    return {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(2)
    return build(TINY, 3, **GREY)


def test_names_and_shapes(model: keras.Model) -> None:
    found = run(model, pixels(3, 32))
    assert [(name, value.shape, str(value.dtype)) for name, value in found.items()] == [
        ("stem", (3, 16, 16, 4), "float32"),
        ("stage1", (3, 16, 16, 4), "float32"),
        ("stage2", (3, 8, 8, 8), "float32"),
        ("pooled", (3, 8), "float32"),
        ("embedding", (3, 8), "float32"),
        ("logits", (3, 3), "float32"),
    ]
    np.testing.assert_allclose(found["pooled"], found["stage2"].mean(axis=(1, 2)), rtol=1e-5)


def test_the_default_is_the_network_of_the_default_settings() -> None:
    model = build(Network(), 60, side=32, **GREY)
    assert model.output["embedding"].shape == (None, 192)
    assert model.input.shape == (None, 32, 32, 3)
    with pytest.raises(ValueError, match="expected shape"):
        model(pixels(1, 40))


def test_any_side_is_accepted(model: keras.Model) -> None:
    assert [run(model, pixels(2, side))["embedding"].shape for side in (8, 33)] == [(2, 8)] * 2


def test_pixels_are_normalised_by_mean_and_deviation(model: keras.Model) -> None:
    layer = keras.Model(model.input, model.get_layer("normalise").output)
    batch = pixels(2, 8)
    expected = (batch.astype(np.float32) - GREY["mean"]) / GREY["deviation"]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(batch)), expected, atol=1e-5)


def test_a_channel_that_never_varies_is_only_centred() -> None:
    model = build(TINY, 3, mean=[128.0, 120.0, 110.0], deviation=[0.0, 61.0, 62.0])
    layer = keras.Model(model.input, model.get_layer("normalise").output)
    found = keras.ops.convert_to_numpy(layer(np.full((1, 8, 8, 3), 128, np.uint8)))
    np.testing.assert_allclose(found[0, 0, 0], [0, 8 / 61, 18 / 62], atol=1e-5)


def test_two_photos_do_not_touch_each_other(model: keras.Model) -> None:
    batch = pixels(3, 16)
    together = run(model, batch)["embedding"]
    alone = np.concatenate([run(model, photo[None])["embedding"] for photo in batch])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_extreme_photos_have_finite_embeddings(model: keras.Model) -> None:
    batch = np.stack([np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)])
    assert np.isfinite(run(model, batch)["embedding"]).all()


def test_the_shallow_branch_is_joined_before_the_neck() -> None:
    network = Network(blocks=(1, 1), width=4, shallow=True, taps=("embedding", "shallow*0.5"))
    found = run(build(network, 3, **GREY), pixels(2, 32))
    assert {name: value.shape for name, value in found.items()} == {
        "stem": (2, 16, 16, 4),
        "stage1": (2, 16, 16, 4),
        "stage2": (2, 8, 8, 8),
        "shallow": (2, 1, 1, 8),
        "pooled": (2, 16),
        "embedding": (2, 16),
        "logits": (2, 3),
    }
    maps = [found[name].mean(axis=(1, 2)) for name in ("stage2", "shallow")]
    np.testing.assert_allclose(found["pooled"], np.concatenate(maps, axis=1), rtol=1e-5)


def test_each_attribute_has_a_head() -> None:
    model = build(TINY, 3, attributes={"brand": 4, "main colour": 2}, **GREY)
    assert list(model.output)[-3:] == ["logits", "attribute_brand", "attribute_main colour"]
    assert [model.output[name].shape[-1] for name in list(model.output)[-3:]] == [3, 4, 2]
    heads = {layer.name for layer in model.layers if isinstance(layer, keras.layers.Dense)}
    assert heads == {"leaf", "attribute_brand", "attribute_main colour"}


@pytest.mark.parametrize(
    ("leaves", "attributes"), [(0, {}), (3, {"brand": 0}), (3, {"size/fit": 2})]
)
def test_impossible_heads_are_refused(leaves: int, attributes: dict[str, int]) -> None:
    with pytest.raises(BadInput) as caught:
        build(TINY, leaves, attributes=attributes, **GREY)
    heads = {"logits": leaves} | {f"attribute_{name}": n for name, n in attributes.items()}
    assert str(caught.value) == (
        f"Cannot build the heads. Expected at least one class in each, and no `/` in a name. "
        f"Received: {heads}."
    )


def test_unknown_taps_are_refused_with_those_there_are() -> None:
    network = Network(blocks=(1,), width=4, taps=("stage1", "stage2", "colour*2"))
    with pytest.raises(BadInput) as caught:
        build(network, 3, **GREY)
    assert str(caught.value) == (
        "The network has no such output. Expected taps among: stem, stage1, pooled, embedding, "
        "logits. Received: stage2, colour."
    )


def test_our_own_network_takes_no_weights_of_others() -> None:
    with pytest.raises(BadInput) as caught:
        build(Network(weights=Path("imagenet.h5")), 3, **GREY)
    assert str(caught.value) == (
        "Our own network starts from scratch, or warm from the day before. Expected weights only "
        "with another backbone. Received: imagenet.h5. Set `train.start` instead."
    )


def test_mixed_precision_is_of_the_network_and_nothing_else() -> None:
    mixed = build(Network(blocks=(1,), width=4, mixed_precision=True), 3, **GREY)
    assert {name: str(value.dtype) for name, value in mixed.output.items()} == {
        "stem": "bfloat16",
        "stage1": "bfloat16",
        "pooled": "float32",
        "embedding": "float32",
        "logits": "float32",
    }
    assert {str(variable.dtype) for variable in mixed.weights} == {"float32"}
    assert mixed.get_layer("normalise").compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
    plain = build(Network(blocks=(1,), width=4), 3, **GREY)
    assert {str(value.dtype) for value in plain.output.values()} == {"float32"}


def train(network: Network, taxonomy: Taxonomy, folder: Path) -> list[float]:
    """The losses of two epochs of one batch."""
    leaves = len(taxonomy.leaves)
    keras.utils.set_random_seed(3)
    model = build(network, leaves, **GREY)
    leaf = np.arange(8, dtype=np.int32) * (leaves - 1) // 7
    photos = Photos(pixels(8, 16), leaf)
    history = fit(
        model,
        photos,
        photos,
        taxonomy=taxonomy,
        loss=hierarchical_loss(taxonomy, parent_weight=0.5, smoothing=0.1),
        schedule=Schedule(
            epochs=2,
            batch_size=8,
            learning_rate=0.01,
            weight_decay=0.05,
            warmup_share=0.0,
            balance=0.0,
            seed=0,
        ),
        checkpoints=folder,
        on_epoch=lambda epoch: None,
    )
    assert set(history[-1].validation) == {"level_1", "level_2", "leaf"}
    return [epoch.loss for epoch in history]


def test_3200_leaves_train_like_any_other_number(tmp_path: Path) -> None:
    tree = Taxonomy(
        tuple(f"A{a} > B{b} > C{c}" for a in range(8) for b in range(20) for c in range(20))
    )
    first, second = train(Network(blocks=(1,), width=4), tree, tmp_path)
    chance = np.log(3200) + 0.5 * np.log(160) + 0.5 * np.log(8)
    assert first == pytest.approx(chance, rel=0.2)
    assert second < first


def test_a_step_in_mixed_precision_is_nearly_that_in_float32(tmp_path: Path) -> None:
    tree = Taxonomy(tuple(f"A{a} > B{b} > C" for a in range(2) for b in range(3)))
    losses = [
        train(Network(blocks=(1,), width=4, mixed_precision=mixed), tree, tmp_path / str(mixed))
        for mixed in (False, True)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[1] != losses[0]
