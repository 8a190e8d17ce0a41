"""The network: names and shapes of what it gives, for any depth, width and side."""

import keras
import numpy as np
import pytest

from model.errors import BadInput
from model.resnet import Architecture, build

GREY = {"mean": [128.0, 120.0, 110.0], "deviation": [60.0, 61.0, 62.0]}
TINY = Architecture((1, 1), 4)


def pixels(n: int, height: int, width: int | None = None, seed: int = 0) -> np.ndarray:
    shape = (n, height, width or height, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def run(model: keras.Model, batch: np.ndarray) -> dict[str, np.ndarray]:
    outputs = model(batch, training=False)
    return {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}


@pytest.mark.parametrize(
    ("blocks", "width", "leaves"), [((1,), 4, 1), ((1, 2), 8, 5), ((1, 1, 1, 1), 6, 3)]
)
def test_names_and_shapes(blocks: tuple[int, ...], width: int, leaves: int) -> None:
    architecture = Architecture(blocks, width)
    found = run(build(architecture, leaves, **GREY), pixels(3, 32))
    side, expected = 16, {"stem": (3, 16, 16, width)}
    for stage in range(len(blocks)):
        side = -(-16 // 2**stage)
        expected[f"stage{stage + 1}"] = (3, side, side, width * 2**stage)
    dimensions = width * 2 ** (len(blocks) - 1)
    expected |= {"pooled": (3, dimensions), "embedding": (3, dimensions), "logits": (3, leaves)}
    assert {name: value.shape for name, value in found.items()} == expected
    assert list(found) == list(expected)
    assert architecture.dimensions == dimensions
    assert all(np.isfinite(value).all() for value in found.values())
    assert {found[name].dtype for name in ("pooled", "embedding", "logits")} == {
        np.dtype(np.float32)
    }


def parameters(blocks: tuple[int, ...], width: int, leaves: int) -> int:
    """Convolutions without offset, four numbers a channel in each norm, three in the last."""
    total, channels = 3 * 9 * width + 4 * width, width
    for stage, count in enumerate(blocks):
        out = width * 2**stage
        for _ in range(count):
            total += 9 * channels * out + 9 * out * out + 2 * 4 * out
            total += (channels * out + 4 * out) if channels != out else 0
            channels = out
    return total + 3 * channels + channels * leaves + leaves


@pytest.mark.parametrize(
    ("blocks", "width", "leaves"), [((1,), 4, 2), ((2, 1), 8, 7), ((1, 1, 1, 1), 24, 60)]
)
def test_parameters_are_counted(blocks: tuple[int, ...], width: int, leaves: int) -> None:
    model = build(Architecture(blocks, width), leaves, **GREY)
    assert model.count_params() == parameters(blocks, width, leaves)


def test_any_side_is_accepted_and_a_fixed_one_is_fixed() -> None:
    model = build(TINY, 3, **GREY)
    shapes = [run(model, pixels(2, *side))["embedding"].shape for side in ((8,), (33,), (40, 24))]
    assert shapes == [(2, 8)] * 3
    fixed = build(TINY, 3, side=16, **GREY)
    assert fixed.input.shape == (None, 16, 16, 3)
    with pytest.raises(ValueError, match="expected shape"):
        fixed(pixels(1, 20))


def test_pixels_are_normalised_by_mean_and_deviation() -> None:
    model = build(TINY, 3, **GREY)
    layer = keras.Model(model.input, model.get_layer("normalise").output)
    batch = pixels(2, 8)
    expected = (batch.astype(np.float32) - GREY["mean"]) / GREY["deviation"]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(batch)), expected, atol=1e-5)


def test_residual_branches_start_at_zero() -> None:
    """So a block of a fresh network is its shortcut, and depth costs nothing at the start."""
    keras.utils.set_random_seed(1)
    found = run(build(Architecture((3,), 4), 2, **GREY), pixels(2, 16))
    np.testing.assert_array_equal(found["stage1"], found["stem"])


def test_two_photos_do_not_touch_each_other() -> None:
    model = build(TINY, 3, **GREY)
    batch = pixels(4, 16)
    together = run(model, batch)["embedding"]
    alone = np.concatenate([run(model, photo[None])["embedding"] for photo in batch])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_extreme_photos_have_finite_embeddings() -> None:
    model = build(TINY, 3, **GREY)
    batch = np.stack([np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)])
    assert np.isfinite(run(model, batch)["embedding"]).all()


@pytest.mark.parametrize(
    ("blocks", "width", "leaves"),
    [
        ((), 4, 3),
        ((1, 1, 1, 1, 1, 1), 4, 3),
        ((1, 0), 4, 3),
        ((-1,), 4, 3),
        ((1, 1), 0, 3),
        ((1, 1), 4, 0),
    ],
)
def test_other_architectures_are_refused(blocks: tuple[int, ...], width: int, leaves: int) -> None:
    with pytest.raises(BadInput) as caught:
        build(Architecture(blocks, width), leaves, **GREY)
    assert str(caught.value) == (
        f"Cannot build the network. Expected 1 to 5 stages, and at least one block in each, one "
        f"channel and one leaf. Received: blocks={blocks}, width={width}, leaves={leaves}."
    )
