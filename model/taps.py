"""The embedding as several outputs of the network side by side.

Deep layers know the category and forget colour and pattern, which shallow ones keep. A tap is a
named output, averaged over its map, standardised over the training photos, of unit length; taps
are joined so that the cosine of two embeddings is the weighted mean of the cosines of their taps.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from model.errors import BadInput
from model.pixels import Pixels
from model.precision import in_float32

Array = npt.NDArray[np.float32]
Outputs = Mapping[str, keras.KerasTensor]

NECK = "embedding"  # its batch norm has standardised it
BATCH = 256  # photos at once
# Below this share of its mean a channel's deviation is rounding.
LEAST_DEVIATION = 1e-5


@dataclass(frozen=True)
class Tap:
    """A channel becomes `channel * scale + offset`; without `scale` the output stays as it is."""

    name: str
    weight: float = 1.0
    scale: Sequence[float] = ()
    offset: Sequence[float] = ()


@dataclass(frozen=True)
class Taps:
    """What the embedding is made of, in this order."""

    taps: Sequence[Tap] = (Tap(NECK),)

    def vectors(self, outputs: Outputs) -> dict[str, keras.KerasTensor]:
        """Each tap of a network's outputs as float32 [n, channels] of unit length."""
        found = {}
        for tap in self.taps:
            x = pool(outputs[tap.name])
            if tap.scale:
                x = keras.layers.Rescaling(list(tap.scale), list(tap.offset), dtype="float32")(x)
            found[tap.name] = keras.layers.UnitNormalization(dtype="float32")(x)
        return found

    def join(self, outputs: Outputs) -> keras.KerasTensor:
        """The embedding, float32 [n, D] of unit length."""
        vectors = self.vectors(outputs)
        if len(self.taps) == 1:
            return vectors[self.taps[0].name]
        total = sum(tap.weight for tap in self.taps)
        parts = [
            keras.layers.Rescaling((tap.weight / total) ** 0.5, dtype="float32")(vectors[tap.name])
            for tap in self.taps
        ]
        joined = keras.layers.Concatenate(dtype="float32")(parts)
        return keras.layers.UnitNormalization(dtype="float32")(joined)

    def save(self, path: Path) -> None:
        """Write JSON, exact to the last bit."""
        path.write_text(json.dumps([asdict(tap) for tap in self.taps]))

    @classmethod
    def load(cls, path: Path) -> "Taps":
        return cls(
            tuple(
                Tap(**{**tap, "scale": tuple(tap["scale"]), "offset": tuple(tap["offset"])})
                for tap in json.loads(path.read_bytes())
            )
        )


DEFAULT = Taps()


def parse(specs: Sequence[str]) -> tuple[Tap, ...]:
    """Names of outputs, each with its weight if that is not 1, such as `stage2*0.5`.

    Raises BadInput when there is none, a weight is not a positive number, or a name comes twice.
    """
    taps = tuple(_parse(spec) for spec in specs)
    names = {tap.name for tap in taps}
    if not taps or len(names) < len(taps) or not all(0 < tap.weight < math.inf for tap in taps):
        raise BadInput(
            f"Wrong taps. Expected different outputs of the network, each with a positive weight "
            f"or none, such as `embedding` and `stage2*0.5`. Received: {list(specs)}."
        )
    return taps


def measure(model: keras.Model, specs: Sequence[str], batches: Iterable[Pixels]) -> Taps:
    """Taps standardised over photos uint8 [n, side, side, 3]; one pass, none for `embedding`.

    Raises BadInput for unknown taps, without photos, and when all photos look alike to a tap.
    """
    taps = parse(specs)
    check(taps, list(model.output))
    measured = [tap.name for tap in taps if tap.name != NECK]
    if not measured:
        return Taps(taps)
    network = in_float32(model)
    pooled = keras.Model(network.input, {name: pool(network.output[name]) for name in measured})
    moments = {name: Moments() for name in measured}
    for pixels in batches:
        for name, values in _run(pooled, pixels).items():
            moments[name].add(values)
    return Taps(tuple(moments[t.name].tap(t) if t.name in moments else t for t in taps))


def spaces(model: keras.Model, taps: Taps) -> Callable[[Pixels], dict[str, Array]]:
    """From photos uint8 [n, side, side, 3] to each tap's own vectors, float32 of unit length."""
    network = in_float32(model)
    vectors = keras.Model(network.input, taps.vectors(network.output))
    return lambda pixels: _run(vectors, pixels)


def pool(x: keras.KerasTensor, name: str | None = None) -> keras.KerasTensor:
    """The mean over the places of a map [n, h, w, c] or of tokens [n, t, c]: float32 [n, c]."""
    layers = keras.layers
    if len(x.shape) == 4:
        return layers.GlobalAveragePooling2D(name=name, dtype="float32")(x)
    if len(x.shape) == 3:
        return layers.GlobalAveragePooling1D(name=name, dtype="float32")(x)
    return layers.Identity(name=name, dtype="float32")(x)


def check(taps: Iterable[Tap], outputs: Sequence[str]) -> None:
    """Raise BadInput when a tap is none of `outputs`."""
    if unknown := [tap.name for tap in taps if tap.name not in outputs]:
        raise BadInput(
            f"The network has no such output. Expected taps among: {', '.join(outputs)}. "
            f"Received: {', '.join(unknown)}."
        )


def _parse(spec: str) -> Tap:
    name, star, weight = spec.partition("*")
    try:
        return Tap(name.strip(), float(weight) if star else 1.0)
    except ValueError:
        return Tap(name.strip(), math.nan)


class Moments:
    """Mean and variance of each channel, merged batch by batch (Chan et al. 1983) in float64."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, np.zeros(1), np.zeros(1)

    def add(self, values: Array) -> None:
        if not len(values):
            return
        mean = values.mean(axis=0, dtype=np.float64)
        squares = ((values - mean) ** 2).sum(axis=0)
        total, apart = self.count + len(values), mean - self.mean
        self.squares = self.squares + squares + apart**2 * self.count * len(values) / total
        self.mean = self.mean + apart * len(values) / total
        self.count = total

    def tap(self, tap: Tap) -> Tap:
        """A channel that never varies says nothing: it becomes zero."""
        deviation = np.sqrt(self.squares / max(self.count, 1))
        varies = deviation > LEAST_DEVIATION * np.abs(self.mean)
        if not varies.any():
            raise BadInput(
                f"Cannot standardise tap `{tap.name}`. Expected training photos that differ. "
                f"Received: {self.count} photos that look alike to it."
            )
        scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
        offset = -self.mean * scale
        return Tap(tap.name, tap.weight, tuple(scale.tolist()), tuple(offset.tolist()))


def _run(model: keras.Model, pixels: Pixels) -> dict[str, Array]:
    parts = [
        model.predict_on_batch(pixels[start : start + BATCH])
        for start in range(0, len(pixels), BATCH)
    ]
    widths = {name: output.shape[-1] for name, output in model.output.items()}
    return {
        name: np.concatenate([np.empty((0, width), np.float32), *(part[name] for part in parts)])
        for name, width in widths.items()
    }
