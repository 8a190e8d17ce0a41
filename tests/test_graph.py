"""An ONNX graph on OpenVINO: the same numbers alone, in a batch, and from many threads."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from model.errors import Damaged
from serving.graph import Graph, can_compute

SIDE, CHANNELS, LEAVES, BATCH = 12, 8, 3, 4


def write_graph(path: Path, *, side: int = SIDE, channels: int = CHANNELS, **facts: str) -> Path:
    """Two convolutions and two outputs; `facts` are its metadata."""
    rng = np.random.default_rng(0)
    constants = {
        "first": rng.normal(size=(channels, 3, 3, 3)) / 255,
        "second": rng.normal(size=(channels, channels, 3, 3)),
        "head": rng.normal(size=(channels, LEAVES)),
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "first"], ["a"], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"], pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["c"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("LpNormalization", ["flat"], ["vector"], axis=1, p=2),
        helper.make_node("MatMul", ["vector", "head"], ["leaf"]),
    ]
    make = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "small",
        [make("pixels", TensorProto.UINT8, ["n", side, side, 3])],
        [make("vector", TensorProto.FLOAT, ["n", channels]),
         make("leaf", TensorProto.FLOAT, ["n", LEAVES])],
        [numpy_helper.from_array(value.astype(np.float32), name)
         for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, facts)
    onnx.save(model, path)
    return path


def photos(n: int, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def by_hand(pixels: np.ndarray, path: Path) -> np.ndarray:
    """The first output, in float64."""
    weights = {w.name: numpy_helper.to_array(w) for w in onnx.load(path).graph.initializer}

    def convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        return np.einsum("nchwij,ocij->nohw", windows, kernel.astype(np.float64))

    x = convolve(pixels.transpose(0, 3, 1, 2).astype(np.float64), weights["first"]).clip(0)
    pooled = convolve(x, weights["second"]).mean(axis=(2, 3))
    return np.asarray(pooled / np.linalg.norm(pooled, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_graph(tmp_path_factory.mktemp("graph") / "small.onnx")


def test_it_knows_its_sizes(path: Path) -> None:
    graph = Graph(path)
    assert (graph.side, graph.widths, graph.precision) == (SIDE, (CHANNELS, LEAVES), "float32")


@pytest.mark.parametrize("threads", [0, 1, 500])
@pytest.mark.parametrize("n", [0, 1, 2, BATCH, 5 * BATCH + 1])
def test_the_numbers_are_those_of_float32(path: Path, n: int, threads: int) -> None:
    """Not of bfloat16, which OpenVINO takes unasked where the processor can."""
    vectors, leaves = Graph(path, batch=BATCH, threads=threads).run(photos(n))
    assert (vectors.dtype, leaves.shape) == (np.float32, (n, LEAVES))
    np.testing.assert_allclose(vectors, by_hand(photos(n), path), atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_photo_alone_and_in_a_batch(tmp_path: Path, precision: str) -> None:
    graph = Graph(write_graph(tmp_path / "x.onnx", precision=precision), batch=BATCH)
    pixels = photos(2 * BATCH + 3)
    together = graph.run(pixels)
    alone = [graph.run(pixel[None]) for pixel in pixels]
    for whole, parts in zip(together, zip(*alone, strict=True), strict=True):
        np.testing.assert_allclose(whole, np.concatenate(parts), atol=1e-5)


def test_many_threads_get_their_own_numbers(path: Path) -> None:
    graph = Graph(path, batch=BATCH, threads=1)
    batches = [photos(1 + number % (3 * BATCH)) for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(graph.run, batches))
    for batch, (vectors, _) in zip(batches, found, strict=True):
        np.testing.assert_allclose(vectors, by_hand(batch, path), atol=1e-5)


def test_pixels_need_not_lie_in_one_piece_nor_be_writable(path: Path) -> None:
    pixels = photos(2 * BATCH)
    mirrored = pixels[::-1, :, ::-1]
    mirrored.flags.writeable = False
    vectors, _ = Graph(path, batch=BATCH).run(mirrored)
    np.testing.assert_allclose(vectors, by_hand(mirrored.copy(), path), atol=1e-5)


@pytest.mark.skipif(not can_compute("bfloat16"), reason="a processor without bfloat16")
def test_a_graph_marked_bfloat16_is_computed_so(tmp_path: Path) -> None:
    graph = Graph(write_graph(tmp_path / "x.onnx", precision="bfloat16"))
    vectors, _ = graph.run(photos(9))
    off = np.abs(vectors - by_hand(photos(9), tmp_path / "x.onnx")).max()
    assert graph.precision == "bfloat16"
    assert 1e-4 < off < 3e-2


def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Damaged) as caught:
        Graph(write_graph(tmp_path / "x.onnx", precision="int3"))
    assert str(caught.value) == (
        "Unknown precision of the embedder. Expected one of float32, bfloat16, int8. "
        "Received: 'int3'. Build the bundle again."
    )


def test_every_processor_computes_in_float32() -> None:
    assert can_compute("float32")


THREADS = """
import sys, time
from pathlib import Path
import numpy as np
from serving.graph import Graph
graph = Graph(Path(sys.argv[1]), threads=1)
pixels = np.zeros((32, 48, 48, 3), np.uint8)
graph.run(pixels)
wall, cpu = time.perf_counter(), time.process_time()
for _ in range(4):
    graph.run(pixels)
print((time.process_time() - cpu) / (time.perf_counter() - wall))
"""


def test_one_thread_is_one_core(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "wide.onnx", side=48, channels=96)
    assert float(in_process(THREADS, tmp_path, str(path))) < 1.5


QUIET = """
import sys
from pathlib import Path
import numpy as np
from serving.graph import Graph
Graph(Path(sys.argv[1])).run(np.zeros((40, 12, 12, 3), np.uint8))
print([name for name in sys.modules if "telemetry" in name])
"""


def test_nobody_is_told_that_it_runs(path: Path, tmp_path: Path) -> None:
    """OpenVINO's converter would report the import, and leave an id of the machine."""
    assert in_process(QUIET, tmp_path, str(path)) == "[]\n"
    assert list(tmp_path.iterdir()) == []


SIGNAL = """
import signal, sys
from pathlib import Path
import numpy as np
from serving.graph import Graph
photos = np.zeros((1, 12, 12, 3), np.uint8)
graphs = [Graph(Path(sys.argv[1])) for _ in range(3)]
for graph in graphs:
    graph.run(photos)
del graph
while graphs:
    graphs.pop(0)
signal.signal(signal.SIGALRM, lambda number, frame: print("alive"))
signal.raise_signal(signal.SIGALRM)
"""


def test_a_signal_finds_a_stack_after_bundles_were_swapped(path: Path, tmp_path: Path) -> None:
    assert in_process(SIGNAL, tmp_path, str(path)) == "alive\n"


def in_process(script: str, home: Path, *arguments: str) -> str:
    """What a script prints. It must end well: some of OpenVINO's queues abort a process."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
