"""What a question wants: filters, rules, and the same answer in any batch."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_bundle import SIDE, draw_photo

from engine.shop import ITEMS, name, near
from model.errors import BadInput
from model.pixel_spec import PixelSpec
from model.pixels import to_pixels
from serving.engine import MAX_FETCHED, Ask, Engine
from serving.filters import EVERY, Filter
from serving.selection import Wanted, choose

TOP = st.sampled_from(["Home", "Fashion", "Fashion > Bags > Totes", "Never"])
FILTERS = st.just(EVERY) | st.builds(
    Filter,
    categories=st.lists(TOP, max_size=2).map(tuple),
    brands=st.lists(st.sampled_from(["Norrby", "Aldi & Söhne"]), max_size=1).map(tuple),
    min_price=st.none() | st.sampled_from([10.0, 40.0]),
    in_stock=st.none() | st.booleans(),
    attributes=st.lists(st.just(("colour", "red")), max_size=1).map(tuple),
    not_product=st.none() | st.just("product-004"),
)
WISHES = st.builds(
    Wanted,
    k=st.integers(1, 15) | st.just(2 * MAX_FETCHED),
    filter=FILTERS,
    fallbacks=st.lists(FILTERS, max_size=2).map(tuple),
    per_product=st.integers(0, 2),
    collapse=st.booleans(),
    diversity=st.sampled_from([0.0, 0.0, 0.4]),
    min_score=st.sampled_from([-1.0, 0.2, 0.9]),
)


def asked(engine: Engine, number: int, wanted: Wanted) -> Ask:
    return engine.ask(name(number), wanted)


@given(st.lists(st.tuples(st.integers(0, ITEMS - 1), WISHES), max_size=6))
def test_a_question_gets_the_same_answer_in_any_batch(
    engine: Engine, given: list[tuple[int, Wanted]]
) -> None:
    asks = [asked(engine, *each) for each in given]
    assert engine.find(asks) == [near(engine.find([ask])[0]) for ask in asks]


def test_who_else_asks_does_not_make_an_answer_more_diverse(engine: Engine) -> None:
    """The more candidates there are, the more unlike each other those chosen may be."""
    greedy = asked(engine, 5, Wanted(1000))
    for number in range(20):
        diverse = asked(engine, number, Wanted(3, diversity=0.9))
        assert engine.find([greedy, diverse])[1] == near(engine.find([diverse])[0])


@given(st.integers(0, ITEMS - 1), WISHES)
def test_an_answer_keeps_to_what_is_wanted(engine: Engine, number: int, wanted: Wanted) -> None:
    """Each step's answer by definition: all that its filter allows, in the order of scores."""
    ask = asked(engine, number, wanted)
    scores = np.asarray(engine.vectors @ ask.vector)
    found: list[int] = []
    for step in (wanted.filter, *wanted.fallbacks):
        if len(found) >= wanted.k:
            break
        mask = engine.items.allowed(step)
        allowed = np.ones(ITEMS, bool) if mask is None else mask
        new = [
            row
            for row in np.argsort(-scores, kind="stable").tolist()
            if allowed[row]
            and row != number
            and row not in found
            and scores[row] >= wanted.min_score
        ]
        near = np.array([*found, *new], np.int64)
        places = choose(
            scores[near].astype(np.float32),
            engine.items.products.at(near),
            np.asarray(engine.vectors[near]),
            wanted,
            taken=len(found),
        )
        found = near[places].tolist()
    answer = engine.find([ask])[0]
    got = [row for row, _ in answer]
    if not wanted.diversity:
        assert got == found
    assert number not in got
    assert len(set(got)) == len(got) <= wanted.k
    assert all(score >= wanted.min_score for _, score in answer)
    if wanted.per_product:
        assert max(np.bincount(engine.items.products.at(np.array(got, int))), default=0) <= (
            wanted.per_product
        )


