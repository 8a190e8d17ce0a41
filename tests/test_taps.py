"""The embedding as several outputs side by side: standardised, weighted, of unit length."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from model.backbone import Network, build
from model.errors import BadInput
from model.reducer import unit
from model.taps import DEFAULT, Moments, Tap, Taps, measure, parse, spaces

SPECS = ("embedding", "stage1*0.5", "stem")


def pixels(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(4)
    network = Network(blocks=(1, 1), width=4)
    return build(network, 3, mean=[120.0] * 3, deviation=[60.0] * 3)


@pytest.fixture(scope="module")
def taps(model: keras.Model) -> Taps:
    return measure(model, SPECS, (pixels(n, n) for n in (7, 1, 12)))


def run(model: keras.Model, batch: np.ndarray) -> dict[str, np.ndarray]:
    outputs = model(batch, training=False)
    return {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}


def joined(model: keras.Model, taps: Taps, batch: np.ndarray) -> np.ndarray:
    return np.asarray(keras.Model(model.input, taps.join(model.output))(batch, training=False))


def test_the_default_is_the_embedding_of_unit_length(model: keras.Model) -> None:
    def never() -> Iterator[Any]:
        raise AssertionError("The default needs no photos.")
        yield

    assert measure(model, ("embedding",), never()) == DEFAULT
    expected = unit(run(model, pixels(5))["embedding"])
    np.testing.assert_allclose(joined(model, DEFAULT, pixels(5)), expected, atol=1e-6)


def test_each_space_is_standardised_over_the_photos_that_were_measured(
    model: keras.Model, taps: Taps
) -> None:
    seen = np.concatenate([pixels(n, n) for n in (7, 1, 12)])
    outputs, found = run(model, seen), spaces(model, taps)(seen)
    assert list(found) == ["embedding", "stage1", "stem"]
    for name in ("stage1", "stem"):
        pooled = outputs[name].mean(axis=(1, 2), dtype=np.float64)
        deviation = pooled.std(axis=0)
        varies = deviation > 0
        expected = np.where(varies, pooled - pooled.mean(axis=0), 0) / np.where(
            varies, deviation, 1
        )
        np.testing.assert_allclose(found[name], unit(expected), atol=1e-4)
    np.testing.assert_allclose(found["embedding"], unit(outputs["embedding"]), atol=1e-5)


def test_the_cosine_is_the_weighted_mean_of_the_taps_cosines(
    model: keras.Model, taps: Taps
) -> None:
    batch = pixels(6, 9)
    vectors, embedding = spaces(model, taps)(batch), joined(model, taps, batch)
    assert embedding.shape == (6, 8 + 4 + 4)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), np.ones(6), atol=1e-5)
    cosines = {name: each @ each.T for name, each in vectors.items()}
    expected = (cosines["embedding"] + 0.5 * cosines["stage1"] + cosines["stem"]) / 2.5
    np.testing.assert_allclose(embedding @ embedding.T, expected, atol=1e-5)


def test_taps_are_exact_after_a_reload(model: keras.Model, taps: Taps, tmp_path: Path) -> None:
    taps.save(tmp_path / "taps.json")
    again = Taps.load(tmp_path / "taps.json")
    assert again == taps
    np.testing.assert_array_equal(joined(model, again, pixels(3)), joined(model, taps, pixels(3)))
    DEFAULT.save(tmp_path / "taps.json")
    assert Taps.load(tmp_path / "taps.json") == DEFAULT


def test_spaces_of_many_photos_and_of_none(model: keras.Model, taps: Taps) -> None:
    space = spaces(model, taps)
    many = pixels(300)
    for name, vectors in space(many).items():
        alone = space(many[260:262])[name]
        np.testing.assert_allclose(vectors[260:262], alone, atol=1e-5)
        assert (len(vectors), vectors.dtype) == (300, np.float32)
        assert space(many[:0])[name].shape == (0, vectors.shape[1])


def test_a_vector_can_be_tapped_too(model: keras.Model) -> None:
    found = measure(model, ("pooled", "logits"), [pixels(9)])
    vectors = spaces(model, found)(pixels(4))
    assert {name: each.shape for name, each in vectors.items()} == {
        "pooled": (4, 8),
        "logits": (4, 3),
    }


@given(
    st.lists(
        npst.arrays(
            np.float32,
            st.tuples(st.integers(0, 5), st.just(2)),
            elements=st.floats(-1e3, 1e3, width=32),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_moments_do_not_depend_on_the_batches(batches: list[np.ndarray]) -> None:
    moments = Moments()
    for values in batches:
        moments.add(values)
    everything = np.concatenate(batches).astype(np.float64)
    assert moments.count == len(everything)
    if len(everything):
        np.testing.assert_allclose(moments.mean, everything.mean(axis=0), atol=1e-3)
        variance = moments.squares / moments.count
        np.testing.assert_allclose(variance, everything.var(axis=0), rtol=1e-4, atol=1e-3)


def test_a_channel_that_never_varies_says_nothing() -> None:
    moments = Moments()
    moments.add(np.array([[1, 5, 1e6], [3, 5, 1e6 + 1]], np.float32))
    assert moments.tap(Tap("x", 2.0)) == Tap("x", 2.0, (1.0, 0.0, 0.0), (-2.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        (["embedding"], (Tap("embedding"),)),
        (["stage1*0.5", " pooled * 2 "], (Tap("stage1", 0.5), Tap("pooled", 2.0))),
        (["block/conv_1"], (Tap("block/conv_1"),)),
    ],
)
def test_taps_are_parsed(specs: list[str], expected: tuple[Tap, ...]) -> None:
    assert parse(specs) == expected


@pytest.mark.parametrize(
    "specs",
    [[], ["a", "a"], ["a*1", "a*2"], ["a*0"], ["a*-1"], ["a*nan"], ["a*inf"], ["a*b"], ["a*"]],
)
def test_other_specs_are_refused(specs: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        parse(specs)
    assert str(caught.value) == (
        f"Wrong taps. Expected different outputs of the network, each with a positive weight or "
        f"none, such as `embedding` and `stage2*0.5`. Received: {specs}."
    )


def test_unknown_taps_are_refused(model: keras.Model) -> None:
    with pytest.raises(BadInput) as caught:
        measure(model, ("stem", "stage7"), [pixels(4)])
    assert str(caught.value) == (
        "The network has no such output. Expected taps among: stem, stage1, stage2, pooled, "
        "embedding, logits. Received: stage7."
    )


@pytest.mark.parametrize("photos", [0, 1, 5])
def test_photos_that_all_look_alike_are_refused(model: keras.Model, photos: int) -> None:
    same = np.repeat(pixels(1), photos, axis=0)
    with pytest.raises(BadInput) as caught:
        measure(model, SPECS, [same])
    assert str(caught.value) == (
        f"Cannot standardise tap `stage1`. Expected training photos that differ. "
        f"Received: {photos} photos that look alike to it."
    )
