"""Where the product is in a shopper's photo: an ONNX graph from canonical pixels to one box."""

from pathlib import Path

from model.boxes import EDGES, Boxes, to_photo
from model.errors import Damaged
from model.ground import is_plain
from model.pixel_spec import PixelSpec
from model.pixels import Box, Photo, Pixels
from serving.graph import Graph


class Localiser:
    """Runs `localiser.onnx`: uint8 [n, side, side, 3] -> boxes float32 [n, 4] of `model.boxes`.

    Safe to call from several threads. Raises Damaged for a graph of another pixel spec, or that
    gives no boxes.
    """

    def __init__(self, path: Path, spec: PixelSpec, *, threads: int = 0) -> None:
        self._graph = Graph(path, threads=threads)
        if (self._graph.side, self._graph.widths) != (spec.side, (EDGES,)):
            raise Damaged(
                f"The localiser is not of this pixel spec. Expected images of side {spec.side} and "
                f"{EDGES} edges. Found: {self._graph.side} and {list(self._graph.widths)}. "
                f"Build the bundle again."
            )

    def edges(self, pixels: Pixels) -> Boxes:
        """Boxes float32 [n, 4] in letterboxed photos uint8 [n, side, side, 3]."""
        (boxes,) = self._graph.run(pixels)
        return boxes

    def find(self, photo: Photo) -> Box | None:
        """Where to search. None: the whole photo, of a product on plain ground or of none."""
        pixels = photo.pixels()
        if is_plain(pixels, photo.size):
            return None
        return to_photo(self.edges(pixels[None])[0], photo.size)
