"""The loop that the training stages share: AdamW, a warm-up and a cosine, a checkpoint an epoch.

A batch follows from (seed, epoch, number) and the optimizer is part of the checkpoint: a run that
is killed and started again ends like one that was not. Batches are made in threads, ahead of the
network.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from model.augment import Augmentation
from model.checkpoint import restore, save
from model.devices import clip_the_sum
from model.errors import LookalikeError
from model.hierarchy import Loss
from model.pixels import Pixels

AHEAD = min(4, os.cpu_count() or 1)  # batches in the making
CLIP = 5.0  # of the gradient's length
NAMED_ROWS = 8  # photos that the message of a lost training names

Rows = npt.NDArray[np.int64]
Array = npt.NDArray[np.float32]


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
    augmentation: Augmentation = Augmentation()
    sizes: tuple[float, ...] = (1.0,)  # shares of the photos' side, each for as many epochs
    mix: float = 0.0  # chance that the photos of a batch are pasted into each other
    averaging: float = 0.0  # momentum of the averaged weights, the ones that count; 0: none
    attribute_weight: float = 0.2  # of each attribute head's loss beside the leaf's 1


@dataclass(frozen=True)
class Epoch:
    """One row of the curves."""

    epoch: int
    loss: float
    validation: dict[str, float]  # accuracy by level and by attribute
    images_per_second: float


@dataclass(frozen=True)
class Batch:
    """Photos uint8 [n, side, side, 3], their rows in the training split, a target per output."""

    rows: Rows
    pixels: Pixels
    targets: dict[str, Array]


@dataclass(frozen=True)
class Stage:
    """What the loop is to do. `lesson(epoch)(number)` makes a batch, from several threads."""

    schedule: Schedule
    batches: int  # an epoch
    losses: Mapping[str, Loss]  # by output of the network
    weights: Mapping[str, float]  # of these losses
    lesson: Callable[[int], Callable[[int], Batch]]
    validate: Callable[[], dict[str, float]]
    checkpoints: Path
    first: int = 0  # number of the first epoch


class Diverged(LookalikeError):
    """The loss is no longer a number; `rows` are the training photos of that batch."""

    def __init__(self, message: str, *, epoch: int, batch: int, rows: Rows) -> None:
        super().__init__(message)
        self.epoch, self.batch, self.rows = epoch, batch, rows


def run(
    model: keras.Model,
    stage: Stage,
    *,
    on_epoch: Callable[[Epoch], None],
    on_batch: Callable[[int, int], None],
) -> list[Epoch]:
    """Train in place, from the last checkpoint if there is one; ends with averaged weights.

    Raises Diverged, and Damaged for a checkpoint that cannot be read.
    """
    step = _compile(model, stage)
    history = [Epoch(**epoch) for epoch in restore(model, stage.checkpoints)]
    with ThreadPoolExecutor(AHEAD) as pool:
        for epoch in range(stage.first + len(history), stage.first + stage.schedule.epochs):
            started, photos, losses = time.monotonic(), 0, []
            make = stage.lesson(epoch)
            for number, batch in enumerate(_ahead(pool, make, stage.batches)):
                losses.append(_checked(step(batch), batch, epoch, number, stage.schedule))
                photos += len(batch.rows)
                on_batch(epoch, number)
            speed = round(photos / (time.monotonic() - started), 1)
            with _averaged(model):
                found = stage.validate()
            history.append(Epoch(epoch, float(np.mean(losses)), found, speed))
            save(model, [asdict(epoch) for epoch in history], stage.checkpoints)
            on_epoch(history[-1])
    with _scope(model):
        model.optimizer.finalize_variable_values(model.trainable_variables)
    return history


def _compile(model: keras.Model, stage: Stage) -> Callable[[Batch], float]:
    """Set optimizer and losses; what trains the model with one batch and gives its loss."""
    schedule = stage.schedule
    steps = max(1, stage.batches * schedule.epochs)
    warmup = max(1, round(steps * schedule.warmup_share))
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=schedule.learning_rate / 100,
        decay_steps=max(1, steps - warmup),
        alpha=0.01,
        warmup_target=schedule.learning_rate,
        warmup_steps=warmup,
    )
    devices = device_count(model)
    with _scope(model):
        optimizer = keras.optimizers.AdamW(
            rate,
            weight_decay=schedule.weight_decay,
            global_clipnorm=CLIP,
            use_ema=schedule.averaging > 0,
            ema_momentum=schedule.averaging,
        )
        # Norms and offsets have nothing to overfit with.
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        if devices > 1:
            clip_the_sum(optimizer)
        model.compile(
            optimizer=optimizer,
            loss=dict(stage.losses),
            loss_weights=dict(stage.weights),
            jit_compile=_has_gpu() and devices == 1,
        )
        optimizer.build(model.trainable_variables)
    return _step(model) if devices == 1 else _parallel_step(model)


def _step(model: keras.Model) -> Callable[[Batch], float]:
    def step(batch: Batch) -> float:
        return float(model.train_on_batch(batch.pixels, batch.targets, return_dict=True)["loss"])

    return step


def _parallel_step(model: keras.Model) -> Callable[[Batch], float]:
    """Each device takes an equal part of the batch; `train_on_batch` alone gives each the whole."""
    strategy = model.distribute_strategy

    def part(values: npt.NDArray[Any]) -> Any:
        parts = [keras.ops.convert_to_tensor(p) for p in np.split(values, device_count(model))]
        return strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )

    built = False

    def step(batch: Batch) -> float:
        nonlocal built
        with strategy.scope():
            if not built:  # the losses' own variables; Keras cannot make them from parts
                outputs = model(batch.pixels, training=False)
                model.compute_loss(x=batch.pixels, y=batch.targets, y_pred=outputs)
                built = True
            targets = {name: part(target) for name, target in batch.targets.items()}
            found = model.train_on_batch(part(batch.pixels), targets, return_dict=True)
        return float(found["loss"])

    return step


def device_count(model: keras.Model) -> int:
    """Devices that share a batch: more than one under a strategy of TensorFlow's."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.num_replicas_in_sync if strategy else 1


