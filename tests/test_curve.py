"""The curve of dimensions, and the rule that picks from it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BadInput
from model.reducer import METHODS, Array, Method, second_moment, unit
from pipelines.curve import Bounds, Curve, Point, choose, floor, grid, measure
from pipelines.settings import Gate, Index, Reduce, Settings
from pipelines.trial import Side, Trial

BOUNDS = Bounds(max_loss=0.01, min_recall=0.95, min_slice_recall=0.9, slice_queries=100, rounds=50)


def world(inner: int, width: int, *, queries: int = 120, items: int = 400) -> tuple[Trial, Array]:
    """Ten leaves in a turned plane of `inner` dimensions, and next to nothing outside of it."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(width, width)))[0]
    leaf = rng.integers(0, 10, queries + items)
    plane = rng.normal(size=(10, inner))[leaf] + 0.3 * rng.normal(size=(len(leaf), inner))
    noise = 1e-4 * rng.normal(size=(len(leaf), width - inner))
    vectors = unit(np.hstack([plane, noise]) @ turn)
    own = np.arange(len(leaf))
    sides = [
        Side(vectors[part], leaf[part], own[part], own[part], np.zeros(len(own[part]), bool))
        for part in (slice(queries), slice(queries, None))
    ]
    return Trial(sides[0], sides[1], 10), vectors[queries:]


def point(
    dimensions: int,
    method: Method = "pca",
    *,
    loss: float = 0.0,
    recall: float = 1.0,
    quality: bool = True,
    neighbours: bool = True,
) -> Point:
    return Point(method, dimensions, 0.5, None, loss, recall, recall, quality, neighbours)


def curve(*points: Point, width: int = 64) -> Curve:
    return Curve(width, 100, 1000, 0.5, None, BOUNDS, points)


def test_the_smallest_space_that_holds_the_plane_is_chosen() -> None:
    trial, fitted = world(4, 16)
    found = measure(trial, second_moment([fitted]), BOUNDS, METHODS, grid(16))
    assert (found.width, found.queries, found.items, found.hit) == (16, 120, 400, None)
    assert found.bounds == BOUNDS
    assert [(p.method, p.dimensions) for p in found.points] == [
        (method, number) for method in METHODS for number in grid(16)
    ]
    assert choose(Reduce(dimensions="auto", method="auto"), found, 16) == ("pca", 4)
    best = next(p for p in found.points if str(p) == "pca 4")
    assert best == Point("pca", 4, found.precision, None, 0.0, 1.0, 1.0, True, True)
    assert found.facts("pca", 4)["compression"] == 4.0
    turned = next(p for p in found.points if str(p) == "truncate 4")
    assert turned.recall < 0.7


def test_all_dimensions_lose_nothing_but_where_they_are_bent() -> None:
    trial, fitted = world(6, 8)
    found = measure(trial, second_moment([fitted]), BOUNDS, METHODS, [8])
    kept = {p.method: (p.loss, p.recall, p.floor, p.passes) for p in found.points}
    assert kept["pca"] == kept["truncate"] == (0.0, 1.0, 1.0, True)
    assert kept["whiten"][1] < 0.95


def test_a_wild_photo_counts_where_there_are_enough() -> None:
    """Leaf and product are told apart by other directions: the first axis knows the leaf alone."""
    rng = np.random.default_rng(3)
    leaf, product = np.arange(120) % 2, np.arange(120)
    vectors = unit(np.column_stack([4 * leaf - 2, rng.normal(size=(120, 3))]))
    asked = Side(vectors, leaf, product, product, np.ones(120, bool))
    base = Side(vectors, leaf, product, product, np.zeros(120, bool))
    trial, moment = Trial(asked, base, 5), second_moment([vectors])
    few, enough = (
        measure(trial, moment, replace(BOUNDS, slice_queries=number), ["pca"], [1]).points[0]
        for number in (121, 120)
    )
    assert few.hit == enough.hit
    assert enough.hit is not None
    assert enough.hit < 0.5
    assert (few.loss, few.keeps_quality) == (0.0, True)
    assert (enough.loss, enough.keeps_quality) == (pytest.approx(1 - enough.hit), False)


def test_a_kind_of_photos_that_is_lost_does_not_pass() -> None:
    """Wild photos live in directions of their own, too weak to be kept."""
    rng = np.random.default_rng(5)
    strong, weak = rng.normal(size=(900, 3)), rng.normal(size=(100, 3))
    studio = np.hstack([strong, np.zeros((900, 3))])
    wild = np.hstack([np.full((100, 3), 0.5), weak])
    vectors = unit(np.vstack([studio, wild, studio[:300], wild]))
    is_wild = np.arange(1400) >= 900
    is_wild[1000:1300] = False
    own = np.arange(1400)
    parts = [np.arange(400, 1000), np.arange(1000, 1400)]
    asked, base = (
        Side(vectors[rows], own[rows] % 2, own[rows], own[rows], is_wild[rows]) for rows in parts
    )
    trial, moment = Trial(asked, base, 5), second_moment([vectors])
    bounds = replace(BOUNDS, min_recall=0.5, max_loss=1)
    whole = measure(trial, moment, replace(bounds, slice_queries=101), ["pca"], [3]).points[0]
    apart = measure(trial, moment, bounds, ["pca"], [3]).points[0]
    assert (whole.keeps_neighbours, apart.keeps_neighbours) == (True, False)
    assert whole.recall == apart.recall