def test_fallbacks_fill_up_by_the_same_rules(engine: Engine) -> None:
    """What a fallback adds comes behind, and is no second item of a product that is there."""
    narrow = Filter(("Home > Rugs > Round rugs",), min_price=40)
    wide = Filter(("Home",))
    wanted = Wanted(12, narrow, (wide, EVERY), per_product=1)
    found = engine.similar("item-010", wanted).hits
    first = engine.similar("item-010", replace(wanted, fallbacks=())).hits
    second = engine.similar("item-010", replace(wanted, fallbacks=(wide,))).hits
    assert 0 < len(first) < len(second) == len(found) == 12
    assert second[: len(first)] == first
    assert found == second
    assert all(hit["price"] >= 40 for hit in first)
    assert len({hit["product_id"] for hit in found}) == 12
    everything = engine.similar("item-010", replace(wanted, k=1000)).hits
    assert len(everything) == len({hit["product_id"] for hit in everything}) == ITEMS // 2


def test_a_bound_leaves_out_what_is_less_alike(engine: Engine) -> None:
    every = engine.similar("item-010", 100).hits
    for bound in (-1.0, 0.5, 0.9, 1.0):
        found = engine.similar("item-010", Wanted(100, min_score=bound)).hits
        assert found == [hit for hit in every if hit["score"] >= bound]


def test_no_question_and_no_answer(engine: Engine) -> None:
    assert engine.find([]) == []
    nothing = Wanted(5, Filter(("Never",)), (Filter(("Neither",)),), per_product=1)
    assert engine.similar("item-010", nothing).hits == []


def test_rows_that_are_no_answer_are_made_up_for(engine: Engine) -> None:
    vector = engine.index.vector(10)
    every = engine.find([Ask(vector, Wanted(ITEMS))])[0]
    but = frozenset(row for row, _ in every[:20])
    for wanted in (Wanted(10), Wanted(10, Filter(in_stock=True)), Wanted(ITEMS)):
        mask = engine.items.allowed(wanted.filter)
        allowed = [(row, score) for row, score in every[20:] if mask is None or mask[row]]
        assert engine.find([Ask(vector, wanted, but)])[0] == near(allowed[: wanted.k])


def test_what_is_found_is_told_as_dictionaries_and_as_the_same_json(engine: Engine) -> None:
    wishes = (Wanted(ITEMS), Wanted(3, per_product=1), Wanted(5, Filter(("Never",))))
    for number, wanted in zip((3, 4, 7), wishes, strict=True):  # awkward ids
        (found,) = engine.find([asked(engine, number, wanted)])
        hits = engine.hits(found)
        assert hits == engine.similar(name(number), wanted).hits
        assert [(hit["item_id"], hit["score"]) for hit in hits] == [
            (name(row), round(score, 4)) for row, score in found
        ]
        assert json.loads(engine.encoded(found)) == hits


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, 1.0])
@pytest.mark.parametrize("k", [1, 10, 100])
def test_a_filter_gives_the_best_of_what_it_allows(engine: Engine, share: float, k: int) -> None:
    pixels = np.stack([to_pixels(draw_photo(200 + n), PixelSpec(SIDE)) for n in range(30)])
    queries, _ = engine.embedder.embed(pixels)
    allowed = np.random.default_rng(0).random(ITEMS) < share
    rows, scores = engine.nearest(queries, k, allowed)
    every = np.where(allowed, queries @ engine.vectors.T, -np.inf)
    count = min(k, int(allowed.sum()))
    assert rows.shape == scores.shape == (30, count)
    assert allowed[rows].all()
    np.testing.assert_allclose(scores, -np.sort(-every, axis=1)[:, :count], atol=1e-3)


def test_a_filter_of_another_bundle_is_refused(engine: Engine) -> None:
    with pytest.raises(BadInput) as caught:
        engine.nearest(engine.vectors[:1], 1, np.ones(ITEMS - 1, bool))
    assert str(caught.value) == (
        f"This filter is not of this bundle. Expected bool [{ITEMS}]. Received: bool [{ITEMS - 1}]."
    )