def _scope(model: keras.Model) -> AbstractContextManager[Any]:
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.scope() if strategy else nullcontext()


def _has_gpu() -> bool:
    """XLA pays on a GPU; on two CPU cores it took 15 % longer a step and 10 s more to compile."""
    return bool(keras.distribution.list_devices("gpu"))


def _ahead(pool: ThreadPoolExecutor, make: Callable[[int], Batch], count: int) -> Iterator[Batch]:
    waiting: deque[Future[Batch]] = deque()
    for number in range(count + AHEAD):
        if number < count:
            waiting.append(pool.submit(make, number))
        if number >= AHEAD:
            yield waiting.popleft().result()


def _checked(loss: float, batch: Batch, epoch: int, number: int, schedule: Schedule) -> float:
    if np.isfinite(loss):
        return loss
    rows = ", ".join(map(str, batch.rows[:NAMED_ROWS]))
    more = len(batch.rows) - NAMED_ROWS
    raise Diverged(
        f"The loss is {loss} in epoch {epoch}, batch {number}. Expected a number. Training photos "
        f"of the batch: {rows}{f' and {more} more' if more > 0 else ''}. Look at them, or lower "
        f"the learning rate ({schedule.learning_rate}).",
        epoch=epoch,
        batch=number,
        rows=batch.rows,
    )


@contextmanager
def _averaged(model: keras.Model) -> Iterator[None]:
    """The model with its averaged weights; training goes on with those it had."""
    if not model.optimizer.use_ema:
        yield
        return
    kept = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    with _scope(model):
        model.optimizer.finalize_variable_values(model.trainable_variables)
    yield
    for variable, value in zip(model.trainable_variables, kept, strict=True):
        variable.assign(value)
