"""From Keras to ONNX, then with the reducer: the same numbers at every step."""

from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from model.errors import BadInput
from model.export import export_embedder
from model.fuse import fuse_reducer
from model.pca import Array, Reducer, fit_pca, unit
from model.resnet import Architecture, build
from serving.embedder import BATCH, Embedder

SIDE, LEAVES, DIMENSIONS, REDUCED = 24, 5, 16, 6


def pixels(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """With weights as after training: no branch is zero, no norm is that of a fresh network."""
    keras.utils.set_random_seed(4)
    network = build(Architecture((1, 1), 8), LEAVES, mean=[120.0] * 3, deviation=[60.0] * 3)
    rng = np.random.default_rng(5)
    for variable in network.weights:
        if variable.name in {"gamma", "moving_variance"}:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.name in {"beta", "moving_mean"}:
            variable.assign(rng.uniform(-0.5, 0.5, variable.shape))
    return network


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
