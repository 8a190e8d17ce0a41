"""The training loop: AdamW, a warm-up and a cosine, a checkpoint after every epoch.

The order of the photos and every augmentation follow from (seed, epoch, batch), and the optimizer
is part of the checkpoint: a run that is killed and started again ends like one that was not.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt

from model.augment import Augmentation, augment
from model.errors import BadInput, LookalikeError
from model.hierarchy import Loss, accuracy_by_level
from model.pixels import Pixels
from model.taxonomy import Taxonomy

Ids = npt.NDArray[np.int32]
Array = npt.NDArray[np.float32]


class PixelSource(Protocol):
    """uint8 [n, side, side, 3], in memory or on disk; indexing copies rows."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: npt.NDArray[Any] | slice, /) -> Pixels: ...


@dataclass(frozen=True)
class Photos:
    """Photos and the leaf id of each, int32 [n]."""

    pixels: PixelSource
    leaf: Ids

    def __len__(self) -> int:
        return len(self.leaf)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast."""

    epochs: int
    batch_size: int
    learning_rate: float  # the peak
    weight_decay: float
    warmup_share: float
    balance: float  # 0: leaves as often as in the data; 1: all leaves equally often
    seed: int


@dataclass(frozen=True)
class Epoch:
    """One row of the curves."""

    epoch: int
    loss: float
    validation: dict[str, float]  # accuracy by level
    images_per_second: float


def compile_model(model: keras.Model, loss: Loss, schedule: Schedule, batches: int) -> None:
    """Set optimizer and loss; `batches` is the length of an epoch."""
    steps = max(1, batches * schedule.epochs)
    warmup = max(1, round(steps * schedule.warmup_share))
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=schedule.learning_rate / 100,
        decay_steps=max(1, steps - warmup),
        alpha=0.01,
        warmup_target=schedule.learning_rate,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=schedule.weight_decay, global_clipnorm=5.0
    )
    # Norms and offsets have nothing to overfit with.
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    model.compile(optimizer=optimizer, loss={"logits": loss}, jit_compile=_has_gpu())


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

    Raises BadInput without photos, LookalikeError when the loss is no longer a number.
    """
    if not len(train):
        raise BadInput("Nothing to train on. Expected at least one photo of split `train`.")
    batches = -(-len(train) // schedule.batch_size)
    compile_model(model, loss, schedule, batches)
    history = _restore(model, checkpoints)
    for epoch in range(len(history), schedule.epochs):
        started = time.monotonic()
        losses = []
        for batch, (pixels, leaf) in enumerate(_epoch(train, schedule, epoch)):
            value = float(model.train_on_batch(pixels, {"logits": leaf}))
            if not np.isfinite(value):
                raise LookalikeError(
                    f"The loss is {value} in epoch {epoch}, batch {batch}. Expected a number. "
                    f"Lower `train.learning_rate` ({schedule.learning_rate})."
                )
            losses.append(value)
            on_batch(epoch, batch)
        seconds = time.monotonic() - started
        found = accuracy_by_level(taxonomy, validation.leaf, predict(model, validation.pixels))
        history.append(Epoch(epoch, float(np.mean(losses)), found, round(len(train) / seconds, 1)))
        _save(model, history, checkpoints)
        on_epoch(history[-1])
    return history


def predict(
    model: keras.Model, pixels: PixelSource, batch_size: int = 256
) -> npt.NDArray[np.float32]:
    """Leaf odds float32 [n, leaves]."""
    parts = [
        keras.ops.convert_to_numpy(
            keras.ops.softmax(model(pixels[start : start + batch_size], training=False)["logits"])
        )
        for start in range(0, len(pixels), batch_size)
    ]
    leaves = model.output["logits"].shape[-1]
    return np.concatenate([np.empty((0, leaves), np.float32), *parts])


def _has_gpu() -> bool:
    """XLA pays on a GPU; on two CPU cores it took 15 % longer a step and 10 s more to compile."""
    return bool(keras.distribution.list_devices("gpu"))


def _epoch(train: Photos, schedule: Schedule, epoch: int) -> Iterator[tuple[Pixels, Ids]]:
    rng = np.random.default_rng([schedule.seed, epoch])
    order = rng.choice(len(train), len(train), p=_odds(train.leaf, schedule.balance))
    if schedule.balance == 0:
        order = rng.permutation(len(train))
    side = train.pixels.shape[1]
    for batch, start in enumerate(range(0, len(order), schedule.batch_size)):
        rows = order[start : start + schedule.batch_size]
        draws = np.random.default_rng([schedule.seed, epoch, batch])
        pixels = augment(train.pixels[rows], draws, side=side, what=Augmentation())
        yield pixels, train.leaf[rows]


def _odds(leaf: Ids, balance: float) -> npt.NDArray[np.float64]:
    """Chance of each photo: its leaf's frequency to the power of -balance."""
    _, inverse, counts = np.unique(leaf, return_inverse=True, return_counts=True)
    weight = counts[inverse].astype(np.float64) ** -balance
    return np.asarray(weight / weight.sum())


def _save(model: keras.Model, history: list[Epoch], folder: Path) -> None:
    """The rename of `history.json` is the commit; it names the weights that belong to it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"epoch-{len(history)}.weights.h5"
    model.save_weights(folder / name)
    staged = folder / ".history.json"
    staged.write_text(json.dumps({"weights": name, "epochs": [asdict(epoch) for epoch in history]}))
    staged.replace(folder / "history.json")
    for other in folder.glob("epoch-*.weights.h5"):
        if other.name != name:
            other.unlink()


def _restore(model: keras.Model, folder: Path) -> list[Epoch]:
    try:
        state = json.loads((folder / "history.json").read_bytes())
    except FileNotFoundError:
        return []
    model.optimizer.build(model.trainable_variables)
    model.load_weights(folder / state["weights"])
    return [Epoch(**epoch) for epoch in state["epochs"]]
