"""Our own network: names and shapes of its maps, for any depth, width and side."""

import keras
import numpy as np
import pytest

from model.errors import BadInput
from model.resnet import shallow, stages


def maps(blocks: tuple[int, ...], width: int) -> keras.Model:
    x = keras.Input((None, None, 3))
    return keras.Model(x, stages(x, blocks, width))


def pixels(n: int, height: int, width: int | None = None) -> np.ndarray:
    shape = (n, height, width or height, 3)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def run(model: keras.Model, batch: np.ndarray) -> dict[str, np.ndarray]:
    outputs = model(batch, training=False)
    return {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}


@pytest.mark.parametrize(("blocks", "width"), [((1,), 4), ((1, 2), 8), ((1, 1, 1, 1), 6)])
@pytest.mark.parametrize("side", [32, 33, 8])
def test_names_and_shapes(blocks: tuple[int, ...], width: int, side: int) -> None:
    half = -(-side // 2)
    expected = {"stem": (3, half, half, width)}
    for stage in range(len(blocks)):
        part = -(-half // 2**stage)
        expected[f"stage{stage + 1}"] = (3, part, part, width * 2**stage)
    found = run(maps(blocks, width), pixels(3, side))
    assert {name: value.shape for name, value in found.items()} == expected
    assert list(found) == list(expected)
    assert all(np.isfinite(value).all() for value in found.values())


def test_a_photo_need_not_be_a_square() -> None:
    found = run(maps((1, 1), 4), pixels(2, 40, 24))
    assert [value.shape for value in found.values()] == [
        (2, 20, 12, 4),
        (2, 20, 12, 4),
        (2, 10, 6, 8),
    ]


def parameters(blocks: tuple[int, ...], width: int) -> int:
    """Convolutions without offset, four numbers a channel in each norm."""
    total, channels = 3 * 9 * width + 4 * width, width
    for stage, count in enumerate(blocks):
        out = width * 2**stage
        for _ in range(count):
            total += 9 * channels * out + 9 * out * out + 2 * 4 * out
            total += (channels * out + 4 * out) if channels != out else 0
            channels = out
    return total


@pytest.mark.parametrize(("blocks", "width"), [((1,), 4), ((2, 1), 8), ((1, 1, 1, 1), 24)])
def test_parameters_are_counted(blocks: tuple[int, ...], width: int) -> None:
    assert maps(blocks, width).count_params() == parameters(blocks, width)


def test_residual_branches_start_at_zero() -> None:
    """So a block of a fresh network is its shortcut, and depth costs nothing at the start."""
    keras.utils.set_random_seed(1)
    found = run(maps((3,), 4), pixels(2, 16))
    np.testing.assert_array_equal(found["stage1"], found["stem"])


@pytest.mark.parametrize(
    ("blocks", "width"),
    [((), 4), ((1, 1, 1, 1, 1, 1), 4), ((1, 0), 4), ((-1,), 4), ((1, 1), 0)],
)
def test_other_architectures_are_refused(blocks: tuple[int, ...], width: int) -> None:
    with pytest.raises(BadInput) as caught:
        maps(blocks, width)
    assert str(caught.value) == (
        f"Cannot build the network. Expected 1 to 5 stages, and at least one block in each and "
        f"one channel. Received: blocks={blocks}, width={width}."
    )


@pytest.mark.parametrize(("side", "expected"), [(128, 4), (64, 2), (33, 2), (16, 1), (8, 1)])
def test_the_shallow_branch_is_small_whatever_the_side(side: int, expected: int) -> None:
    x = keras.Input((None, None, 3))
    branch = keras.Model(x, shallow(x, 6))
    assert branch(pixels(2, side)).shape == (2, expected, expected, 12)
    assert len([layer for layer in branch.layers if isinstance(layer, keras.layers.Conv2D)]) == 2


def test_the_shallow_branch_sees_little_of_its_surroundings() -> None:
    """A change in one corner of 128 pixels does not reach the other."""
    x = keras.Input((128, 128, 3))
    branch = keras.Model(x, shallow(x, 4))
    batch = pixels(1, 128)
    changed = batch.copy()
    changed[:, :32, :32] = 0
    moved = np.abs(np.asarray(branch(batch)) - np.asarray(branch(changed))).max(axis=-1)[0] > 0
    assert moved[0, 0]
    assert not moved[2:].any()
    assert not moved[:, 2:].any()
