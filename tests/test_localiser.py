"""The localiser learns where products are, from boxes and compositions, and is exported whole."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from model.backbone import Network, build
from model.boxes import Boxes, centre, iou
from model.composition import cut_out
from model.errors import BadInput
from model.export import export
from model.localiser import (
    OUTPUT,
    PLACES,
    Boxed,
    Lessons,
    box_loss,
    build_localiser,
    expected,
    find_boxes,
    fit_localiser,
    giou,
    locate,
)
from model.loop import Diverged, Epoch, Schedule
from model.pixel_spec import PixelSpec
from serving.localiser import Localiser

SIDE = 32
SCHEDULE = Schedule(
    epochs=1, batch_size=16, learning_rate=0.003, weight_decay=0.01, warmup_share=0.1, balance=0,
    seed=0,
)  # fmt: skip


def classifier(side: int | None = None) -> keras.Model:
    keras.utils.set_random_seed(0)
    network = Network(blocks=(1, 1), width=4)
    return build(network, 2, mean=(128,) * 3, deviation=(64,) * 3, side=side)


def localiser(side: int = SIDE, width: int = 8) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_localiser(classifier(), side, width)


def street(count: int, seed: int) -> Boxed:
    """A bright disc or square each, on dark noise."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 90, (count, SIDE, SIDE, 3), np.uint8)
    boxes = np.empty((count, 4), np.float32)
    for photo, box in zip(pixels, boxes, strict=True):
        width, height = rng.integers(8, 25, 2)
        left, top = (rng.integers(0, SIDE - length + 1) for length in (width, height))
        photo[top : top + height, left : left + width] = rng.integers(150, 256, 3)
        box[:] = np.array([left, top, left + width, top + height]) / SIDE
    return Boxed(pixels, boxes)


