"""Start a training from the network of an earlier day, whatever became of the categories since.

Everything below the classifiers is copied, batch-norm statistics too; the optimizer starts anew.
The classifiers take over row by row, so that each leaf of today starts with the odds that its
photos had before:

    same leaf      its row
    renamed        its row
    split          the row, and the logarithm of the part's share: the parts share the odds
    merged         the mean of the rows, weighted by photos, and the entropy of the weights
    new            the mean of its siblings below the nearest ancestor that has any
    closed         a row without odds

A linear row cannot add up odds. By Jensen's inequality the mean plus the entropy is the most that
it can have without ever claiming more than the merged leaves had together; without the entropy
every merged leaf would lose against its neighbours.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from model.attributes import PREFIX
from model.errors import BadInput, Damaged
from model.pixel_spec import PixelSpec
from model.taxonomy import Taxonomy, split

LEAF = "leaf"  # the layer that classifies the taxonomy
CLOSED = -30.0  # a logit that has no odds beside others
NUMBERED = re.compile(r"_\d+(?=/|$)")  # Keras counts layers without a name over the whole process
OTHERWISE = 'Set train.start = "scratch".'

Array = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """What a classifier told apart and what it tells apart now.

    `former_photos`, `photos`: int64 [leaves] of how many photos each learned from, if known. The
    values of an attribute are a taxonomy of one level.
    """

    former: Taxonomy
    now: Taxonomy
    former_photos: Counts | None = None
    photos: Counts | None = None


@dataclass(frozen=True)
class Inheritance:
    """Logits of today as a linear function of the former ones: `weights @ former + offset`."""

    weights: Array  # [leaves of today, former leaves]
    offset: Array  # [leaves of today]

    def rows(self, kernel: Array, bias: Array) -> tuple[Array, Array]:
        """Kernel [d, former leaves] and bias [former leaves] -> those of today."""
        return kernel @ self.weights.T, self.weights @ bias + self.offset


def inherit(head: Head) -> Inheritance:
    """Who follows whom, and with what share of the odds."""
    shares = _shares(head)
    photos = _photos(head.former_photos, len(head.former.leaves))
    weights = shares * photos
    followed: npt.NDArray[np.bool_] = weights.sum(axis=1) > 0
    weights[followed] /= weights[followed].sum(axis=1, keepdims=True)
    # Sum over the former leaves of weight * log(share / weight): 0 for one that stayed alone.
    log = np.log(np.divide(shares, weights, out=np.ones_like(shares), where=weights > 0))
    offset = (weights * log).sum(axis=1)
    names = [split(path) for path in head.now.leaves]
    for leaf in np.flatnonzero(head.now.open & ~followed).tolist():
        kin = _kin(names, leaf, followed)
        if len(kin):
            weights[leaf], offset[leaf] = weights[kin].mean(axis=0), offset[kin].mean()
    offset[~head.now.open] = CLOSED
    return Inheritance(weights.astype(np.float32), offset.astype(np.float32))


def warm_start(model: keras.Model, file: Path, heads: Mapping[str, Head]) -> None:
    """Give `model` the weights of the network in `file`, a Keras archive.

    `heads`: for the layer `leaf`, and for each `attribute_<name>` that both may have, what its
    outputs mean; a head that the former network lacks stays as it is. Raises Damaged when the
    file cannot be read, and BadInput when the networks differ in anything but their heads; then
    `model` is as it was.
    """
    former = _load(file)
    _check_side(former, model)
    body = _matched(former, model, file)
    kernels = {
        name: _rows(former.get_layer(name), model.get_layer(name), head, file)
        for name, head in heads.items()
        if any(layer.name == name for layer in former.layers)
    }
    for mine, its in body:
        mine.assign(keras.ops.convert_to_numpy(its))
    for name, rows in kernels.items():
        model.get_layer(name).set_weights(rows)


def check_pixels(former: str, now: PixelSpec) -> None:
    """Raises BadInput when the former network learned from other pixels."""
    if former != str(now):
        raise BadInput(
            f"The former network was trained on other pixels. Expected: {now}. Received: {former}. "
            f"{OTHERWISE}"
        )


def _shares(head: Head) -> Shares:
    """float64 [leaves of today, former leaves]: what share of the former leaf's photos is there."""
    shares = np.zeros((len(head.now.leaves), len(head.former.leaves)))
    photos = _photos(head.photos, len(head.now.leaves))
    for number, leaf in enumerate(head.former.leaves):
        if head.former.open[number]:
            places = [head.now.ids[now] for now in head.now.now(leaf) if now in head.now.ids]
            shares[places, number] = photos[places] / photos[places].sum()
    shares[~head.now.open] = 0
    return shares


