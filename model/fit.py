"""The classifier stage: photos of a leaf and of known attributes, augmented and perhaps mixed.

The order of the photos and every change to them follow from (seed, epoch, batch).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt

from model import attributes
from model.augment import augment, cutmix
from model.errors import BadInput
from model.hierarchy import Loss, accuracy_by_level
from model.loop import Array, Batch, Epoch, Rows, Schedule, Stage, device_count, run
from model.pixels import Pixels
from model.taxonomy import Taxonomy

MIN_SIDE = 8  # pixels, of a progressive size

Ids = npt.NDArray[np.int32]


class PixelSource(Protocol):
    """uint8 [n, side, side, 3], in memory or on disk; indexing copies rows."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: npt.NDArray[Any] | slice, /) -> Pixels: ...


@dataclass(frozen=True)
class Photos:
    """Photos and what is known of each."""

    pixels: PixelSource
    leaf: Ids  # [n]
    attributes: Mapping[str, Ids] = field(default_factory=dict)  # [n] each, UNKNOWN where it is
    product: Rows | None = None  # [n], equal for the views of a product; None: each its own

    def __len__(self) -> int:
        return len(self.leaf)


def fit(
    model: keras.Model,
    train: Photos,
    validation: Photos,
    *,
    taxonomy: Taxonomy,
    loss: Loss,
    schedule: Schedule,
    checkpoints: Path,
    on_epoch: Callable[[Epoch], None],
    on_batch: Callable[[int, int], None] = lambda epoch, batch: None,
) -> list[Epoch]:
    """Train `model` in place, from the last checkpoint in `checkpoints` if there is one.

    Raises BadInput without photos or for an impossible schedule, Diverged when the loss is no
    longer a number, Damaged for a checkpoint that cannot be read.
    """
    check(model, train, schedule)
    batches = -(-len(train) // schedule.batch_size)

    def lesson(epoch: int) -> Callable[[int], Batch]:
        rows = draw_rows(train.leaf, schedule, epoch, batches * schedule.batch_size)
        side = side_of(schedule, epoch, train.pixels.shape[1])

        def make(number: int) -> Batch:
            mine = rows[number * schedule.batch_size :][: schedule.batch_size]
            rng = np.random.default_rng([schedule.seed, epoch, number])
            pixels = augment(train.pixels[mine], rng, side=side, what=schedule.augmentation)
            targets = targets_of(model, train, mine)
            if rng.random() < schedule.mix:
                pixels, other, kept = cutmix(pixels, rng)
                targets = {
                    name: kept * target + np.float32(1 - kept) * target[other]
                    for name, target in targets.items()
                }
            return Batch(mine, pixels, targets)

        return make

    losses, weights = head_losses(train, loss, schedule)
    stage = Stage(
        schedule=schedule,
        batches=batches,
        losses=losses,
        weights=weights,
        lesson=lesson,
        validate=lambda: validate(model, taxonomy, validation),
        checkpoints=checkpoints,
    )
    return run(model, stage, on_epoch=on_epoch, on_batch=on_batch)


def predict(model: keras.Model, pixels: PixelSource, batch_size: int = 256) -> Array:
    """Leaf odds float32 [n, leaves]."""
    return softmax(outputs(model, pixels, ("logits",), batch_size)["logits"])


def embed(model: keras.Model, pixels: PixelSource, batch_size: int = 256) -> Array:
    """Embeddings float32 [n, D], not of length one."""
    return outputs(model, pixels, ("embedding",), batch_size)["embedding"]


def outputs(
    model: keras.Model, pixels: PixelSource, names: tuple[str, ...], batch_size: int = 256
) -> dict[str, Array]:
    """The named outputs [n, d] for photos as they are."""
    parts: dict[str, list[Array]] = {
        name: [np.empty((0, model.output[name].shape[-1]), np.float32)] for name in names
    }
    for start in range(0, len(pixels), batch_size):
        found = model(pixels[start : start + batch_size], training=False)
        for name in names:
            parts[name].append(keras.ops.convert_to_numpy(found[name]))
    return {name: np.concatenate(each) for name, each in parts.items()}


def softmax(logits: Array) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.softmax(logits)), np.float32)


