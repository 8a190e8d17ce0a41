"""What the benchmark of embedding counts, and a whole run of it in small."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_graph import CHANNELS, SIDE, write_graph

from model.pixel_spec import PixelSpec
from model.pixels import to_pixels
from serving.embedder import Embedder
from tests.bench.embed import (
    CORES,
    OUR_DECODING,
    PEER,
    Network,
    Plan,
    Work,
    _Peak,
    embed_photos,
    measure,
    operations,
    overlap,
)


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def test_operations_are_those_of_the_convolutions(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "small.onnx")
    each = 2 * SIDE * SIDE * CHANNELS * 3 * 3
    assert operations(path, SIDE) == each * 3 + each * CHANNELS


def test_vectors_of_photos_are_those_of_their_pixels_in_their_order(tmp_path: Path) -> None:
    embedder = Embedder(write_graph(tmp_path / "small.onnx"))
    photos = []
    for seed in range(3 * 64 + 1):
        noise = np.random.default_rng(seed).integers(0, 256, (20, 15, 3), np.uint8)
        data = io.BytesIO()
        Image.fromarray(noise).save(data, "JPEG")
        photos.append(data.getvalue())
    pixels = np.stack([to_pixels(photo, PixelSpec(SIDE)) for photo in photos])
    found = embed_photos(embedder, photos)
    np.testing.assert_array_equal(found, embedder.embed(pixels)[0])


def test_the_same_vectors_have_the_same_neighbours() -> None:
    rng = np.random.default_rng(0)
    exact = unit(rng.normal(size=(60, 8)))
    assert overlap(exact, exact, 20) == 1.0
    near = unit(exact + rng.normal(0, 0.02, exact.shape))
    assert 0.7 < overlap(exact, near, 20) < 1
    assert overlap(exact, unit(rng.normal(size=(60, 8))), 20) < 0.4


@pytest.mark.parametrize("form", ["convolution", "matrix product"])
def test_a_peak_is_operations_a_second(form: str) -> None:
    eight, exact = (_Peak(form, kind, 4)() for kind in ("int8", "float32"))
    assert 1e8 < exact < 1e14
    assert 1e8 < eight < 1e14


@pytest.mark.slow
def test_a_whole_run(tmp_path: Path) -> None:
    network = Network(32, (1, 1), 8, epochs=1, calibration=16)
    rows = measure(tmp_path, Plan(80, 1, 4, (Work(network, 16), Work(network, 8, studio=True))))
    peers = [row.peer for row in rows]
    assert peers == [PEER, OUR_DECODING] * 4 + ["", ""] + [
        "measured int8 peak",
        "measured float32 peak",
    ]
    assert all(row.ours > 0 and row.unit for row in rows)
    assert [row.goal for row in rows if row.goal] == [4.0, 4.0, 0.97, 0.97]
    exact = rows[9]
    assert exact.figure == "neighbour overlap@10 with Keras, 32 px, float32"
    assert exact.ours > 0.99
    assert CORES == 2
