"""The embedder as it serves: an ONNX graph from canonical pixels to unit vectors."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from model.errors import BadInput
from model.pixels import Pixels
from serving.index import Vectors

BATCH = 64  # images at once; more only cost memory

Probabilities = npt.NDArray[np.float32]  # [n, leaves]


class Embedder:
    """Runs `embedder.onnx`: uint8 [n, side, side, 3] -> vectors [n, d] and leaf odds."""

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads  # 0: every core
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self.side = int(self._session.get_inputs()[0].shape[1])
        vector, leaf = self._session.get_outputs()
        self.dimensions, self.leaves = int(vector.shape[1]), int(leaf.shape[1])

    def embed(self, pixels: Pixels) -> tuple[Vectors, Probabilities]:
        """Raises BadInput when the pixels are not of this embedder's side."""
        if pixels.ndim != 4 or pixels.shape[1:] != (self.side, self.side, 3):
            raise BadInput(
                f"Wrong pixels for this embedder. Expected [n, {self.side}, {self.side}, 3]. "
                f"Received: {list(pixels.shape)}. Was the pixel spec changed without retraining?"
            )
        parts = [
            self._session.run(None, {self._input: pixels[start : start + BATCH]})
            for start in range(0, len(pixels), BATCH)
        ]
        if not parts:
            return np.empty((0, self.dimensions), np.float32), np.empty(
                (0, self.leaves), np.float32
            )
        vectors, leaves = (np.concatenate(group) for group in zip(*parts, strict=True))
        return vectors, leaves