def test_a_lucky_dip_is_not_chosen() -> None:
    found = curve(
        point(8),
        point(16, neighbours=False),
        point(32),
        point(64),
        point(24, "whiten", neighbours=False),
        point(48, "truncate", loss=-0.1),
    )
    assert str(found.smallest(lambda p: p.keeps_neighbours)) == "pca 32"
    assert str(found.smallest(lambda p: p.keeps_quality)) == "pca 8"
    assert found.smallest(lambda p: False) is None
    assert found.facts("pca", 32) == {
        "compression": 2.0,
        "loss": 0.0,
        "recall": 1.0,
        "floor": 1.0,
        "by_quality": "pca 8",
        "by_neighbours": "pca 32",
    }


def test_of_equal_dimensions_the_better_quality_wins() -> None:
    found = curve(point(16), point(16, "truncate", loss=-0.02))
    assert choose(Reduce(dimensions="auto", method="auto"), found, 64) == ("truncate", 16)
    assert choose(Reduce(dimensions=16, method="auto"), found, 64) == ("truncate", 16)


def test_a_given_number_of_dimensions_stays_whatever_it_loses() -> None:
    poor = curve(point(8, loss=0.4, recall=0.3, quality=False, neighbours=False))
    assert choose(Reduce(dimensions=8), poor, 64) == ("pca", 8)
    assert poor.facts("pca", 8) == {"compression": 8.0, "loss": 0.4, "recall": 0.3, "floor": 0.3}
    less = point(8, "truncate", loss=0.1, recall=0.2, quality=False, neighbours=False)
    both = curve(*poor.points, less)
    assert choose(Reduce(dimensions=8, method="auto"), both, 64) == ("pca", 8)


def test_a_method_that_never_passes_is_refused() -> None:
    bad = curve(
        point(8, "whiten", loss=0.2, recall=0.4, quality=False, neighbours=False),
        point(64, "whiten", loss=0.05, recall=0.6, quality=False, neighbours=False),
    )
    with pytest.raises(BadInput) as caught:
        choose(Reduce(dimensions="auto", method="whiten"), bad, 64)
    assert str(caught.value) == (
        "No number of dimensions of `whiten` is good enough. Expected at most 0.01 of the quality "
        "lost and the gate's recall kept. Best: whiten 64 loses 0.050, its recall may be as low "
        "as 0.600. Set `reduce.method` to `pca` or `auto`."
    )


def test_without_a_curve_nothing_is_lost() -> None:
    assert choose(Reduce(dimensions="auto", method="auto"), None, 48) == ("pca", 48)
    assert choose(Reduce(dimensions="auto", method="truncate"), None, 48) == ("truncate", 48)
    assert choose(Reduce(dimensions=12, method="auto"), None, 48) == ("pca", 12)


def test_the_grid_halves_in_three_steps() -> None:
    assert grid(192) == [8, 16, 24, 32, 40, 48, 64, 80, 96, 120, 152, 192]
    assert grid(16) == [1, 2, 3, 4, 5, 6, 8, 10, 13, 16]
    assert grid(1) == [1]


@given(st.integers(1, 4096))
def test_every_grid_ends_with_all_dimensions(width: int) -> None:
    found = grid(width)
    assert found == sorted(set(found))
    assert (found[-1], found[0] >= 1) == (width, True)
    assert len(found) <= 3 * int(np.log2(width) + 1) + 1


def test_the_bounds_are_those_of_the_gate_less_what_the_engine_may_lose(tmp_path: Path) -> None:
    given = Settings(
        root=tmp_path,
        reduce=Reduce(max_loss=0.03),
        gate=Gate(min_recall=0.9, min_slice_recall=0.8, slice_queries=7, bootstrap_rounds=11),
        index=Index(target_recall=0.95),
    )
    exact = given.model_copy(update={"index": Index(engine="exact", target_recall=0.95)})
    small = Bounds(0.03, 0.9, 0.8, 7, 11)
    assert Bounds.of(given, 19_999) == small
    assert Bounds.of(exact, 20_000) == small
    assert Bounds.of(given, 20_000) == Bounds(0.03, 0.9 / 0.95, 0.8 / 0.95, 7, 11)
    strict = given.model_copy(update={"gate": Gate(min_recall=1)})
    assert Bounds.of(strict, 20_000).min_recall == 1


def test_the_floor_lies_twice_the_margin_below() -> None:
    assert floor(np.full(30, 0.8), 20) == pytest.approx(0.8)
    recall = np.random.default_rng(0).random(400)
    margin = 1.645 * recall.std() / 20
    assert floor(recall, 2000) == pytest.approx(recall.mean() - 2 * margin, abs=0.004)
