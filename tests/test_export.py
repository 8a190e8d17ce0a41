"""From Keras to ONNX, then with the reducer: the same numbers at every step."""

from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from model.backbone import Network, build
from model.errors import BadInput
from model.export import embedder, export_embedder
from model.fuse import fuse_reducer
from model.reducer import Array, Reducer, fit_pca, unit
from model.taps import DEFAULT, Taps, measure, spaces
from serving.embedder import BATCH, Embedder

SIDE, LEAVES, DIMENSIONS, REDUCED = 24, 5, 16, 6


def pixels(n: int, seed: int = 0, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def network(side: int | None = None, **options: object) -> keras.Model:
    """With weights as after training: no branch is zero, no norm is that of a fresh network.

    Without a `side` it takes any, as our own does.
    """
    keras.utils.set_random_seed(4)
    model = build(
        Network(**{"blocks": (1, 1), "width": 8, **options}),  # type: ignore[arg-type]
        LEAVES,
        mean=[120.0] * 3,
        deviation=[60.0] * 3,
        side=side,
    )
    rng = np.random.default_rng(5)
    for variable in model.weights:
        if variable.name in {"gamma", "moving_variance"}:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.name in {"beta", "moving_mean"}:
            variable.assign(rng.uniform(-0.5, 0.5, variable.shape))
    return model


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return network()


@pytest.fixture(scope="module")
def exported(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "embedder.onnx"
    export_embedder(model, SIDE, path)
    return path


@pytest.fixture(scope="module")
def reducer(exported: Path) -> Reducer:
    return fit_pca([Embedder(exported, threads=1).embed(pixels(60, seed=1))[0]], REDUCED)


@pytest.fixture(scope="module")
def fused(exported: Path, reducer: Reducer) -> Path:
    path = exported.with_name("fused.onnx")
    fuse_reducer(exported, reducer, path)
    return path


def by_keras(model: keras.Model, batch: np.ndarray) -> tuple[Array, Array]:
    out = model(batch, training=False)
    odds = keras.ops.convert_to_numpy(keras.ops.softmax(out["logits"]))
    return unit(keras.ops.convert_to_numpy(out["embedding"])), odds


def interface(path: Path) -> list[tuple[str, list[object]]]:
    graph = onnx.load(path).graph
    return [
        (value.name, [d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim][1:])
        for value in (*graph.input, *graph.output)
    ]


def test_the_exported_graph_has_our_names_and_no_other_input(exported: Path) -> None:
    assert interface(exported) == [
        ("pixels", [SIDE, SIDE, 3]),
        ("embedding", [DIMENSIONS]),
        ("leaf", [LEAVES]),
    ]
    onnx.checker.check_model(onnx.load(exported))


@pytest.mark.parametrize("n", [1, 7, BATCH + 1])
def test_onnx_equals_keras(model: keras.Model, exported: Path, n: int) -> None:
    batch = pixels(n, seed=n)
    vectors, odds = Embedder(exported, threads=1).embed(batch)
    expected, expected_odds = by_keras(model, batch)
    assert np.abs(vectors - expected).max() < 1e-4
    assert np.einsum("nd,nd->n", vectors, expected).min() > 0.99999
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), np.ones(n), atol=1e-5)
    np.testing.assert_allclose(odds, expected_odds, atol=1e-5)


def test_the_fused_graph_applies_the_reducer(exported: Path, fused: Path, reducer: Reducer) -> None:
    assert interface(fused) == [
        ("pixels", [SIDE, SIDE, 3]),
        ("vector", [REDUCED]),
        ("leaf", [LEAVES]),
    ]
    batch = pixels(20, seed=9)
    full, odds = Embedder(exported, threads=1).embed(batch)
    vectors, same_odds = Embedder(fused, threads=1).embed(batch)
    np.testing.assert_allclose(vectors, reducer(full), atol=1e-5)
    np.testing.assert_array_equal(same_odds, odds)


def test_fusing_leaves_the_embedder_as_it_was(exported: Path, reducer: Reducer) -> None:
    before = exported.read_bytes()
    fuse_reducer(exported, reducer, exported.with_name("again.onnx"))
    assert exported.read_bytes() == before


def test_export_is_the_same_twice(model: keras.Model, exported: Path, tmp_path: Path) -> None:
    """The space id is a digest of these bytes' numbers: equal networks, equal vectors."""
    export_embedder(model, SIDE, tmp_path / "again.onnx")
    batch = pixels(5)
    first, again = (
        Embedder(path, threads=1).embed(batch)[0] for path in (exported, tmp_path / "again.onnx")
    )
    np.testing.assert_array_equal(first, again)


def test_the_embedder_knows_its_sizes(fused: Path) -> None:
    embedder = Embedder(fused, threads=1)
    assert (embedder.side, embedder.dimensions, embedder.leaves) == (SIDE, REDUCED, LEAVES)
    vectors, odds = embedder.embed(pixels(0))
    assert (vectors.shape, odds.shape) == ((0, REDUCED), (0, LEAVES))
    assert {vectors.dtype, odds.dtype} == {np.dtype(np.float32)}


