"""The metric-learning stage after the classifier: a triplet hinge loss beside the classifier's.

As in Flipkart's VisNet (Shankar et al. 2017, arXiv 1703.02344). Triplets are mined again before
every epoch, with the weights of that moment.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from model.augment import augment
from model.errors import BadInput
from model.fit import (
    Photos,
    PixelSource,
    check,
    draw_rows,
    embed,
    head_losses,
    targets_of,
    validate,
)
from model.hierarchy import Loss
from model.loop import Array, Batch, Epoch, Rows, Schedule, Stage, device_count, run
from model.reducer import unit
from model.taxonomy import Taxonomy
from model.triplets import Gallery, Scorer, Triplets, joined, mine


@dataclass(frozen=True)
class Metric:
    """How long, and how far apart."""

    epochs: int
    learning_rate: float
    margin: float  # by which a cosine to a positive must exceed a negative's
    weight: float  # of the triplet loss beside the classifier's 1
    in_class: float  # share of negatives of the anchor's own leaf


def triplet_loss(margin: float) -> Loss:
    """Hinge [n / 3] over embeddings [n, D] whose rows are anchor, positive, negative in turn.

    Of an anchor the mean of max(0, margin - cos(anchor, positive) + cos(anchor, negative)) over
    the negatives where it is not 0 (Hermans et al. 2017, 1703.07737): the mined one, and every
    photo of the batch, or of a device's part of it, that is of another leaf. The targets [n, 1]
    are the leaf ids.
    """

    def loss(leaf: keras.KerasTensor, embedding: keras.KerasTensor) -> keras.KerasTensor:
        units = keras.ops.normalize(keras.ops.cast(embedding, "float32"), axis=-1, epsilon=1e-6)
        anchor, positive = units[::3], units[1::3]
        near = keras.ops.sum(anchor * positive, axis=-1, keepdims=True)
        hinge = keras.ops.relu(margin - near + keras.ops.matmul(anchor, keras.ops.transpose(units)))
        foreign = keras.ops.not_equal(leaf[::3], keras.ops.transpose(leaf))
        photo = keras.ops.arange(keras.ops.shape(units)[0])
        mined = keras.ops.equal(photo[2::3, None], photo[None])
        hinge = keras.ops.where(keras.ops.logical_or(foreign, mined), hinge, 0.0)
        hard = keras.ops.sum(keras.ops.cast(hinge > 0, "float32"), axis=-1)
        return keras.ops.sum(hinge, axis=-1) / keras.ops.maximum(hard, 1.0)

    return loss


def fit_metric(
    model: keras.Model,
    train: Photos,
    validation: Photos,
    *,
    taxonomy: Taxonomy,
    loss: Loss,
    schedule: Schedule,
    metric: Metric,
    scorers: Sequence[Scorer],
    checkpoints: Path,
    on_epoch: Callable[[Epoch], None],
    on_batch: Callable[[int, int], None] = lambda epoch, batch: None,
) -> list[Epoch]:
    """Train `model` in place on triplets, after `fit` with the same `schedule` and `loss`.

    `checkpoints` is a folder of this stage's own; epochs count on from those of `schedule`. An
    epoch shows as many photos as one of `fit`, at full size and unmixed. Raises what `fit` does,
    and BadInput when no photo has both a positive and a negative.
    """
    if metric.epochs == 0:
        return []
    check(model, train, schedule)
    size = _triplets(schedule.batch_size, device_count(model))
    batches = batch_count(len(train), schedule.batch_size, device_count(model))
    product = np.arange(len(train)) if train.product is None else train.product
    basic = joined([_scores(scorer, train.pixels) for scorer in scorers], len(train))

    def lesson(epoch: int) -> Callable[[int], Batch]:
        rng = np.random.default_rng([schedule.seed, epoch])
        gallery = Gallery(train.leaf, product, basic, unit(embed(model, train.pixels)))
        anchors = draw_rows(train.leaf, schedule, epoch, batches * size)
        mined = mine(gallery, anchors, margin=metric.margin, in_class=metric.in_class, rng=rng)
        rows = _filled(mined, batches * size)

        def make(number: int) -> Batch:
            shown = rows[number * size :][:size].reshape(-1)
            draws = np.random.default_rng([schedule.seed, epoch, number])
            side = train.pixels.shape[1]
            pixels = augment(train.pixels[shown], draws, side=side, what=schedule.augmentation)
            leaf = train.leaf[shown, None].astype(np.float32)
            targets = {**targets_of(model, train, shown), "embedding": leaf}
            return Batch(shown, pixels, targets)

        return make

    losses, weights = head_losses(train, loss, schedule)
    stage = Stage(
        schedule=replace(schedule, epochs=metric.epochs, learning_rate=metric.learning_rate),
        batches=batches,
        losses={**losses, "embedding": triplet_loss(metric.margin)},
        weights={**weights, "embedding": metric.weight},
        lesson=lesson,
        validate=lambda: validate(model, taxonomy, validation),
        checkpoints=checkpoints,
        first=schedule.epochs,
    )
    return run(model, stage, on_epoch=on_epoch, on_batch=on_batch)


def batch_count(photos: int, batch_size: int, devices: int = 1) -> int:
    """Batches of an epoch of `fit_metric`."""
    return -(-photos // (3 * _triplets(batch_size, devices)))


def _triplets(batch_size: int, devices: int) -> int:
    """Of a batch: each shows three photos, and every device gets as many."""
    return max(1, batch_size // 3 // devices) * devices


def _scores(scorer: Scorer, pixels: PixelSource, batch_size: int = 1024) -> Array:
    return np.concatenate(
        [scorer(pixels[start : start + batch_size]) for start in range(0, len(pixels), batch_size)]
    )


def _filled(triplets: Triplets, count: int) -> Rows:
    """int64 [count, 3]: the triplets, the first again where anchors found no partner."""
    if not len(triplets):
        raise BadInput(
            "No triplet can be made of the training photos. Expected two photos of a leaf or a "
            "product, and one of another. Set `train.metric.epochs` to 0."
        )
    rows = np.stack([triplets.anchor, triplets.positive, triplets.negative], axis=1)
    return np.resize(rows, (count, 3))
