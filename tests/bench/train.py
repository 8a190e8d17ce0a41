"""How fast a training reaches a quality, and what share of the machine it uses.

    make bench NAME=train

The peer is the plain recipe that published systems describe: `keras.Model.fit` for 50 epochs at
one image size, Adam at a constant rate, mirrored photos, cross entropy of the leaf. Same network,
same photos, same process. The quality that both must reach is the plain recipe's own at its end:
mAP of the leaf for test photos that search the catalogue. Our recipe, its projection included, is
trained to the end of its cosine for one budget of epochs after another, the smallest first, until
it is there. The time is that of training alone, without imports and measuring. Cost: 13
minutes on four cores.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import psutil

from model import backbone
from model.export import embedder
from model.fit import Photos, embed, fit
from model.fuse import EMBEDDING
from model.hierarchy import hierarchical_loss
from model.loop import Schedule
from model.taxonomy import Taxonomy
from pipelines.evaluation import Figure, evaluate
from pipelines.exam import CATEGORY, STREET_TO_SHOP, Exam, draw_exam, together
from pipelines.training import projected, schedule_of
from pipelines.training_photos import read_photos
from tests.bench.figures import Row, median, quick, write
from tests.bench.shops import Shop, sample

SIDE = 64
PLAIN_EPOCHS = 50
BUDGETS = (2, 3, 4, 6, 8, 12, 16)  # epochs of ours
SIZES = (0.5, 0.75, 1.0)  # of the side: half of the pixels' work is done on small photos
QUALITY = Figure(CATEGORY, "leaf", "mAP")
WILD = Figure(STREET_TO_SHOP, "product", "hit@20")
GOAL = 10.0
LEAVES = (81, 3_200)  # of a taxonomy, for memory and time of a step


@dataclass(frozen=True)
class Trained:
    """A recipe's end: what it reached and how long it took."""

    quality: float
    wild: float
    seconds: float
    photos: int


def main() -> None:
    items, epochs = (400, 2) if quick() else (2000, PLAIN_EPOCHS)
    shop = sample(items, SIDE)
    catalogue = shop.catalogue
    train = read_photos(catalogue, "train", {})
    pixels = train.pixels[:]  # in memory for both
    photos = Photos(pixels, train.leaf)
    exam = draw_exam(catalogue, shop.ds, near_duplicate_bits=12)
    plain = _plain(photos, catalogue.taxonomy, exam, epochs)
    print(f"plain, {epochs} epochs: {plain}")
    rows: list[Row] = []
    reached: Trained | None = None
    for budget in BUDGETS[:1] if quick() else BUDGETS:
        ours = _ours(shop, photos, catalogue.taxonomy, exam, budget)
        print(f"ours, {budget} epochs: {ours}")
        if ours.quality >= plain.quality:
            reached = ours
            break
    last = reached or ours
    rows += [
        Row("mAP of the leaf at the end", "share", last.quality, "plain Keras fit", plain.quality),
        Row("hit@20 of the product, wild", "share", last.wild, "plain Keras fit", plain.wild),
        Row(
            "time to the plain recipe's mAP" if reached else "time, without reaching that mAP",
            "s",
            last.seconds,
            "plain Keras fit",
            plain.seconds,
            goal=1 / GOAL,
            at_most=True,
        ),
    ]
    rows += _machine(shop, photos, catalogue.taxonomy)
    for leaves in LEAVES[-1:] if quick() else LEAVES:
        rows += _many_leaves(photos, leaves)
    write("train", {"photos": len(photos), "side": SIDE, "plain epochs": epochs}, rows)


def _network(photos: Photos, leaves: int, side: int | None = None) -> keras.Model:
    keras.utils.set_random_seed(0)
    values = photos.pixels[:1000].reshape(-1, 3).astype(np.float32)
    mean, deviation = values.mean(axis=0).tolist(), values.std(axis=0).tolist()
    return backbone.build(backbone.Network(), leaves, mean=mean, deviation=deviation, side=side)


def _judged(model: keras.Model, exam: Exam, seconds: float, photos: int) -> Trained:
    network = embedder(model, SIDE)
    space = {"embedding": lambda pixels: network.predict_on_batch(pixels)[EMBEDDING]}
    evaluation = evaluate(exam, exam.embed(together(space)), rounds=100)
    quality, wild = (evaluation.find("embedding", figure) for figure in (QUALITY, WILD))
    return Trained(quality.value if quality else 0.0, wild.value if wild else 0.0, seconds, photos)


