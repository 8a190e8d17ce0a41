"""The embedder in eight bits: which parts, how near to float32, and really run so."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from onnx import helper, numpy_helper
from tiny_graph import write_mean_colours

from model.backbone import Network, build
from model.errors import BadInput
from model.export import export_embedder
from model.fuse import fuse_reducer
from model.quantise import in_bfloat16, quantise
from model.reducer import fit_pca
from serving.embedder import Embedder
from serving.graph import can_compute, core

SIDE, LEAVES = 32, 5


def pixels(n: int, seed: int = 0, side: int = SIDE) -> np.ndarray:
    """Photos of smooth colours: noise alone would look all the same to a network."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, side // 8, side // 8, 3))
    fine = coarse.repeat(8, axis=1).repeat(8, axis=2) + rng.integers(-20, 20, (n, side, side, 3))
    return np.asarray(fine.clip(0, 255), np.uint8)


def settle(network: keras.Model) -> keras.Model:
    """Norms as after training: scales of about one, and the statistics of the photos."""
    rng = np.random.default_rng(5)
    for layer in network._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
            if layer.scale:
                layer.gamma.assign(rng.uniform(0.8, 1.2, layer.gamma.shape))
    network(pixels(64, seed=3), training=True)
    return network


def ours(**given: object) -> keras.Model:
    keras.utils.set_random_seed(4)
    recipe = Network(blocks=(1, 1), width=8, **given)  # type: ignore[arg-type]
    return settle(build(recipe, LEAVES, mean=[120.0] * 3, deviation=[60.0] * 3, side=SIDE))


