"""An ONNX graph of photos on OpenVINO, many at once or one at once.

    graph = Graph(path, threads=1)
    vectors, odds = graph.run(pixels)

Left to itself OpenVINO computes in bfloat16 wherever the processor can, which no parity survives:
a graph says in its metadata what it is to be computed in.
"""

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from model.errors import Damaged
from model.pixels import Pixels

Precision = Literal["float32", "bfloat16", "int8"]
Array = npt.NDArray[np.float32]

SIZES = (2, 4, 8)  # of batches, below the largest
PRECISION = "precision"  # key of the graph's metadata; a graph without it is float32
BATCH_PIXELS = 16 * 64 * 64  # more do not stay in the cache
CAPABILITY: dict[Precision, str] = {"float32": "FP32", "bfloat16": "BF16", "int8": "INT8"}


def import_openvino() -> ModuleType:
    """Import OpenVINO without its converter.

    The converter reports every import to its maker over the network and leaves an id of this
    machine in the home folder, unless it cannot be found. We convert nothing.
    """
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    with _hidden("openvino.tools.ovc"):
        return importlib.import_module("openvino")


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


openvino = import_openvino()
# One for the process. Each `Core` gives its thread another stack for signals; freed in another
# order than made, they leave the thread one that is gone, and its next signal is its last.
core = openvino.Core()


def can_compute(precision: Precision) -> bool:
    """Whether this machine's processor has instructions for it."""
    return CAPABILITY[precision] in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class Graph:
    """uint8 [n, side, side, 3] -> an array float32 [n, width] for each output.

    `threads` work on one call, 0: every core. A single photo has them all to itself, and as many
    calls as the cores allow run side by side; more are cut into batches of at most `batch`, one
    thread each, of the size that fits: a batch costs the same however few photos are in it. A
    photo's outputs are the same alone and in any batch. Safe to call from several threads.
    """

    def __init__(self, path: Path, *, batch: int = 16, threads: int = 0) -> None:
        self._model = _read(path)
        self.precision = _precision(self._model)
        self.side = int(self._model.input(0).partial_shape[1].get_length())
        self.widths = tuple(
            int(output.partial_shape[1].get_length()) for output in self._model.outputs
        )
        cores = len(os.sched_getaffinity(0))
        most = max(2, min(batch, BATCH_PIXELS // self.side**2))
        self._sizes = [size for size in SIZES if size < most] + [most]
        self._threads = min(threads, cores) or cores
        self._cores = cores
        self._lock = Lock()  # of the requests for batches, and of what is compiled on demand
        self._batches: dict[int, list[Any]] = {}  # requests, by the size of batch
        self._single: Any = None
        self._idle: list[Any] = []  # requests for one photo; `append` and `pop` are atomic

    def run(self, pixels: Pixels) -> tuple[Array, ...]:
        """`pixels` must be of this graph's side."""
        if len(pixels) == 1:
            return self._run_single(pixels)
        outputs = tuple(np.empty((len(pixels), width), np.float32) for width in self.widths)
        parts = list(self._parts(len(pixels)))
        with self._lock:
            self._run_parts(pixels, outputs, parts)
        return outputs

    def _parts(self, n: int) -> Iterator[tuple[slice, int]]:
        """Rows, and the size of batch they are computed in, which they may not fill."""
        start = 0
        while start < n:
            share = -(-(n - start) // self._threads)
            size = next((size for size in self._sizes if size >= share), self._sizes[-1])
            yield slice(start, min(start + size, n)), size
            start += size

    def _run_single(self, pixels: Pixels) -> tuple[Array, ...]:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._request_for_single()
        request.input_tensors[0].data[:] = pixels
        request.infer()
        outputs = tuple(tensor.data.copy() for tensor in request.output_tensors)
        self._idle.append(request)
        return outputs

    def _run_parts(
        self, pixels: Pixels, outputs: tuple[Array, ...], parts: Sequence[tuple[slice, int]]
    ) -> None:
        """Keep every request busy. `AsyncInferQueue` would too, but aborts some exits."""
        pending: list[tuple[Any, slice]] = []
        for number, (rows, size) in enumerate(parts):
            if len(pending) == 2 * self._threads:
                _collect(*pending.pop(0), outputs)
            requests = self._requests_for(size)
            request = requests[number % len(requests)]
            # Rows that are left over are of an earlier batch.
            request.input_tensors[0].data[: rows.stop - rows.start] = pixels[rows]
            request.start_async()
            pending.append((request, rows))
        for request, rows in pending:
            _collect(request, rows, outputs)

    def _requests_for(self, size: int) -> list[Any]:
        if size not in self._batches:
            compiled = self._compile(size, streams=self._threads, threads=self._threads)
            self._batches[size] = [
                compiled.create_infer_request() for _ in range(2 * self._threads)
            ]
        return self._batches[size]

    def _request_for_single(self) -> Any:
        with self._lock:
            if self._single is None:
                # One stream would let only one call at a time through, whatever its threads.
                streams = max(1, self._cores // self._threads)
                self._single = self._compile(1, streams, streams * self._threads)
        return self._single.create_infer_request()

    def _compile(self, batch: int, streams: int, threads: int) -> Any:
        model = self._model.clone()
        model.reshape([batch, self.side, self.side, 3])
        return core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bfloat16" else "f32",
                "NUM_STREAMS": streams,
                "INFERENCE_NUM_THREADS": threads,
            },
        )


def _read(path: Path) -> Any:
    try:
        return core.read_model(path)
    except RuntimeError as error:
        raise Damaged(
            f"{path.name} is no graph. Expected one in ONNX. Received: {path.stat().st_size} bytes "
            f"of something else. Serve an earlier bundle, or train again."
        ) from error


def _precision(model: Any) -> Precision:
    place = ["framework", PRECISION]
    found = model.get_rt_info(place).astype(str) if model.has_rt_info(place) else "float32"
    if found not in CAPABILITY:
        raise Damaged(
            f"Unknown precision of the embedder. Expected one of {', '.join(CAPABILITY)}. "
            f"Received: {found!r}. Build the bundle again."
        )
    return cast(Precision, found)


def _collect(request: Any, rows: slice, outputs: tuple[Array, ...]) -> None:
    request.wait()
    for output, tensor in zip(outputs, request.output_tensors, strict=True):
        output[rows] = tensor.data[: rows.stop - rows.start]