def _plain(photos: Photos, taxonomy: Taxonomy, exam: Exam, epochs: int) -> Trained:
    """The recipe of a tutorial: nothing of ours but the layers."""
    model = _network(photos, len(taxonomy.leaves))
    mirrored = keras.layers.RandomFlip("horizontal", seed=0)
    plain = keras.Model(model.input, model.output["logits"])
    train = keras.Sequential([keras.Input((SIDE, SIDE, 3), dtype="uint8"), mirrored, plain])
    train.compile(
        keras.optimizers.Adam(0.001), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    started = time.monotonic()
    train.fit(photos.pixels[:], photos.leaf, batch_size=32, epochs=epochs, verbose=0)
    return _judged(model, exam, time.monotonic() - started, epochs * len(photos))


def _ours(shop: Shop, photos: Photos, taxonomy: Taxonomy, exam: Exam, epochs: int) -> Trained:
    leaves = len(taxonomy.leaves)
    model = _network(photos, leaves)
    seconds = _fitted(model, photos, taxonomy, _schedule(shop, epochs))
    started = time.monotonic()
    share = shop.settings.train.projection
    model = projected(model, embed(model, photos.pixels), photos, share, leaves)
    seconds += time.monotonic() - started
    return _judged(model, exam, seconds, epochs * len(photos))


def _schedule(shop: Shop, epochs: int) -> Schedule:
    return replace(schedule_of(shop.settings.train), epochs=epochs, sizes=SIZES[-epochs:])


def _fitted(
    model: keras.Model,
    photos: Photos,
    taxonomy: Taxonomy,
    schedule: Schedule,
    on_batch: Callable[[int, int], None] = lambda epoch, batch: None,
) -> float:
    """Seconds of a training; nothing is validated."""
    with TemporaryDirectory() as folder:
        started = time.monotonic()
        fit(
            model,
            photos,
            Photos(photos.pixels[:0], photos.leaf[:0]),
            taxonomy=taxonomy,
            loss=hierarchical_loss(taxonomy, parent_weight=0.5, smoothing=0.1),
            schedule=schedule,
            checkpoints=Path(folder),
            on_epoch=lambda epoch: None,
            on_batch=on_batch,
        )
        return time.monotonic() - started


def _machine(shop: Shop, photos: Photos, taxonomy: Taxonomy) -> list[Row]:
    """Photos a second, and the arithmetic of it beside what a large matrix product reaches."""
    speeds, peaks = [], []
    for _ in range(1 if quick() else 5):
        model = _network(photos, len(taxonomy.leaves))
        speeds.append(_speed(model, photos, taxonomy, _schedule(shop, 1)))
        peaks.append(_peak())
    operations = 3 * _operations(photos, len(taxonomy.leaves))  # forward once, backward twice
    ours = median(speeds)
    return [
        Row("training speed", "photos/s", ours),
        Row(
            "arithmetic of training",
            "GFLOP/s",
            ours * operations / 1e9,
            "matrix product, float32",
            median(peaks),
        ),
    ]


def _speed(model: keras.Model, photos: Photos, taxonomy: Taxonomy, schedule: Schedule) -> float:
    """Photos a second after the first batches, which compile."""
    times: list[float] = []
    part = Photos(photos.pixels[:1600], photos.leaf[:1600])
    _fitted(model, part, taxonomy, schedule, lambda epoch, batch: times.append(time.monotonic()))
    warm = len(times) // 5
    return schedule.batch_size * (len(times) - 1 - warm) / (times[-1] - times[warm])


def _peak(size: int = 2048, rounds: int = 5) -> float:
    """GFLOP/s of the best of some large products, by the same library."""
    a, b = (keras.random.normal((size, size), seed=seed) for seed in (1, 2))
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        keras.ops.convert_to_numpy(keras.ops.matmul(a, b)[0, 0])
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best / 1e9


def _operations(photos: Photos, leaves: int) -> float:
    """Multiplications and additions of one photo forward, of convolutions and dense layers."""
    total = 0.0
    for layer in _network(photos, leaves, SIDE).layers:
        if isinstance(layer, keras.layers.Conv2D):
            total += 2 * np.prod(layer.kernel.shape) * np.prod(layer.output.shape[1:3])
        elif isinstance(layer, keras.layers.Dense):
            total += 2 * np.prod(layer.kernel.shape)
    return float(total)


def _many_leaves(photos: Photos, leaves: int) -> list[Row]:
    """The step's time and the process' memory with a class list of this length."""
    names = tuple(f"Top {n % 20} > Middle {n % 320} > Leaf {n}" for n in range(leaves))
    taxonomy = Taxonomy(names)
    pixels = photos.pixels[:1600]
    drawn = np.random.default_rng(0).integers(0, leaves, len(pixels))
    part = Photos(pixels, drawn.astype(np.int32))
    model = _network(photos, leaves)
    schedule = Schedule(
        epochs=1, batch_size=32, learning_rate=0.003, weight_decay=0.05, warmup_share=0.1,
        balance=0.0, seed=0,
    )  # fmt: skip
    speed = _speed(model, part, taxonomy, schedule)
    memory = psutil.Process().memory_info().rss / 1e6
    return [
        Row(f"a step of 32 photos, {leaves} leaves", "ms", 1000 * 32 / speed),
        Row(f"resident memory, {leaves} leaves", "MB", memory),
    ]


if __name__ == "__main__":
    main()
