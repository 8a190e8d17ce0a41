"""The float32 copy of a network: the same weights, the same answers, nothing of the training."""

import keras
import numpy as np
import pytest

from model.precision import in_float32, precision


def batch(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, 12, 12, 3)).astype(np.float32)


def network(*, mixed: bool) -> keras.Model:
    """A nested network, with a layer of each kind that needs care."""
    keras.utils.set_random_seed(5)
    with precision(mixed=mixed):
        inner = keras.Input((None, None, 3))
        x = keras.layers.Normalization(axis=-1, name="moments")(inner)
        x = keras.layers.Conv2D(4, 3, name="plain")(x)
        x = keras.layers.Conv2D(
            4, 3, strides=2, padding="same", groups=4, activation="relu", name="alone"
        )(x)
        x = keras.layers.BatchNormalization(name="norm")(x)
        nested = keras.Model(inner, {"map": x}, name="nested")
        outer = keras.Input((None, None, 3))
        x = nested(keras.ops.take(outer, [2, 1, 0], axis=-1))["map"]
        x = keras.layers.Dropout(0.5, seed=1)(x)
        model = keras.Model(outer, {"map": x, "mean": keras.ops.mean(x, axis=(1, 2))})
    rng = np.random.default_rng(6)
    model.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in model.get_weights()])
    nested.get_layer("moments").finalize_state()
    return model


def run(model: keras.Model, values: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in model(values, training=False).items()}


def test_the_copy_of_a_float32_network_gives_the_same() -> None:
    model = network(mixed=False)
    found, expected = run(in_float32(model), batch(3)), run(model, batch(3))
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5)


def test_the_copy_of_a_mixed_network_is_that_of_a_float32_network() -> None:
    model = network(mixed=True)
    assert str(model.output["map"].dtype) == "bfloat16"
    copy = in_float32(model)
    assert {layer.compute_dtype for layer in copy._flatten_layers()} == {"float32"}
    found, expected = run(copy, batch(3)), run(network(mixed=False), batch(3))
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5)


def test_the_copy_stays_as_it_is_when_training_goes_on() -> None:
    model = network(mixed=False)
    copy = in_float32(model)
    before = run(copy, batch(2))
    model.set_weights([weight + 1 for weight in model.get_weights()])
    for name, value in run(copy, batch(2)).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("mixed", [False, True])
def test_the_policy_of_the_process_comes_back(mixed: bool) -> None:
    before = keras.config.dtype_policy()

    def fail() -> None:
        with precision(mixed=mixed):
            assert keras.config.dtype_policy().compute_dtype == ("bfloat16" if mixed else "float32")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert keras.config.dtype_policy() == before
