"""Backbones of others: the same contract, their own scaling, and never a download."""

import sys
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
import pytest

from model.backbone import Network, build
from model.errors import BadInput
from model.foreign import Scaling, load_weights

# 2026-11: Keras 3.15 copies TensorFlow variables to NumPy 2 the old way when it saves weights.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

GREY: dict[str, Any] = {"mean": [128.0, 120.0, 110.0], "deviation": [60.0, 61.0, 62.0]}
SIDE = 32


def pixels(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)


def network(backbone: str, side: int | None = SIDE, **options: Any) -> keras.Model:
    keras.utils.set_random_seed(1)
    return build(Network(backbone=backbone, **options), 3, side=side, **GREY)


def run(model: keras.Model, batch: np.ndarray) -> dict[str, np.ndarray]:
    outputs = model(batch, training=False)
    return {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}


FAMILIES = [
    name
    for name in dir(keras.applications)
    if name.islower() and hasattr(getattr(keras.applications, name), "preprocess_input")
]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_scaling_of_every_application_is_found(family: str) -> None:
    preprocess = getattr(keras.applications, family).preprocess_input
    batch, scaling = pixels(2).astype(np.float32), Scaling.of(preprocess)
    ordered = batch[..., ::-1] if scaling.bgr else batch
    found = ordered * np.array(scaling.scale) + np.array(scaling.offset)
    np.testing.assert_allclose(found, preprocess(batch.copy()), atol=1e-4)


def test_an_application_gets_the_pixels_that_it_expects() -> None:
    """Blue, green, red, less a mean: of photos of any side."""
    model = network("keras.applications.VGG16", side=None)
    assert model.input.shape == (None, None, None, 3)
    batch = pixels(2)
    scaled = keras.applications.vgg16.preprocess_input(batch.astype(np.float32))
    inside = keras.Model(model.input, model.get_layer("scale").output)
    np.testing.assert_allclose(inside(batch), scaled, atol=1e-4)
    expected = model.get_layer("backbone")(scaled, training=False)["features"]
    np.testing.assert_allclose(run(model, batch)["features"], expected, rtol=1e-3, atol=1e-5)


