"""A residual network for product photos, of any depth and width, trained from scratch.

He et al. 2015 (arXiv 1512.03385) with the cheap gains of He et al. 2018 (1812.01187): average
pooling before a strided shortcut, and residual branches that start at zero. Beside it, if wanted,
the shallow branch of VisNet (Shankar et al. 2017, 1703.02344).
"""

from collections.abc import Sequence

import keras

from model.errors import BadInput

MAX_STAGES = 5


def stages(x: keras.KerasTensor, blocks: Sequence[int], width: int) -> dict[str, keras.KerasTensor]:
    """Normalised pixels [n, s, s, 3] -> maps `stem` and `stage1`, `stage2`, .. by name.

    `blocks` of each stage and channels of the first; later stages halve the side, double the
    channels. Raises BadInput for what cannot be built.
    """
    blocks = tuple(blocks)
    if not 1 <= len(blocks) <= MAX_STAGES or min(*blocks, width) < 1:
        raise BadInput(
            f"Cannot build the network. Expected 1 to {MAX_STAGES} stages, and at least one block "
            f"in each and one channel. Received: blocks={blocks}, width={width}."
        )
    x = _conv_norm(x, width, 3, stride=2, name="stem")
    out = {"stem": (x := keras.layers.ReLU(name="stem_relu")(x))}
    for stage, count in enumerate(blocks):
        for block in range(count):
            stride = 2 if block == 0 and stage > 0 else 1
            x = _block(x, width * 2**stage, stride, f"stage{stage + 1}_{block + 1}")
        out[f"stage{stage + 1}"] = x
    return out


def shallow(x: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """Normalised pixels [n, s, s, 3] -> a map [n, s / 32, s / 32, 2 width] of two convolutions.

    It sees a quarter of the side and little of its surroundings: colour and pattern, not parts.
    """
    x = keras.layers.AveragePooling2D(4, padding="same", name="shallow_subsample")(x)
    x = _conv_norm(x, width, 5, stride=2, name="shallow_a")
    x = keras.layers.ReLU(name="shallow_a_relu")(x)
    x = _conv_norm(x, 2 * width, 3, stride=1, name="shallow_b")
    x = keras.layers.ReLU(name="shallow_b_relu")(x)
    return keras.layers.MaxPooling2D(4, padding="same", name="shallow")(x)


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
