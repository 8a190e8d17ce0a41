"""Backbones of others: a Keras application by name, or a keras-hub preset in a local folder.

Nothing is ever downloaded: weights come from a local file or folder, or training starts from
scratch.
"""

import importlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from model.errors import BadInput

APPLICATION, PRESET = "keras.applications.", "keras_hub:"
LAST = "features"

Pixels = npt.NDArray[np.float32]  # [n, s, s, 3], 0 to 255


@dataclass(frozen=True)
class Scaling:
    """What a backbone expects: `channel * scale + offset` of RGB or BGR pixels, 0 to 255."""

    scale: Sequence[float] = (1.0, 1.0, 1.0)
    offset: Sequence[float] = (0.0, 0.0, 0.0)
    bgr: bool = False

    @classmethod
    def of(cls, preprocess: Callable[[Pixels], Pixels]) -> "Scaling":
        """Read from a few colours what `preprocess` does: every application's is affine."""
        black, white, red = (
            np.ravel(preprocess(np.array([[[colour]]], np.float32))).astype(np.float64)
            for colour in ((0, 0, 0), (255, 255, 255), (255, 0, 0))
        )
        scale = (white - black) / 255
        return cls(tuple(scale.tolist()), tuple(black.tolist()), bool(red[0] == black[0]))

    def __call__(self, pixels: keras.KerasTensor) -> keras.KerasTensor:
        if self.bgr:
            pixels = keras.ops.take(pixels, [2, 1, 0], axis=-1)
        scale, offset = list(self.scale), list(self.offset)
        return keras.layers.Rescaling(scale, offset, name="scale", dtype="float32")(pixels)


@dataclass(frozen=True)
class Foreign:
    """A backbone and the pixels that it expects."""

    base: keras.Model
    scaling: Scaling = Scaling()

    @property
    def layers(self) -> dict[str, keras.KerasTensor]:
        """Outputs of the layers that can be tapped: [n, h, w, c], [n, t, c] or [n, c], by name."""
        found = {}
        for layer in self.base.layers:
            output = None if isinstance(layer, keras.Model) else getattr(layer, "output", None)
            if isinstance(output, keras.KerasTensor) and _is_feature(output):
                found[layer.name] = output
        return found

    def maps(self, pixels: keras.KerasTensor, names: Sequence[str]) -> dict[str, keras.KerasTensor]:
        """uint8 [n, s, s, 3] -> outputs of the layers called `names`, and last `features`."""
        outputs = {**{name: self.layers[name] for name in names}, LAST: self.base.output}
        network = keras.Model(self.base.input, outputs, name="backbone")
        return dict(network(keras.tree.pack_sequence_as(self.base.input, [self.scaling(pixels)])))


def load(backbone: str, side: int | None, weights: Path | None) -> Foreign:
    """The backbone called `backbone`, for photos of `side` pixels.

    Raises BadInput when there is none of that name, or its weights are of another network.
    """
    if backbone.startswith(APPLICATION):
        found = _application(backbone.removeprefix(APPLICATION), side)
    elif backbone.startswith(PRESET):
        found = _preset(Path(backbone.removeprefix(PRESET)))
    else:
        raise BadInput(
            f"Unknown backbone. Expected `resnet`, `{APPLICATION}NAME` or `{PRESET}FOLDER`. "
            f"Received: `{backbone}`."
        )
    _check(found.base, backbone, side)
    if weights is not None:
        load_weights(found.base, weights)
    return found


def load_weights(base: keras.Model, path: Path) -> None:
    """Raises BadInput when the file does not hold every weight of `base`."""
    try:
        with warnings.catch_warnings():
            # Keras only warns of layers that keep their first weights.
            warnings.filterwarnings("error", category=UserWarning)
            base.load_weights(path)
    except (ValueError, OSError, KeyError, TypeError, UserWarning) as error:
        raise BadInput(
            f"Cannot load the weights {path}. Expected those of `{base.name}` without its top, "
            f"as Keras saves them (.weights.h5, .h5 or .keras). Received: {error}"
        ) from error


def _application(name: str, side: int | None) -> Foreign:
    known = [name for name in dir(keras.applications) if name[0].isupper()]
    if name not in known:
        raise BadInput(
            f"Keras has no such application. Expected one of: {', '.join(known)}. "
            f"Received: `{name}`."
        )
    make = getattr(keras.applications, name)
    family = getattr(keras.applications, make.__module__.rpartition(".")[2])
    with warnings.catch_warnings():
        # Photos of any side are what we ask for.
        warnings.filterwarnings("ignore", "`input_shape` is undefined or non-square")
        try:
            base = make(include_top=False, weights=None, input_shape=(side, side, 3))
        except ValueError as error:
            raise BadInput(
                f"Cannot build `{name}` for photos of side {side}. {error} "
                f"Set another side in the pixel spec."
            ) from error
    return Foreign(base, Scaling.of(family.preprocess_input))


def _preset(folder: Path) -> Foreign:
    try:
        keras_hub = importlib.import_module("keras_hub")
    except ImportError as error:
        raise BadInput(
            f"Cannot load the preset {folder}. Expected keras-hub. Received: {error}. "
            f"Install the extra `hub`."
        ) from error
    path = str(folder.resolve())  # a bare name could mean a preset to be downloaded
    try:
        base = keras_hub.models.Backbone.from_preset(path, dtype=keras.config.dtype_policy())
        if not (folder / "image_converter.json").exists():
            return Foreign(base)
        converter = keras_hub.layers.ImageConverter.from_preset(path)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise BadInput(
            f"Cannot load a backbone from {folder}. Expected a folder that keras-hub's "
            f"`save_to_preset` has written. Received: {error}"
        ) from error
    scale, offset = _channels(converter.scale, 1.0), _channels(converter.offset, 0.0)
    return Foreign(base, Scaling(scale, offset))


def _channels(value: Any, otherwise: float) -> tuple[float, ...]:
    given = otherwise if value is None else value
    return tuple(np.broadcast_to(np.asarray(given, np.float64), (3,)).tolist())


def _check(base: keras.Model, backbone: str, side: int | None) -> None:
    inputs = keras.tree.flatten(base.input)
    shape = tuple(inputs[0].shape)
    takes_photos = len(inputs) == 1 and len(shape) == 4 and shape[-1] == 3
    fits = takes_photos and set(shape[1:3]) <= {None, side}
    gives_features = isinstance(base.output, keras.KerasTensor) and _is_feature(base.output)
    if not fits or not gives_features:
        raise BadInput(
            f"`{backbone}` cannot be a backbone. Expected photos [n, {side}, {side}, 3] in and one "
            f"map [n, h, w, c] or tokens [n, t, c] out. "
            f"Received: {_shapes(base.input)} in and {_shapes(base.output)} out."
        )


def _is_feature(output: keras.KerasTensor) -> bool:
    return len(output.shape) in (2, 3, 4) and isinstance(output.shape[-1], int)


def _shapes(tensors: Any) -> Any:
    return keras.tree.map_structure(lambda tensor: list(tensor.shape), tensors)
