"""Where the product is in a photo: a small network from pixels to the edges of one box.

Features of an hourglass (Newell et al. 2016, arXiv 1603.06937) are pooled to a profile of the
columns and one of the rows; each edge is a distribution over places along its profile, and its
position the mean of that (Li et al. 2020, 2006.04388). Trained on true boxes and on compositions,
by the distributions' cross-entropy and generalised IoU (Rezatofighi et al. 2019, 1902.09630).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from model.augment import Augmentation, light
from model.boxes import EDGES, Boxes, iou
from model.composition import Disorder, compose, replace
from model.errors import BadInput
from model.loop import Batch, Epoch, Schedule, Stage, run
from model.pixels import PADDING, Pixels
from model.precision import in_float32

LEVELS = 4  # maps of the network
SIDE = 64  # pixels of a side that the network looks at, whatever the pixel spec
PLACES = SIDE // 4 + 1  # of an edge, from one side of the square to the other
OUTPUT = "edges"  # logits [n, 4, places] of left, right, top, bottom
COMPOSED = 0.5  # of a batch, where there are true boxes as well
REPLACED = 0.6  # of the compositions: in the place of a boxed product
BATCH = 256  # photos at once, without training
IOU_WEIGHT = 2.0  # of 1 - GIoU beside the cross-entropy of the edges


@dataclass(frozen=True)
class Boxed:
    """Whole photos uint8 [n, side, side, 3], letterboxed, and where the product is in each."""

    pixels: Pixels
    boxes: Boxes

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class Lessons:
    """What a localiser learns from: boxed photos, and cut-outs to compose on pieces of photos."""

    boxed: Boxed
    cuts: Sequence[Image.Image]
    grounds: Pixels  # uint8 [n, side, side, 3]

    def __len__(self) -> int:
        return len(self.boxed) + len(self.cuts)


def build_localiser(classifier: keras.Model, side: int, width: int) -> keras.Model:
    """uint8 [n, side, side, 3] -> `edges` float32 [n, 4, PLACES]; see OUTPUT.

    The maps of `classifier`, which stay as they are, join those of about their size: they tell a
    product from its surroundings. `width`: channels at a quarter of SIDE, doubled as it halves.
    """
    pixels = keras.Input((side, side, 3), dtype="uint8", name="pixels")
    known = _maps(classifier, pixels)
    x = keras.layers.Rescaling(1 / 127.5, -1.0, name="unit")(pixels)
    if side >= 2 * SIDE:  # first the mean over whole pixels: resizing alone would skip some
        x = keras.layers.AveragePooling2D(side // SIDE, name="shrink")(x)
    if x.shape[1] != SIDE:
        x = keras.layers.Resizing(SIDE, SIDE, name="resize")(x)
    maps = []
    for level in range(LEVELS):  # [n, 32, 32, width / 2] to [n, 4, 4, 4 width]
        x = _conv(x, width * 2**level // 2, f"down{level}", stride=2)
        if told := known.get(x.shape[1], []):
            x = keras.layers.Concatenate(name=f"told{level}")([x, *told])
            x = _conv(x, width * 2**level // 2, f"told{level}_conv", size=1)
        maps.append(x)
    x = _residual(x, "deepest")
    for level in range(LEVELS - 2, 0, -1):  # and back to [n, 16, 16, width]
        x = keras.layers.UpSampling2D(2, name=f"up{level}")(x)
        x = _conv(x, width * 2**level // 2, f"up{level}_conv")
        x = keras.layers.Add(name=f"up{level}_add")([x, maps[level]])
        x = _residual(x, f"up{level}_block")
    edges = [_edges(x, axis, name) for axis, name in ((1, "columns"), (2, "rows"))]
    joined = keras.layers.Concatenate(axis=-1, name="join")(edges)
    ordered = keras.layers.Permute((2, 1), name="order")(joined)
    outputs = keras.layers.Activation("linear", dtype="float32", name=OUTPUT)(ordered)
    return keras.Model(pixels, {OUTPUT: outputs}, name="localiser")


def _maps(classifier: keras.Model, pixels: Any) -> dict[int, list[Any]]:
    """The last map of each size that the classifier has, by the nearest side of a level."""
    network = in_float32(classifier)
    maps = {name: output for name, output in network.output.items() if len(output.shape) == 4}
    frozen = keras.Model(network.input, maps, name="known")
    frozen.trainable = False
    last = {x.shape[1]: x for x in frozen(pixels, training=False).values()}
    by_side: dict[int, list[Any]] = {}
    sides = [SIDE // 2 ** (level + 1) for level in range(1, LEVELS)]  # the first is only its own
    for side, x in last.items():
        nearest = min(sides, key=lambda level: abs(np.log(level / side)))
        if side != nearest:
            x = keras.layers.Resizing(nearest, nearest, name=f"known{side}")(x)
        by_side.setdefault(nearest, []).append(x)
    return by_side


def locate(model: keras.Model) -> keras.Model:
    """uint8 [n, side, side, 3] -> `box` float32 [n, 4], fractions of the square: what serves."""
    pixels = keras.Input(model.input.shape[1:], dtype="uint8", name="pixels")
    edges = in_float32(model)(pixels, training=False)[OUTPUT]
    box = keras.layers.Lambda(expected, output_shape=(EDGES,), name="box")(edges)
    return keras.Model(pixels, {"box": box})


def expected(edges: Any) -> Any:
    """Logits [n, 4, places] of left, right, top, bottom -> left, top, right, bottom [n, 4]."""
    places = np.linspace(0, 1, PLACES, dtype=np.float32)
    return keras.ops.take(keras.ops.sum(keras.ops.softmax(edges) * places, -1), [0, 2, 1, 3], 1)


def box_loss(boxes: Any, edges: Any) -> Any:
    """True boxes [n, 4] and logits [n, 4, places] -> a loss for each photo [n]."""
    ops = keras.ops
    true = ops.take(boxes, [0, 2, 1, 3], axis=1) * (PLACES - 1)
    # The two places beside an edge share it by how near they are.
    wanted = ops.relu(1 - ops.abs(true[..., None] - np.arange(PLACES, dtype=np.float32)))
    surprise = -ops.sum(wanted * ops.log_softmax(edges), axis=(1, 2)) / EDGES
    return surprise + IOU_WEIGHT * (1 - giou(boxes, expected(edges)))


def giou(one: Any, other: Any) -> Any:
    """Generalised IoU of boxes [.., 4], tensors or arrays: from -1, far apart, to 1."""
    ops = keras.ops
    low, high = ops.maximum(one[..., :2], other[..., :2]), ops.minimum(one[..., 2:], other[..., 2:])
    inside = ops.prod(ops.relu(high - low), axis=-1)
    union = _area(one) + _area(other) - inside
    low, high = ops.minimum(one[..., :2], other[..., :2]), ops.maximum(one[..., 2:], other[..., 2:])
    around = ops.prod(ops.relu(high - low), axis=-1)
    small = 1e-6  # of boxes without an area
    return inside / (union + small) - (around - union) / (around + small)


def fit_localiser(
    model: keras.Model,
    lessons: Lessons,
    validation: Boxed,
    *,
    schedule: Schedule,
    checkpoints: Path,
    on_epoch: Callable[[Epoch], None],
    on_batch: Callable[[int, int], None] = lambda epoch, batch: None,
) -> list[Epoch]:
    """Train in place, from the last checkpoint if there is one.

    An epoch has as many photos as there are lessons, drawn anew.

    Raises BadInput with nothing to train on, Diverged when the loss is no longer a number (its
    rows: the boxed photos, then the cut-outs), Damaged for a checkpoint that cannot be read.
    """
    if not len(lessons):
        raise BadInput(
            "Nothing to learn boxes from. Expected a photo with a box, or a studio shot on plain "
            "ground. Received: none. Set `localise.boxes` to `none`."
        )

    def lesson(epoch: int) -> Callable[[int], Batch]:
        def make(number: int) -> Batch:
            rng = np.random.default_rng([schedule.seed, epoch, number])
            return _batch(lessons, schedule.batch_size, rng)

        return make

    stage = Stage(
        schedule=schedule,
        batches=max(1, len(lessons) // schedule.batch_size),
        losses={OUTPUT: box_loss},
        weights={OUTPUT: 1.0},
        lesson=lesson,
        validate=lambda: _validate(model, validation),
        checkpoints=checkpoints,
    )
    return run(model, stage, on_epoch=on_epoch, on_batch=on_batch)


def find_boxes(model: keras.Model, pixels: Pixels) -> Boxes:
    """Boxes float32 [n, 4] of photos uint8 [n, side, side, 3]."""
    parts = [np.empty((0, EDGES), np.float32)]
    for start in range(0, len(pixels), BATCH):
        found = expected(model(pixels[start : start + BATCH], training=False)[OUTPUT])
        parts.append(keras.ops.convert_to_numpy(found))
    return np.concatenate(parts)


def _validate(model: keras.Model, photos: Boxed) -> dict[str, float]:
    if not len(photos):
        return {}
    return {"iou": float(iou(find_boxes(model, photos.pixels), photos.boxes).mean())}


def _batch(lessons: Lessons, count: int, rng: np.random.Generator) -> Batch:
    boxed = len(lessons.boxed)
    share = COMPOSED if boxed and lessons.cuts else float(bool(lessons.cuts))
    composed = rng.random(count) < share
    rows = np.where(
        composed,
        boxed + rng.integers(max(len(lessons.cuts), 1), size=count),
        rng.integers(max(boxed, 1), size=count),
    )
    made = [_example(lessons, row, rng) for row in rows]
    pixels, boxes = (np.stack(part) for part in zip(*made, strict=True))
    return Batch(rows, pixels, {OUTPUT: boxes})


def _example(lessons: Lessons, row: int, rng: np.random.Generator) -> tuple[Pixels, Boxes]:
    """One photo and its box, of a boxed photo or of a cut-out."""
    boxed, cut = lessons.boxed, row - len(lessons.boxed)
    if cut < 0:
        return _moved(boxed.pixels[row], boxed.boxes[row], rng)
    if len(boxed) and rng.random() < REPLACED:
        scene = rng.integers(len(boxed))
        pasted = replace(lessons.cuts[cut], boxed.pixels[scene], boxed.boxes[scene], rng)
        return _moved(*pasted, rng)
    return compose(lessons.cuts, cut, lessons.grounds, rng, Disorder())


def _moved(photo: Pixels, box: Boxes, rng: np.random.Generator) -> tuple[Pixels, Boxes]:
    """A boxed photo zoomed about a drawn place, mirrored perhaps, in another light."""
    side = len(photo)
    zoom = float(rng.uniform(0.75, 1.2))  # share of the side that stays visible
    slack = abs(1 - zoom) / 2
    x, y = 0.5 - zoom / 2 + rng.uniform(-slack, slack, 2)
    image = Image.fromarray(photo).transform(
        (side, side),
        Image.Transform.AFFINE,
        (zoom, 0, x * side, 0, zoom, y * side),
        Image.Resampling.BILINEAR,
        fillcolor=PADDING,
    )
    moved = np.clip((box - np.array([x, y, x, y])) / zoom, 0, 1)
    pixels = np.asarray(image)
    if rng.random() < 0.5:
        pixels, moved = (
            pixels[:, ::-1],
            np.array([1, 0, 1, 0]) + moved[[2, 1, 0, 3]] * [-1, 1, -1, 1],
        )
    lit = light(pixels[None], rng, Augmentation())[0]
    padding = (pixels == PADDING).all(axis=2, keepdims=True)  # which no light falls on
    return np.where(padding, pixels, lit), moved.astype(np.float32)


def _conv(
    x: Any, channels: int, name: str, *, size: int = 3, stride: int = 1, active: bool = True
) -> Any:
    x = keras.layers.Conv2D(
        channels, size, strides=stride, padding="same", use_bias=False,
        kernel_initializer="he_normal", name=name,
    )(x)  # fmt: skip
    x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x) if active else x


def _residual(x: Any, name: str) -> Any:
    y = _conv(_conv(x, x.shape[-1], f"{name}_a"), x.shape[-1], f"{name}_b", active=False)
    return keras.layers.ReLU(name=name)(keras.layers.Add(name=f"{name}_add")([x, y]))


def _edges(x: Any, axis: int, name: str) -> Any:
    """A map [n, h, w, c] -> logits [n, PLACES, 2] of the two edges across `axis`."""
    profile = keras.layers.Concatenate(name=f"{name}_profile")(
        [keras.ops.mean(x, axis=axis), keras.ops.max(x, axis=axis)]
    )
    profile = keras.layers.ZeroPadding1D((0, 1), name=f"{name}_pad")(profile)
    profile = keras.layers.Conv1D(
        2 * x.shape[-1], 5, padding="same", activation="relu", name=f"{name}_mix"
    )(profile)
    return keras.layers.Conv1D(2, 5, padding="same", name=name)(profile)


def _area(boxes: Any) -> Any:
    return keras.ops.prod(keras.ops.relu(boxes[..., 2:] - boxes[..., :2]), axis=-1)
