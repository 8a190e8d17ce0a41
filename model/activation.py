"""Boxes that nobody drew: where a classifier looks when it names a photo's category.

The class activation map (Zhou et al. 2016, arXiv 1512.04150) is the last map of the network
weighed by the category's own weights. What is near its peak, and nearly as high, is the product.
Coarse, as that map is: a photo is enlarged before, where the network takes any side.
"""

import keras
import numpy as np
import numpy.typing as npt
from PIL import Image

from model.boxes import EDGES, Boxes
from model.errors import BadInput
from model.pixels import Pixels
from model.precision import in_float32
from model.taps import NECK

LEVEL = 0.2  # of the peak; what is lower is surroundings
ENLARGED = 2  # times the side, if the network takes it
SIDE = 64  # pixels of the enlarged map
BATCH = 64  # photos at once

Maps = npt.NDArray[np.float32]
Leaves = npt.NDArray[np.int32]


def activation_boxes(classifier: keras.Model, pixels: Pixels, leaf: Leaves) -> Boxes:
    """Photos uint8 [n, s, s, 3] and their leaves [n] -> boxes float32 [n, 4].

    Raises BadInput when the network has no map to look at.
    """
    found = [np.empty((0, EDGES), np.float32)]
    for start in range(0, len(pixels), BATCH):
        part = slice(start, start + BATCH)
        maps = activation_maps(classifier, pixels[part], leaf[part])
        found.append(np.stack([box_of(each) for each in maps]))
    return np.concatenate(found)


def activation_maps(classifier: keras.Model, pixels: Pixels, leaf: Leaves) -> Maps:
    """Of the given leaves, float32 [n, h, w]; higher where the photo speaks for the leaf."""
    network = in_float32(classifier)
    maps = [name for name, x in network.output.items() if len(x.shape) == 4 and name != "shallow"]
    if not maps:
        raise BadInput(
            f"The network has no map to find a product by. Expected an output [n, h, w, channels]. "
            f"Received: {', '.join(network.output)}. Set `localise.boxes` to `feed` or `none`."
        )
    if network.input.shape[1] is None:
        pixels = pixels.repeat(ENLARGED, axis=1).repeat(ENLARGED, axis=2)
    features = keras.ops.convert_to_numpy(network(pixels, training=False)[maps[-1]])
    neck, head = (network.get_layer(name) for name in (NECK, "leaf"))
    gamma, _, variance = (keras.ops.convert_to_numpy(each) for each in neck.weights)
    scale = gamma / np.sqrt(variance + neck.epsilon)
    weights = scale[:, None] * keras.ops.convert_to_numpy(head.kernel)
    weights = weights[: features.shape[-1]].T[leaf]  # those after it are of the shallow branch
    return np.asarray(np.einsum("nhwc,nc->nhw", features, weights), np.float32)


def box_of(activation: Maps) -> Boxes:
    """A map [h, w] -> the box float32 [4] around its peak's connected region of LEVEL or more."""
    image = Image.fromarray(activation).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    heat = np.asarray(image)
    heat = heat - min(float(np.median(heat)), float(heat.max()))
    high = heat >= LEVEL * heat.max()
    region = np.zeros_like(high)
    region[np.unravel_index(heat.argmax(), heat.shape)] = True
    while True:
        grown = _wider(region) & high
        if (grown == region).all():
            break
        region = grown
    columns, rows = (np.flatnonzero(region.any(axis=axis)) for axis in (0, 1))
    edges = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return np.asarray(edges, np.float32) / np.float32(SIDE)


def _wider(region: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """With the neighbours of each pixel, left, right, above and below."""
    wide = np.pad(region, 1)
    return np.asarray(
        wide[1:-1, 1:-1] | wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
    )
