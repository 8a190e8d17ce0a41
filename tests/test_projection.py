"""The linear layer behind the embedding of a trained network."""

from pathlib import Path

import keras
import numpy as np

from model.backbone import Network, build
from model.export import export_embedder
from model.projection import append_projection
from model.reducer import unit
from serving.embedder import Embedder

SIDE = 16


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    shape = Network(blocks=(1,), width=6)
    return build(shape, 3, mean=[100.0] * 3, deviation=[50.0] * 3)


def test_only_the_embedding_changes_also_in_the_exported_graph(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)
    components = rng.normal(size=(6, 4)).astype(np.float32)
    model = network()
    before = {name: np.asarray(value) for name, value in model(photos, training=False).items()}
    projected = append_projection(model, components)
    after = {name: np.asarray(value) for name, value in projected(photos, training=False).items()}
    assert after.keys() == before.keys()
    for name in after.keys() - {"embedding"}:
        np.testing.assert_allclose(after[name], before[name], atol=1e-5)
    np.testing.assert_allclose(after["embedding"], before["embedding"] @ components, atol=1e-5)
    export_embedder(projected, SIDE, tmp_path / "embedder.onnx")
    vectors, odds = Embedder(tmp_path / "embedder.onnx", threads=1).embed(photos)
    np.testing.assert_allclose(vectors, unit(after["embedding"]), atol=1e-5)
    softmax = np.exp(after["logits"]) / np.exp(after["logits"]).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(odds, softmax, atol=1e-5)
