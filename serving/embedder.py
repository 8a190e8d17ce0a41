"""The embedder as it serves: an ONNX graph from canonical pixels to unit vectors."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.errors import BadInput
from model.pixels import Pixels
from serving.graph import Graph, Precision
from serving.index import Vectors

BATCH = 16  # photos at once, fewer of large ones; the fastest of 1 to 64

Probabilities = npt.NDArray[np.float32]  # [n, leaves]


class Embedder:
    """Runs `embedder.onnx`: uint8 [n, side, side, 3] -> vectors [n, d] and leaf odds.

    A photo's vector is the same alone and in any batch. Safe to call from several threads.
    """

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        self._graph = Graph(path, batch=BATCH, threads=threads)
        self.side = self._graph.side
        self.dimensions, self.leaves = self._graph.widths

    @property
    def precision(self) -> Precision:
        """What the graph is computed in, by its own metadata."""
        return self._graph.precision

    def embed(self, pixels: Pixels) -> tuple[Vectors, Probabilities]:
        """Raises BadInput when the pixels are not of this embedder's side."""
        if pixels.ndim != 4 or pixels.shape[1:] != (self.side, self.side, 3):
            raise BadInput(
                f"Wrong pixels for this embedder. Expected [n, {self.side}, {self.side}, 3]. "
                f"Received: {list(pixels.shape)}. Was the pixel spec changed without retraining?"
            )
        vectors, leaves = self._graph.run(pixels)
        return vectors, leaves
