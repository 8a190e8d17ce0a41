"""A residual network for product photos, of any depth and width, trained from scratch.

He et al. 2015 (arXiv 1512.03385) with the cheap gains of He et al. 2018 (1812.01187): average
pooling before a strided shortcut, and residual branches that start at zero. The embedding is the
pooled last stage behind a batch norm without offset (Luo et al. 2019, 1903.07071): centred, so
that its cosine and that of its PCA agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from model.errors import BadInput

MAX_STAGES = 5


@dataclass(frozen=True)
class Architecture:
    """Blocks of each stage and channels of the first; later stages halve the side, double them."""

    blocks: Sequence[int]
    width: int

    @property
    def dimensions(self) -> int:
        return int(self.width * 2 ** (len(self.blocks) - 1))


def build(
    architecture: Architecture,
    leaves: int,
    *,
    mean: Sequence[float],
    deviation: Sequence[float],
    side: int | None = None,
) -> keras.Model:
    """uint8 [n, side, side, 3] -> dict of named intermediates, `embedding` [n, d], `logits`.

    `mean` and `deviation` are per channel, 0 to 255. Without `side` any side is accepted.
    """
    blocks, width = tuple(architecture.blocks), architecture.width
    if not 1 <= len(blocks) <= MAX_STAGES or min(*blocks, width, leaves) < 1:
        raise BadInput(
            f"Cannot build the network. Expected 1 to {MAX_STAGES} stages, and at least one block "
            f"in each, one channel and one leaf. "
            f"Received: blocks={blocks}, width={width}, leaves={leaves}."
        )
    pixels = keras.Input((side, side, 3), dtype="uint8", name="pixels")
    # Not keras.layers.Normalization: its constants become inputs of the exported ONNX graph.
    x = keras.layers.Rescaling(
        [1 / d for d in deviation],
        [-m / d for m, d in zip(mean, deviation, strict=True)],
        name="normalise",
    )(pixels)
    x = _conv_norm(x, width, 3, stride=2, name="stem")
    out = {"stem": (x := keras.layers.ReLU(name="stem_relu")(x))}
    for stage, count in enumerate(blocks):
        for block in range(count):
            stride = 2 if block == 0 and stage > 0 else 1
            x = _block(x, width * 2**stage, stride, f"stage{stage + 1}_{block + 1}")
        out[f"stage{stage + 1}"] = x
    out["pooled"] = keras.layers.GlobalAveragePooling2D(name="pool", dtype="float32")(x)
    out["embedding"] = keras.layers.BatchNormalization(
        center=False, momentum=0.9, name="embedding", dtype="float32"
    )(out["pooled"])
    out["logits"] = keras.layers.Dense(leaves, name="leaf", dtype="float32")(out["embedding"])
    return keras.Model(pixels, out, name="resnet")


def _conv_norm(
    x: keras.KerasTensor, channels: int, size: int, *, stride: int, name: str, start: str = "ones"
) -> keras.KerasTensor:
    x = keras.layers.Conv2D(
        channels,
        size,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    return keras.layers.BatchNormalization(
        momentum=0.9, gamma_initializer=start, name=f"{name}_norm"
    )(x)


def _block(x: keras.KerasTensor, channels: int, stride: int, name: str) -> keras.KerasTensor:
    shortcut = x
    if stride > 1:
        shortcut = keras.layers.AveragePooling2D(2, padding="same", name=f"{name}_pool")(shortcut)
    if shortcut.shape[-1] != channels:
        shortcut = _conv_norm(shortcut, channels, 1, stride=1, name=f"{name}_shortcut")
    x = _conv_norm(x, channels, 3, stride=stride, name=f"{name}_a")
    x = keras.layers.ReLU(name=f"{name}_relu")(x)
    x = _conv_norm(x, channels, 3, stride=1, name=f"{name}_b", start="zeros")
    return keras.layers.ReLU(name=name)(keras.layers.Add(name=f"{name}_add")([x, shortcut]))
