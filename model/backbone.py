"""The whole trainable network: a backbone, its pooled features, the neck and the heads.

The neck is a batch norm without offset (Luo et al. 2019, arXiv 1903.07071): the embedding is
centred, so that its cosine and that of its PCA agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from model.attributes import PREFIX
from model.errors import BadInput
from model.foreign import load
from model.precision import precision
from model.resnet import shallow, stages
from model.taps import NECK, check, parse, pool

OURS = "resnet"


@dataclass(frozen=True)
class Network:
    """What to build; `blocks` and `width` are those of our own, `width` also of `shallow`."""

    backbone: str = OURS  # or `keras.applications.NAME`, or `keras_hub:FOLDER` of a preset
    weights: Path | None = None  # of such a backbone, a local file
    blocks: Sequence[int] = (1, 1, 1, 1)
    width: int = 24
    shallow: bool = False
    taps: Sequence[str] = (NECK,)
    mixed_precision: bool = False


def build(
    network: Network,
    leaves: int,
    *,
    mean: Sequence[float],
    deviation: Sequence[float],
    side: int | None = None,
    attributes: Mapping[str, int] | None = None,
) -> keras.Model:
    """uint8 [n, side, side, 3] -> dict of outputs by name, whatever the backbone.

    The maps [n, h, w, c] come first: of our own `stem`, `stage1`, .., of others the layers named
    as taps and `features`, their last; then `shallow`, if there is one. `pooled` is the mean of the
    last map and of `shallow`, `embedding` [n, d] the neck; `logits` [n, leaves], and for
    each of `attributes` (name: number of values) `attribute_<name>` [n, values]. `mean` and
    `deviation` are per channel, 0 to 255. Without `side` any side is accepted.

    Raises BadInput for what cannot be built, unknown taps, and weights that do not fit.
    """
    heads = {"logits": leaves} | {PREFIX + a: n for a, n in (attributes or {}).items()}
    if min(heads.values()) < 1 or any("/" in name for name in heads):
        raise BadInput(
            f"Cannot build the heads. Expected at least one class in each, and no `/` in a name. "
            f"Received: {heads}."
        )
    with precision(mixed=network.mixed_precision):
        pixels = keras.Input((side, side, 3), dtype="uint8", name="pixels")
        scale = [each or 1.0 for each in deviation]  # a shop may be all of one grey
        # Not keras.layers.Normalization: its constants become inputs of the exported ONNX graph.
        normalised = keras.layers.Rescaling(
            [1 / d for d in scale],
            [-m / d for m, d in zip(mean, scale, strict=True)],
            name="normalise",
            dtype="float32",
        )(pixels)
        taps = parse(network.taps)
        if network.backbone == OURS:
            out, layers = _ours(network, normalised), []
        else:
            other = load(network.backbone, side, network.weights)
            layers = list(other.layers)
            out = other.maps(pixels, [tap.name for tap in taps if tap.name in layers])
        pooled = pool(list(out.values())[-1], "pool")
        if network.shallow:
            out["shallow"] = shallow(normalised, network.width)
            beside = pool(out["shallow"], "shallow_pool")
            pooled = keras.layers.Concatenate(name="joined", dtype="float32")([pooled, beside])
        out["pooled"] = pooled
        out[NECK] = keras.layers.BatchNormalization(
            center=False, momentum=0.9, name=NECK, dtype="float32"
        )(pooled)
        for name, classes in heads.items():
            layer = "leaf" if name == "logits" else name
            out[name] = keras.layers.Dense(classes, name=layer, dtype="float32")(out[NECK])
    check(taps, [*out, *layers])
    return keras.Model(pixels, out, name="network")


def _ours(network: Network, normalised: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
    if network.weights is not None:
        raise BadInput(
            f"Our own network starts from scratch, or warm from the day before. Expected weights "
            f"only with another backbone. Received: {network.weights}. Set `train.start` instead."
        )
    return stages(normalised, network.blocks, network.width)
