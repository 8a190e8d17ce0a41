"""The embedder in each precision that may answer queries: its vectors of them, and its speed.

The catalogue is embedded in float32 whatever serves; only a shopper's photo meets another form.
"""

import time
from dataclasses import dataclass
from datetime import date

import numpy as np

from model.errors import BadInput
from model.pixels import Pixels
from pipelines.content_store import View
from pipelines.embed import embedder_path
from pipelines.settings import Settings
from serving.embedder import Embedder
from serving.graph import Precision, can_compute
from serving.index import Vectors

BLOCK = 512  # photos in memory at a time
SPEED_PHOTOS, SPEED_ROUNDS = 128, 3


@dataclass(frozen=True)
class Form:
    """One precision of the day's embedder, asked with the gate's queries."""

    precision: Precision
    full: Vectors  # of the queries, [q, D]
    photos_per_second: float


def read_forms(
    settings: Settings, ds: date, queries: View, exact: Vectors
) -> tuple[list[Form], dict[Precision, str]]:
    """Float32 first, then what else can run here; and of what cannot, why.

    `queries` are photos [q, side, side, 3], `exact` their float32 vectors [q, D].
    """
    embedders: dict[Precision, Embedder] = {}
    absent: dict[Precision, str] = {}
    for precision in dict.fromkeys(("float32", *settings.embed.precisions)):
        try:
            embedders[precision] = _open(settings, ds, precision)
        except BadInput as error:
            absent[precision] = str(error)
    speeds = _speeds(embedders, queries)
    return [
        Form(precision, exact if precision == "float32" else _embed(embedder, queries), speed)
        for (precision, embedder), speed in zip(embedders.items(), speeds, strict=True)
    ], absent


def embed_again(settings: Settings, ds: date, photos: View) -> Vectors:
    """Full vectors float32 [n, D] of photos, by the day's embedder as it is now."""
    return _embed(_open(settings, ds, "float32"), photos)


def _open(settings: Settings, ds: date, precision: Precision) -> Embedder:
    if not can_compute(precision):  # OpenVINO would compute in float32 and not say so
        raise BadInput(f"The processor has no instructions for {precision}.")
    return Embedder(embedder_path(settings, ds, precision))


def _embed(embedder: Embedder, photos: View) -> Vectors:
    blocks = [
        embedder.embed(photos[start : start + BLOCK])[0] for start in range(0, len(photos), BLOCK)
    ]
    return np.concatenate([np.empty((0, embedder.dimensions), np.float32), *blocks])


def _speeds(embedders: dict[Precision, Embedder], queries: View) -> list[float]:
    """Photos a second of each, in batches: the best of rounds that take turns."""
    best = dict.fromkeys(embedders, 0.0)
    for number in range(1 + SPEED_ROUNDS):
        for precision, embedder in embedders.items():
            photos = _some(embedder, queries)
            started = time.perf_counter()
            embedder.embed(photos)
            speed = len(photos) / (time.perf_counter() - started)
            if number:  # the first round compiles
                best[precision] = max(best[precision], speed)
    return [round(speed, 1) for speed in best.values()]


def _some(embedder: Embedder, queries: View) -> Pixels:
    """SPEED_PHOTOS of the queries, over and over where there are fewer; blank without any."""
    if not len(queries):
        return np.zeros((SPEED_PHOTOS, embedder.side, embedder.side, 3), np.uint8)
    return np.asarray(queries[np.arange(SPEED_PHOTOS) % len(queries)])