def test_an_application_keeps_the_contract() -> None:
    model = network(
        "keras.applications.MobileNet",
        taps=("embedding", "conv_pw_1_relu", "conv_pw_5_relu*0.5"),
        shallow=True,
        width=4,
    )
    assert {name: value.shape for name, value in run(model, pixels(2)).items()} == {
        "conv_pw_1_relu": (2, 16, 16, 64),
        "conv_pw_5_relu": (2, 4, 4, 256),
        "features": (2, 1, 1, 1024),
        "shallow": (2, 1, 1, 8),
        "pooled": (2, 1032),
        "embedding": (2, 1032),
        "logits": (2, 3),
    }
    model.compile(optimizer="sgd", loss={"logits": "sparse_categorical_crossentropy"})
    assert np.isfinite(model.train_on_batch(pixels(4), {"logits": np.arange(4) % 3}))


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    given = keras.applications.MobileNet(include_top=False, weights=None)
    given.save_weights(tmp_path / "mobile.weights.h5")
    model = network("keras.applications.MobileNet", weights=tmp_path / "mobile.weights.h5")
    for found, expected in zip(
        model.get_layer("backbone").get_weights(), given.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def dense(*widths: int) -> keras.Model:
    layers = [keras.layers.Dense(width) for width in widths]
    return keras.Sequential([keras.Input((4,)), *layers], name="some")


@pytest.mark.parametrize("content", ["narrower", "shorter", "text", "nothing"])
def test_wrong_weights_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "some.weights.h5"
    others = {"narrower": (2, 3), "shorter": (3,)}
    if content in others:
        dense(*others[content]).save_weights(path)
    elif content == "text":
        path.write_text("no weights")
    with pytest.raises(BadInput) as caught:
        load_weights(dense(3, 3), path)
    assert str(caught.value).startswith(
        f"Cannot load the weights {path}. Expected those of `some` without its top, as Keras "
        f"saves them (.weights.h5, .h5 or .keras). Received: "
    )


def test_unknown_backbones_are_refused() -> None:
    with pytest.raises(BadInput) as caught:
        network("vit")
    assert str(caught.value) == (
        "Unknown backbone. Expected `resnet`, `keras.applications.NAME` or `keras_hub:FOLDER`. "
        "Received: `vit`."
    )
    with pytest.raises(BadInput) as caught:
        network("keras.applications.ResNet51")
    message = str(caught.value)
    assert message.startswith("Keras has no such application. Expected one of: ConvNeXtBase, ")
    assert message.endswith(", VGG19, Xception. Received: `ResNet51`.")


def test_photos_too_small_for_an_application_are_refused() -> None:
    with pytest.raises(BadInput) as caught:
        network("keras.applications.Xception")
    assert str(caught.value) == (
        "Cannot build `Xception` for photos of side 32. Input size must be at least 71x71; "
        "Received: input_shape=(32, 32, 3) Set another side in the pixel spec."
    )


def test_unknown_layers_are_refused_with_those_there_are() -> None:
    with pytest.raises(BadInput) as caught:
        network("keras.applications.VGG16", taps=("embedding", "stage2"))
    message = str(caught.value)
    assert message.startswith(
        "The network has no such output. Expected taps among: features, pooled, embedding, logits, "
    )
    assert ", block1_conv1, block1_conv2, block1_pool, " in message
    assert message.endswith(", block5_pool. Received: stage2.")


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network of keras-hub, and how its pixels are scaled."""
    folder = tmp_path_factory.mktemp("preset")
    keras.utils.set_random_seed(7)
    keras_hub.models.VGGBackbone(
        stackwise_num_repeats=[1, 1], stackwise_num_filters=[4, 8]
    ).save_to_preset(str(folder))
    keras_hub.layers.ImageConverter(
        scale=[0.01, 0.02, 0.03], offset=[-1.0, -2.0, -3.0]
    ).save_to_preset(str(folder))
    return folder


def test_a_preset_keeps_the_contract_and_its_weights(preset: Path) -> None:
    base = keras_hub.models.Backbone.from_preset(str(preset))
    model = network(f"keras_hub:{preset}", taps=("block1_pool",))
    batch = pixels(2)
    found = run(model, batch)
    assert {name: value.shape for name, value in found.items()} == {
        "block1_pool": (2, 16, 16, 4),
        "features": (2, 8, 8, 8),
        "pooled": (2, 8),
        "embedding": (2, 8),
        "logits": (2, 3),
    }
    scaled = batch * np.array([0.01, 0.02, 0.03]) - np.array([1.0, 2.0, 3.0])
    expected = base(scaled.astype(np.float32), training=False)
    np.testing.assert_allclose(found["features"], expected, rtol=1e-4, atol=1e-6)


def test_a_preset_in_mixed_precision(preset: Path) -> None:
    model = network(f"keras_hub:{preset}", mixed_precision=True)
    assert model.output["features"].dtype == "bfloat16"
    assert model.output["embedding"].dtype == "float32"


def test_a_preset_of_tokens(tmp_path: Path) -> None:
    """And without a word on scaling: it gets the pixels as they are."""
    base = keras_hub.models.ViTBackbone(
        image_shape=(SIDE, SIDE, 3),
        patch_size=16,
        num_layers=1,
        num_heads=1,
        hidden_dim=4,
        mlp_dim=4,
    )
    base.save_to_preset(str(tmp_path))
    batch = pixels(2)
    found = run(network(f"keras_hub:{tmp_path}"), batch)
    tokens = keras.ops.convert_to_numpy(base(batch.astype(np.float32), training=False))
    assert found["features"].shape == tokens.shape == (2, 5, 4)
    np.testing.assert_allclose(found["features"], tokens, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["pooled"], tokens.mean(axis=1), rtol=1e-4, atol=1e-5)
    with pytest.raises(BadInput) as caught:
        network(f"keras_hub:{tmp_path}", side=64)
    assert str(caught.value) == (
        f"`keras_hub:{tmp_path}` cannot be a backbone. Expected photos [n, 64, 64, 3] in and one "
        f"map [n, h, w, c] or tokens [n, t, c] out. "
        f"Received: [None, 32, 32, 3] in and [None, 5, 4] out."
    )


def test_a_folder_that_is_no_preset_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    """Though its name is that of a preset that could be downloaded."""
    monkeypatch.chdir(tmp_path)
    Path("resnet_50_imagenet").mkdir()
    with pytest.raises(BadInput) as caught:
        network("keras_hub:resnet_50_imagenet")
    assert str(caught.value).startswith(
        "Cannot load a backbone from resnet_50_imagenet. Expected a folder that keras-hub's "
        "`save_to_preset` has written. Received: Preset "
    )
    with pytest.raises(BadInput, match="^Cannot load a backbone from bert_base_en"):
        network("keras_hub:bert_base_en")


def test_a_preset_that_reads_no_photos_is_refused(tmp_path: Path) -> None:
    keras_hub.models.BertBackbone(
        vocabulary_size=10, num_layers=1, num_heads=1, hidden_dim=4, intermediate_dim=4
    ).save_to_preset(str(tmp_path))
    with pytest.raises(BadInput) as caught:
        network(f"keras_hub:{tmp_path}")
    assert str(caught.value).startswith(
        f"`keras_hub:{tmp_path}` cannot be a backbone. Expected photos [n, 32, 32, 3] in and one "
        f"map [n, h, w, c] or tokens [n, t, c] out. Received: "
    )


def test_without_keras_hub_the_message_says_what_to_install(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(BadInput) as caught:
        network("keras_hub:some/folder")
    assert str(caught.value) == (
        "Cannot load the preset some/folder. Expected keras-hub. Received: import of keras_hub "
        "halted; None in sys.modules. Install the extra `hub`."
    )