def _photos(counts: Counts | None, leaves: int) -> Shares:
    """One more than there are, so that a leaf without photos still has a share."""
    return np.ones(leaves) if counts is None else counts.astype(np.float64) + 1


def _kin(names: list[list[str]], leaf: int, known: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Known leaves below the nearest ancestor of `leaf` that has any; the root is one of all."""
    for level in range(len(names[leaf]) - 1, -1, -1):
        near = [other[:level] == names[leaf][:level] for other in names]
        kin = np.flatnonzero(np.array(near) & known)
        if len(kin):
            return kin
    return np.empty(0, np.intp)


def _load(file: Path) -> keras.Model:
    try:
        return keras.saving.load_model(file, compile=False)
    except Exception as error:  # Keras passes on whatever zip, JSON, HDF5 and its layers raise
        raise Damaged(
            f"Cannot read the former network {file}: {error} Expected what an earlier training "
            f"wrote. {OTHERWISE}"
        ) from error


def _check_side(former: keras.Model, model: keras.Model) -> None:
    sides = [tuple(network.inputs[0].shape[1:]) for network in (former, model)]
    if sides[0] != sides[1]:
        raise BadInput(
            f"The former network takes other photos. Expected {sides[1]}. Received: {sides[0]}. "
            f"{OTHERWISE}"
        )


def _matched(
    former: keras.Model, model: keras.Model, file: Path
) -> list[tuple[keras.Variable, keras.Variable]]:
    """The weights below the heads of `model`, each with its former one."""
    mine, its = _body(model), _body(former)
    kinds = [[_kind(weight) for weight in body] for body in (mine, its)]
    if kinds[0] != kinds[1]:
        pairs = zip(*kinds, strict=False)
        wanted, found = next(
            (pair for pair in pairs if pair[0] != pair[1]),
            (f"{len(mine)} weights", f"{len(its)} weights"),
        )
        raise BadInput(
            f"The former network {file} is built in another way. Expected {wanted}. Received: "
            f"{found}. Take the former `train` settings of the network back, or: {OTHERWISE}"
        )
    return list(zip(mine, its, strict=True))


def _body(model: keras.Model) -> list[keras.Variable]:
    """Weights and statistics of all layers but the heads, in the order of the layers."""
    return [
        weight
        for layer in model.layers
        if layer.name != LEAF and not layer.name.startswith(PREFIX)
        for weight in layer.weights
    ]


def _kind(weight: keras.Variable) -> tuple[str, tuple[int, ...]]:
    return NUMBERED.sub("", weight.path), tuple(weight.shape)


def _rows(former: keras.Layer, layer: keras.Layer, head: Head, file: Path) -> tuple[Array, Array]:
    kernel, bias = former.get_weights()
    now = tuple(layer.kernel.shape)
    expected = (now[0], len(head.former.leaves)), (now[0], len(head.now.leaves))
    if (kernel.shape, now) != expected:
        raise BadInput(
            f"The head `{layer.name}` of the former network {file} does not fit. Expected a matrix "
            f"{expected[0]} for a head {expected[1]}. Received: {kernel.shape} for {now}. "
            f"{OTHERWISE}"
        )
    return inherit(head).rows(kernel, bias)
