"""Who asks and what is searched when a reducer is tried, and what counts as found."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.reducer import Array, unit
from pipelines import trial
from pipelines.trial import HIT_AMONG, Side, Trial, draw_trial


def item(number: int, **given: Any) -> dict[str, Any]:
    """A studio photo of split `train`, of a product of its own."""
    row = {
        "item_id": f"i{number:04}",
        "product_id": f"p{number:04}",
        "pixel_key": f"k{number:04}",
        "leaf": number % 3,
        "group": number,
        "kind": "catalogue",
        "split": "train",
    }
    return {**row, **given}


def shop(*others: dict[str, Any], train: int = 40, val: int = 20) -> pa.Table:
    """Photos 0, 1, .. of split `train`, and 1000, 1001, .. of split `val`."""
    rows = [item(n) for n in range(train)]
    rows += [item(n, split="val") for n in range(1000, 1000 + val)]
    return pa.Table.from_pylist([*rows, *others])


def embeddings(keys: list[str]) -> Array:
    """A vector that says which photo it is of: all different, none of a length of zero."""
    turns = np.array([int(key[1:]) for key in keys]) * 0.001
    return np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)


def photos(side: Side) -> list[int]:
    """The numbers that `embeddings` wrote."""
    return [round(float(np.arctan2(y, x)) * 1000) for x, y in side.embeddings]


def drawn(items: pa.Table, k: int = 10) -> tuple[Trial, pa.Table]:
    found, fitted = draw_trial(items, embeddings, k)
    assert found is not None
    return found, fitted


def test_photos_of_split_val_ask_the_catalogue() -> None:
    test = item(60, split="test", kind="wild")
    wild = item(1200, split="val", kind="wild", product_id="p1000", group=1000, leaf=2)
    found, fitted = drawn(shop(test, wild))
    val = range(1000, 1020)
    assert photos(found.asked) == [1200, *val]
    assert photos(found.base) == [*val, *range(40)]  # the products asked for first
    assert found.asked.wild.tolist() == [True] + [False] * 20
    assert found.base.wild.tolist() == [False] * 60
    assert found.asked.leaf.tolist() == [2, *(n % 3 for n in val)]
    assert found.asked.product[0] == found.asked.product[1] == found.base.product[0]
    assert len(set(found.base.product.tolist())) == 60
    assert found.known_wild.tolist() == [True] + [False] * 20
    assert found.k == 10
    assert fitted["item_id"].to_pylist() == [f"i{n:04}" for n in (*range(40), 60)]


def test_no_fit_sees_another_view_of_what_asks() -> None:
    _, fitted = drawn(shop(item(70, group=1000, product_id="p1000")))
    assert fitted["item_id"].to_pylist() == [f"i{n:04}" for n in range(40)]


def test_without_enough_photos_of_val_others_stand_in() -> None:
    found, fitted = drawn(shop(train=240, val=5))
    assert photos(found.asked) == [*range(1000, 1005), *range(19)]
    assert len(found.base.leaf) == 245
    assert fitted["item_id"].to_pylist() == [f"i{n:04}" for n in range(19, 240)]


@pytest.mark.parametrize(
    "items",
    [
        shop()[:0],
        shop(train=150, val=0),  # a tenth of it is too few to ask with
        shop(train=0, val=40),  # nothing is left to fit on
        shop(*(item(n, kind="wild") for n in range(50, 90)), train=10, val=0),
    ],
    ids=["nothing", "few", "all ask", "nothing to find"],
)
def test_too_few_photos_ask_nothing(items: pa.Table) -> None:
    assert draw_trial(items, embeddings, 10) == (None, items)


def test_a_large_shop_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "MAX_QUERIES", 30)
    monkeypatch.setattr(trial, "MAX_ITEMS", 50)
    shots = (
        item(n + 1000, split="val", kind="wild", product_id=f"p{n:04}") for n in range(1000, 1040)
    )
    found, fitted = drawn(shop(*shots, train=90, val=60))
    assert photos(found.asked) == [*range(2000, 2015), *range(1000, 1015)]
    assert photos(found.base) == [*range(1000, 1015), *range(35)]
    assert len(fitted) == 90 + 45 + 25


def side(rng: np.random.Generator, n: int, wild: npt.NDArray[np.bool_]) -> Side:
    """Few leaves, products and groups, so that all of them meet."""
    codes = rng.integers(0, 4, (3, n))
    return Side(unit(rng.normal(size=(n, 5))), codes[0], codes[1], codes[2], wild)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 40), st.integers(1, 12))
def test_answers_are_those_of_a_plain_loop(seed: int, asked: int, items: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    queries = side(rng, asked, rng.random(asked) < 0.5)
    found = Trial(queries, side(rng, items, np.zeros(items, bool)), k)
    turn = rng.normal(size=(5, 3))
    rows, scores = found.search(lambda vectors: unit(vectors @ turn))
    same, hits = [], []
    for number in range(asked):
        barred = ~queries.wild[number] & (found.base.group == queries.group[number])
        reduced = unit(found.base.embeddings @ turn) @ unit(queries.embeddings[[number]] @ turn)[0]
        best = [row for row in np.argsort(-reduced, kind="stable") if not barred[row]]
        answers = rows[number][rows[number] >= 0].tolist()
        assert answers == best[: max(k, HIT_AMONG)]
        full = found.base.embeddings[answers] @ queries.embeddings[number]
        np.testing.assert_allclose(scores[number][: len(answers)], full, atol=1e-5)
        assert np.isneginf(scores[number][len(answers) :]).all()
        same += [found.base.leaf[row] == queries.leaf[number] for row in answers[:k]]
        if queries.wild[number] and queries.product[number] in found.base.product:
            hits.append(queries.product[number] in found.base.product[answers])
    assert found.precision(rows) == pytest.approx(sum(same) / (asked * min(k, items)))
    assert found.hit(rows) == (pytest.approx(np.mean(hits)) if hits else None)