def test_a_photo_s_vector_does_not_depend_on_its_batch(fused: Path) -> None:
    embedder, batch = Embedder(fused, threads=1), pixels(BATCH + 3)
    together = embedder.embed(batch)[0]
    alone = np.concatenate([embedder.embed(photo[None])[0] for photo in batch])
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize(
    "shape", [(2, SIDE + 1, SIDE + 1, 3), (2, SIDE, SIDE, 4), (SIDE, SIDE, 3), (0,)]
)
def test_other_pixels_are_refused(fused: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput) as caught:
        Embedder(fused, threads=1).embed(np.zeros(shape, np.uint8))
    assert str(caught.value) == (
        f"Wrong pixels for this embedder. Expected [n, {SIDE}, {SIDE}, 3]. "
        f"Received: {list(shape)}. Was the pixel spec changed without retraining?"
    )


def agrees(model: keras.Model, path: Path, side: int = SIDE, taps: Taps = DEFAULT) -> np.ndarray:
    """Export `model`, hold the graph to the Keras one, and give its vectors of 20 photos."""
    batch = pixels(20, side=side)
    export_embedder(model, side, path, taps)
    assert [value.name for value in onnx.load(path).graph.input] == ["pixels"]
    vectors, odds = Embedder(path, threads=1).embed(batch)
    expected = embedder(model, side, taps)(batch, training=False)
    np.testing.assert_allclose(vectors, expected["embedding"], atol=1e-4)
    np.testing.assert_allclose(odds, expected["leaf"], atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), np.ones(20), atol=1e-5)
    return vectors


def test_taps_are_part_of_the_exported_graph(tmp_path: Path) -> None:
    model = network(shallow=True)
    taps = measure(model, ("embedding", "stage1*0.5", "shallow"), [pixels(40)])
    vectors = agrees(model, tmp_path / "taps.onnx", taps=taps)
    assert vectors.shape == (20, 32 + 8 + 16)
    taps.save(tmp_path / "taps.json")
    assert Taps.load(tmp_path / "taps.json") == taps
    alone = spaces(model, taps)(pixels(20))
    factors = {name: w / 2.5 for name, w in (("embedding", 1), ("stage1", 0.5), ("shallow", 1))}
    expected = np.concatenate([alone[name] * f**0.5 for name, f in factors.items()], axis=1)
    np.testing.assert_allclose(vectors, expected, atol=1e-4)


def test_a_network_trained_in_bfloat16_is_exported_in_float32(
    exported: Path, tmp_path: Path
) -> None:
    mixed = network(mixed_precision=True)
    vectors = agrees(mixed, tmp_path / "mixed.onnx")
    np.testing.assert_array_equal(vectors, Embedder(exported, threads=1).embed(pixels(20))[0])
    types = {value.data_type for value in onnx.load(tmp_path / "mixed.onnx").graph.initializer}
    assert onnx.TensorProto.BFLOAT16 not in types


def test_averaged_weights_are_exported(tmp_path: Path) -> None:
    model = network()
    average = keras.optimizers.AdamW(0.05, use_ema=True, ema_momentum=0.5)
    model.compile(optimizer=average, loss={"logits": "sparse_categorical_crossentropy"})
    for step in range(3):
        model.train_on_batch(pixels(8, step), {"logits": np.arange(8) % LEAVES})
    last = by_keras(model, pixels(20))[0]
    average.finalize_variable_values(model.trainable_variables)
    assert np.abs(agrees(model, tmp_path / "average.onnx") - last).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "ConvNeXtTiny",
        "DenseNet121",
        "EfficientNetB0",
        "EfficientNetV2B0",
        "InceptionResNetV2",
        "InceptionV3",
        "MobileNet",
        "MobileNetV2",
        "MobileNetV3Small",
        "NASNetMobile",
        "ResNet50",
        "ResNet50V2",
        "VGG16",
        "Xception",
    ],
)
def test_every_family_of_applications_is_exported(name: str, tmp_path: Path) -> None:
    """Built for the side of the photos, as the step does it; some are wrong for any other."""
    agrees(network(96, backbone=f"keras.applications.{name}"), tmp_path / "it.onnx", 96)


def small(*layers: keras.Layer) -> keras.Model:
    """A network of one's own with the outputs that an export needs."""
    keras.utils.set_random_seed(2)
    x = given = keras.Input((None, None, 3), dtype="uint8")
    for layer in (keras.layers.Rescaling(1 / 255), *layers):
        x = layer(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = {"embedding": x, "logits": keras.layers.Dense(LEAVES)(x)}
    return keras.Model(given, outputs)


def test_layers_that_onnx_lacks_are_put_in_its_words(tmp_path: Path) -> None:
    """A norm of constants, a convolution in groups, and GELU, which is made of erfc."""
    moments = keras.layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.1, 0.2, 0.3])
    wide, alone = (keras.layers.Conv2D(8, 3, groups=groups) for groups in (1, 8))
    model = small(moments, wide, alone, keras.layers.Activation("gelu"))
    assert agrees(model, tmp_path / "it.onnx").shape == (20, 8)


def test_a_layer_that_cannot_be_exported_is_named(tmp_path: Path) -> None:
    pairs = small(keras.layers.Conv2D(4, 3), keras.layers.Conv2D(4, 3, groups=2))
    with pytest.raises(BadInput) as caught:
        export_embedder(pairs, SIDE, tmp_path / "it.onnx")
    message = str(caught.value)
    assert message.startswith(
        "The network cannot be exported. Expected layers that ONNX knows. Received: "
    )
    assert message.endswith("Set another `train.backbone`.")
    assert not (tmp_path / "it.onnx").exists()