def cuts() -> list[Image.Image]:
    found = []
    for number in range(12):
        photo = np.full((SIDE, SIDE, 3), 245, np.uint8)
        photo[8 - number // 3 : 24, 6:26] = (40 + 15 * number, 200 - 15 * number, 90)
        cut = cut_out(photo)
        assert cut is not None
        found.append(cut)
    return found


NONE = Boxed(np.empty((0, SIDE, SIDE, 3), np.uint8), np.empty((0, 4), np.float32))


def fitted(lessons: Lessons, folder: Path, schedule: Schedule = SCHEDULE) -> keras.Model:
    model = localiser()
    fit_localiser(
        model, lessons, NONE, schedule=schedule, checkpoints=folder, on_epoch=lambda epoch: None
    )
    return model


def mean_iou(model: keras.Model, photos: Boxed) -> float:
    return float(iou(find_boxes(model, photos.pixels), photos.boxes).mean())


def test_it_learns_from_boxes_and_compositions(tmp_path: Path) -> None:
    asked = street(64, seed=1)
    middle = np.stack([centre((SIDE, SIDE), 0.55)] * len(asked))
    lessons = Lessons(street(256, seed=0), cuts(), street(8, seed=2).pixels)
    curve: list[Epoch] = []
    options: Any = {
        "schedule": Schedule(**{**vars(SCHEDULE), "epochs": 4}),
        "checkpoints": tmp_path,
        "on_epoch": curve.append,
    }
    model = localiser()
    history = fit_localiser(model, lessons, asked, **options)
    assert mean_iou(model, asked) > iou(middle, asked.boxes).mean() + 0.2
    assert [epoch.epoch for epoch in curve] == [0, 1, 2, 3]
    assert curve[-1].loss < curve[0].loss
    assert curve[-1].validation == {"iou": pytest.approx(mean_iou(model, asked), abs=1e-3)}
    # Trained to its end, it goes on from there: by not one epoch more.
    again = localiser()
    assert fit_localiser(again, lessons, asked, **options) == history
    assert len(curve) == 4
    asked_again = find_boxes(again, asked.pixels)
    np.testing.assert_allclose(asked_again, find_boxes(model, asked.pixels), atol=1e-6)


@pytest.mark.parametrize("side", [pytest.param(32, marks=pytest.mark.slow), 50, 130])
def test_the_exported_graph_finds_what_keras_finds(tmp_path: Path, side: int) -> None:
    model = localiser(side, width=4)
    pixels = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    model(pixels, training=True)  # moves the norms' means away from their start
    export(locate(model), tmp_path / "localiser.onnx", ("box",))
    served = Localiser(tmp_path / "localiser.onnx", PixelSpec(side))
    np.testing.assert_allclose(served.edges(pixels), find_boxes(model, pixels), atol=1e-3)


@pytest.mark.slow
def test_the_classifier_stays_as_it_is(tmp_path: Path) -> None:
    network = classifier()
    before = [value.copy() for value in network.get_weights()]
    keras.utils.set_random_seed(0)
    model = build_localiser(network, SIDE, 4)
    lessons = Lessons(street(32, seed=0), [], street(1, seed=0).pixels)
    known = [value.copy() for value in model.get_layer("known").get_weights()]
    fit_localiser(
        model, lessons, NONE, schedule=SCHEDULE, checkpoints=tmp_path, on_epoch=lambda epoch: None
    )
    for one, other in zip(known, model.get_layer("known").get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_network(tmp_path: Path) -> None:
    lessons = Lessons(street(32, seed=0), cuts(), street(8, seed=2).pixels)
    one, other = (fitted(lessons, tmp_path / name) for name in ("a", "b"))
    asked = street(8, seed=3).pixels
    np.testing.assert_allclose(find_boxes(one, asked), find_boxes(other, asked), atol=1e-4)


def test_nothing_to_learn_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^Nothing to learn boxes from\. Expected a photo with"):
        fitted(Lessons(NONE, [], NONE.pixels), tmp_path)


def test_a_lost_training_names_the_rows_of_its_batch(tmp_path: Path) -> None:
    boxed = street(16, seed=0)
    lost = Boxed(boxed.pixels, np.full_like(boxed.boxes, np.nan))
    with pytest.raises(Diverged, match=r"^The loss is nan in epoch 0, batch 0\.") as caught:
        fitted(Lessons(lost, [], lost.pixels), tmp_path)
    assert set(caught.value.rows) <= set(range(16))


# The measures.


def sure(boxes: Boxes) -> np.ndarray:
    """Logits that say exactly these boxes, whose edges are places."""
    rows = np.round(boxes[:, [0, 2, 1, 3]] * (PLACES - 1)).astype(int)
    return 50 * np.eye(PLACES, dtype=np.float32)[rows]


BOXES = np.array([[0, 0, 0.5, 1], [0.25, 0.5, 0.75, 0.75]], np.float32)


def test_logits_say_their_boxes_and_cost_nothing_where_they_are_right() -> None:
    np.testing.assert_allclose(expected(sure(BOXES)), BOXES, atol=1e-5)
    np.testing.assert_allclose(box_loss(BOXES, sure(BOXES)), [0, 0], atol=1e-3)
    assert (np.asarray(box_loss(BOXES, sure(BOXES[::-1]))) > 1).all()


def test_generalised_iou_is_iou_where_boxes_fill_what_is_around_them() -> None:
    inner = np.array([[0.2, 0.2, 0.6, 0.4]], np.float32)
    outer = np.array([[0.0, 0.0, 1.0, 1.0]], np.float32)
    np.testing.assert_allclose(giou(inner, outer), iou(inner, outer), atol=1e-5)
    apart = np.array([[0.0, 0.0, 0.1, 0.1]], np.float32), np.array([[0.9, 0.9, 1, 1]], np.float32)
    np.testing.assert_allclose(giou(*apart), [-0.98], atol=1e-3)


def test_a_network_has_one_output() -> None:
    model = localiser(width=4)
    assert {name: tuple(output.shape) for name, output in model.output.items()} == {
        OUTPUT: (None, 4, PLACES)
    }


def test_no_photos_give_no_boxes() -> None:
    assert find_boxes(localiser(width=4), NONE.pixels).shape == (0, 4)