def mobile() -> keras.Model:
    """What foreign backbones are made of: depthwise convolutions, hard swish, gates."""
    keras.utils.set_random_seed(4)
    photo = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    x = layers.Rescaling(1 / 60, -2.0, dtype="float32")(photo)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.Activation("hard_silu")(layers.BatchNormalization()(x))
    x = layers.Conv2D(24, 1)(x)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.Activation("hard_silu")(layers.BatchNormalization()(x))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = x * layers.Conv2D(24, 1, activation="hard_sigmoid")(gate)
    x = layers.BatchNormalization()(layers.Conv2D(16, 1)(x))
    embedding = layers.GlobalAveragePooling2D()(x)
    logits = layers.Dense(LEAVES)(embedding)
    return settle(keras.Model(photo, {"embedding": embedding, "logits": logits}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quantise")


@pytest.fixture(scope="module")
def exact(folder: Path) -> Path:
    export_embedder(ours(), SIDE, folder / "ours.onnx")
    return folder / "ours.onnx"


@pytest.fixture(scope="module")
def int8(exact: Path) -> Path:
    path = exact.with_name("ours.int8.onnx")
    quantise(exact, pixels(40, seed=1), path)
    return path


def convolutions(path: Path) -> dict[str, int]:
    """How many convolutions have weights of int8, with a scale for each channel, and of float."""
    graph = onnx.load(path).graph
    weights = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    found = {"int8": 0, "float": 0}
    for node in graph.node:
        if node.op_type == "Conv" and node.input[1] in weights:
            found["float"] += 1
        elif node.op_type == "Conv":
            kernel, scale, _ = made_by[node.input[1]].input
            assert weights[kernel].dtype == np.int8
            assert weights[scale].shape == weights[kernel].shape[:1]
            assert made_by[node.input[0]].op_type == "DequantizeLinear"
            found["int8"] += 1
    return found


def cosines(first: Path, second: Path, photos: np.ndarray) -> np.ndarray:
    vectors = [Embedder(path, threads=1).embed(photos)[0] for path in (first, second)]
    return np.asarray(np.einsum("nd,nd->n", *vectors))


def executed(path: Path) -> Sequence[str]:
    """Sorted: what OpenVINO computes each convolution in."""
    model = core.read_model(path)
    model.reshape([1, SIDE, SIDE, 3])
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    facts = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    return sorted(
        fact["runtimePrecision"].astype(str)
        for fact in facts
        if fact["layerType"].astype(str) == "Convolution"
    )


def test_all_but_the_first_convolution_have_eight_bits(exact: Path, int8: Path) -> None:
    total = convolutions(exact)
    assert total["int8"] == 0
    assert convolutions(int8) == {"int8": total["float"] - 1, "float": 1}
    embedder = Embedder(int8)
    assert (embedder.precision, embedder.side, embedder.leaves) == ("int8", SIDE, LEAVES)
    names = [[output.name for output in onnx.load(path).graph.output] for path in (exact, int8)]
    assert names == [["embedding", "leaf"]] * 2


def test_its_vectors_are_near_those_of_float32(exact: Path, int8: Path) -> None:
    """Of photos that it was not calibrated on; eight bits are not nothing."""
    found = cosines(exact, int8, pixels(60, seed=2))
    assert 0.99 < found.min() < 1 - 1e-6


def test_a_photo_alone_and_in_a_batch(int8: Path) -> None:
    embedder, photos = Embedder(int8), pixels(37)
    alone = np.concatenate([embedder.embed(photo[None])[0] for photo in photos])
    np.testing.assert_allclose(embedder.embed(photos)[0], alone, atol=1e-5)


def test_the_same_photos_give_the_same_bytes(exact: Path, int8: Path) -> None:
    again = exact.with_name("again.onnx")
    quantise(exact, pixels(40, seed=1), again)
    assert again.read_bytes() == int8.read_bytes()
    quantise(exact, pixels(40, seed=9), again)
    assert again.read_bytes() != int8.read_bytes()


def test_fused_it_still_runs_in_eight_bits(exact: Path, int8: Path) -> None:
    reducer = fit_pca([Embedder(exact).embed(pixels(60, seed=1))[0]], 6)
    fused = {path: path.with_name(f"fused.{path.name}") for path in (exact, int8)}
    for path, target in fused.items():
        fuse_reducer(path, reducer, target)
    total = convolutions(exact)["float"]
    assert executed(fused[exact]) == ["f32"] * total
    assert executed(fused[int8]) == ["f32"] + ["u8"] * (total - 1)
    embedder = Embedder(fused[int8])
    assert (embedder.precision, embedder.dimensions) == ("int8", 6)
    assert cosines(fused[exact], fused[int8], pixels(60, seed=2)).min() > 0.99


def test_both_branches_keep_their_first_convolution(folder: Path) -> None:
    exact, path = folder / "shallow.onnx", folder / "shallow.int8.onnx"
    export_embedder(ours(shallow=True), SIDE, exact)
    quantise(exact, pixels(40, seed=1), path)
    total = convolutions(exact)["float"]
    assert convolutions(path) == {"int8": total - 2, "float": 2}
    assert cosines(exact, path, pixels(60, seed=2)).min() > 0.99


def test_depthwise_convolutions_stay_as_they_are(folder: Path) -> None:
    exact, path = folder / "mobile.onnx", folder / "mobile.int8.onnx"
    export_embedder(mobile(), SIDE, exact)
    quantise(exact, pixels(40, seed=1), path)
    assert convolutions(exact) == {"int8": 0, "float": 5}
    assert convolutions(path) == {"int8": 3, "float": 2}
    assert cosines(exact, path, pixels(60, seed=2)).min() > 0.97


@pytest.mark.skipif(not can_compute("bfloat16"), reason="a processor without bfloat16")
def test_bfloat16_is_the_same_graph_with_a_mark(exact: Path, folder: Path) -> None:
    path = folder / "bfloat16.onnx"
    in_bfloat16(exact, path)
    assert onnx.load(path).graph == onnx.load(exact).graph
    assert Embedder(path).precision == "bfloat16"
    assert 0.999 < cosines(exact, path, pixels(60, seed=2)).min() < 1 - 1e-7


@pytest.mark.parametrize("shape", [(0, SIDE, SIDE, 3), (4, SIDE + 8, SIDE + 8, 3)])
def test_other_photos_cannot_calibrate(exact: Path, folder: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput) as caught:
        quantise(exact, np.zeros(shape, np.uint8), folder / "never.onnx")
    assert str(caught.value) == (
        f"Cannot calibrate the int8 embedder. Expected photos [1 or more, {SIDE}, {SIDE}, 3]. "
        f"Received: {list(shape)}."
    )
    assert not (folder / "never.onnx").exists()


def test_a_graph_without_convolutions_has_no_such_form(tmp_path: Path) -> None:
    write_mean_colours(tmp_path / "flat.onnx", SIDE)
    with pytest.raises(BadInput) as caught:
        quantise(tmp_path / "flat.onnx", pixels(4), tmp_path / "never.onnx")
    assert str(caught.value) == (
        "Cannot make an int8 embedder of this graph. Expected convolutions after the first. "
        "Received none. Take int8 out of `embed.precisions`."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["flat.onnx"]


def test_what_the_library_cannot_run_is_an_error_of_ours(exact: Path, tmp_path: Path) -> None:
    model = onnx.load(exact)
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type, relu.domain = "Sparkle", "shop.example"
    model.opset_import.append(helper.make_opsetid("shop.example", 1))
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(BadInput) as caught:
        quantise(tmp_path / "odd.onnx", pixels(4), tmp_path / "never.onnx")
    assert str(caught.value).startswith("Cannot make an int8 embedder of this graph: ")
    assert "Sparkle" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["odd.onnx"]