# What both stages need.


def check(model: keras.Model, train: Photos, schedule: Schedule) -> None:
    """Raises BadInput without photos or for an impossible schedule or attribute."""
    if not len(train):
        raise BadInput("Nothing to train on. Expected at least one photo of split `train`.")
    devices = device_count(model)
    if schedule.batch_size % devices:
        raise BadInput(
            f"Cannot share a batch equally. Expected `train.batch_size` to be a multiple of the "
            f"{devices} devices. Received: {schedule.batch_size}."
        )
    if not schedule.sizes or schedule.sizes[-1] != 1:
        raise BadInput(
            f"Expected the last of `train.sizes` to be 1, the size that searches see. "
            f"Received: {schedule.sizes}."
        )
    lost = [name for name in train.attributes if attributes.PREFIX + name not in model.output]
    if lost:
        raise BadInput(
            f"The network has no head for the attribute {lost[0]!r}. Expected an output "
            f"{attributes.PREFIX + lost[0]!r}. Build it with the attributes of the photos."
        )


def draw_rows(leaf: Ids, schedule: Schedule, epoch: int, count: int) -> Rows:
    """int64 [count] of an epoch: evenly over the photos, or rather over the leaves.

    The last batch is filled up, so that the network sees one shape.
    """
    rng = np.random.default_rng([schedule.seed, epoch])
    if schedule.balance == 0:
        return np.resize(rng.permutation(len(leaf)), count)
    return rng.choice(len(leaf), count, p=_odds(leaf, schedule.balance))


def side_of(schedule: Schedule, epoch: int, full: int) -> int:
    """Pixels of a side in this epoch (progressive resizing, Howard 2018)."""
    part = min(epoch * len(schedule.sizes) // schedule.epochs, len(schedule.sizes) - 1)
    return max(min(MIN_SIDE, full), round(full * schedule.sizes[part]))


def targets_of(model: keras.Model, photos: Photos, rows: Rows) -> dict[str, Array]:
    """A one-hot target [rows, values] for the leaf and each attribute, zeros where unknown."""
    ids = {"logits": photos.leaf, **_heads(photos)}
    return {
        name: attributes.shares(each[rows], model.output[name].shape[-1])
        for name, each in ids.items()
    }


def head_losses(
    photos: Photos, loss: Loss, schedule: Schedule
) -> tuple[dict[str, Loss], dict[str, float]]:
    """Loss and weight of the leaf's head and of each attribute's."""
    heads = _heads(photos)
    return (
        {"logits": loss, **dict.fromkeys(heads, attributes.attribute_loss)},
        {"logits": 1.0, **dict.fromkeys(heads, schedule.attribute_weight)},
    )


def validate(model: keras.Model, taxonomy: Taxonomy, photos: Photos) -> dict[str, float]:
    """Accuracy at each level, and of each attribute over the photos that have it."""
    heads = {name: ids for name, ids in _heads(photos).items() if name in model.output}
    found = outputs(model, photos.pixels, ("logits", *heads))
    levels = accuracy_by_level(taxonomy, photos.leaf, softmax(found["logits"]))
    for name, ids in heads.items():
        share = attributes.accuracy(ids, found[name])
        if share is not None:
            levels[name] = share
    return levels


def _heads(photos: Photos) -> dict[str, Ids]:
    return {attributes.PREFIX + name: ids for name, ids in photos.attributes.items()}


def _odds(leaf: Ids, balance: float) -> npt.NDArray[np.float64]:
    """Chance of each photo: its leaf's frequency to the power of -balance."""
    _, inverse, counts = np.unique(leaf, return_inverse=True, return_counts=True)
    weight = counts[inverse].astype(np.float64) ** -balance
    return np.asarray(weight / weight.sum())
