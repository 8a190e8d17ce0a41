"""Where a classifier looks: maps that add up to its logits, and boxes around their peaks."""

import keras
import numpy as np
import pytest

from model.activation import SIDE, activation_boxes, activation_maps, box_of
from model.backbone import Network, build
from model.errors import BadInput
from model.fit import outputs
from model.taps import NECK

LEAVES = 3


def classifier(side: int | None, *, shallow: bool = False) -> keras.Model:
    """Whose norms are not those of a fresh network."""
    keras.utils.set_random_seed(0)
    network = Network(blocks=(1, 1), width=8, shallow=shallow)
    model = build(network, LEAVES, mean=(128,) * 3, deviation=(64,) * 3, side=side)
    rng, neck = np.random.default_rng(0), model.get_layer(NECK)
    neck.set_weights([rng.uniform(0.5, 2, weight.shape) for weight in neck.weights])
    return model


def photos(count: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, side, side, 3), np.uint8)


def test_the_mean_of_a_map_is_the_logit_but_for_its_offset() -> None:
    model, leaf = classifier(32), np.array([0, 1, 2, 1], np.int32)
    maps = activation_maps(model, photos(4), leaf)
    assert (maps.shape, maps.dtype) == ((4, 8, 8), np.float32)
    gamma, mean, variance = model.get_layer(NECK).get_weights()
    kernel, bias = model.get_layer("leaf").get_weights()
    offset = bias - (gamma * mean / np.sqrt(variance + model.get_layer(NECK).epsilon)) @ kernel
    logits = outputs(model, photos(4), ("logits",))["logits"]
    np.testing.assert_allclose(
        maps.mean(axis=(1, 2)) + offset[leaf], logits[np.arange(4), leaf], atol=1e-3
    )


def test_a_network_of_any_side_looks_at_a_larger_photo() -> None:
    leaf = np.zeros(2, np.int32)
    assert activation_maps(classifier(None), photos(2), leaf).shape == (2, 16, 16)
    assert activation_maps(classifier(None, shallow=True), photos(2), leaf).shape == (2, 16, 16)


@pytest.mark.parametrize("count", [0, 1, 70])
def test_every_photo_has_a_box_with_an_area(count: int) -> None:
    boxes = activation_boxes(classifier(32), photos(count), np.zeros(count, np.int32))
    assert (boxes.shape, boxes.dtype) == ((count, 4), np.float32)
    assert ((boxes >= 0) & (boxes <= 1)).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_the_box_is_around_the_peak_alone() -> None:
    """The larger of two hills, and nothing of the other."""
    heat = np.zeros((SIDE, SIDE), np.float32)
    heat[10:30, 4:24] = 1.0
    heat[40:60, 40:60] = 0.8
    np.testing.assert_allclose(box_of(heat) * SIDE, [4, 10, 24, 30])


@pytest.mark.parametrize("level", [-3.0, 0.0, 2.0])
def test_a_flat_map_is_the_whole_photo(level: float) -> None:
    np.testing.assert_array_equal(box_of(np.full((4, 4), level, np.float32)), [0, 0, 1, 1])


def test_a_network_without_a_map_is_refused() -> None:
    pixels = keras.Input((8, 8, 3), dtype="uint8")
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1.0)(pixels))
    model = keras.Model(pixels, {"logits": keras.layers.Dense(2)(flat)})
    with pytest.raises(BadInput, match=r"^The network has no map to find a product by\."):
        activation_maps(model, photos(1, side=8), np.zeros(1, np.int32))
