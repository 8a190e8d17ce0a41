"""The engine: one bundle, asked by photo or by item."""

import io
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_bundle import (
    AWKWARD_IDS,
    DIMENSIONS,
    LEAVES,
    SIDE,
    add_bundle,
    add_localiser,
    add_variant,
    draw_photo,
)

from model.errors import BadImage, BadInput, Damaged
from model.pixels import Box, PixelSpec, to_pixels
from serving.bundle import MANIFEST, verify
from serving.engine import MAX_FETCHED, Answer, Ask, Engine, Found, Searched
from serving.exact import ExactIndex
from serving.filters import EVERY, Filter
from serving.item import Item
from serving.items import UnknownItem
from serving.selection import Wanted, choose

ITEMS, BASE = 60, 48


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def digest(root: Path) -> str:
    return add_bundle(root, items=ITEMS)


@pytest.fixture(scope="module")
def engine(root: Path, digest: str) -> Engine:
    return Engine(verify(root / "bundles" / digest, digest), threads=1)


def variant(root: Path, digest: str, edit: Callable[[Path], object]) -> Engine:
    """The engine of a bundle that differs in a file."""
    changed = add_variant(root, digest, edit)
    return Engine(verify(root / "bundles" / changed, changed), threads=1)


def localised(root: Path, digest: str, edges: tuple[float, ...], **given: int) -> Engine:
    """The engine of the bundle with a localiser that always finds these edges."""
    changed = add_localiser(root, digest, edges, **given)
    return Engine(verify(root / "bundles" / changed, changed), threads=1)


def ids(answer: Answer) -> list[str]:
    return [hit["item_id"] for hit in answer.hits]


def name(number: int) -> str:
    return AWKWARD_IDS.get(number, f"item-{number:03}")


def test_a_photo_finds_its_item_and_says_what_it_is(engine: Engine) -> None:
    answer = engine.search(draw_photo(50), 3)
    assert answer.hits[0] == {
        "item_id": "item-050",
        "product_id": "product-025",
        "title": "Pendants no. 50",
        "brand": None,
        "category": "Home > Lamps > Pendants",
        "price": 59.5,
        "currency": "EUR",
        "in_stock": True,
        "score": 1.0,
    }
    assert len(answer.hits) == 3
    scores = [hit["score"] for hit in answer.hits]
    assert scores == sorted(scores, reverse=True)
    assert [len(answer.category), answer.category[0]["path"]] == [3, "Home > Lamps > Pendants"]
    odds = [guess["confidence"] for guess in answer.category]
    assert odds == sorted(odds, reverse=True)
    assert 0.5 < odds[0] <= sum(odds) <= 1.001
    assert set(answer.seconds) == {"decode", "embed", "search"}
    assert all(seconds >= 0 for seconds in answer.seconds.values())


def test_every_item_is_found_by_its_photo(engine: Engine) -> None:
    """Those of the index and those beside it."""
    assert len(engine) == ITEMS
    assert (len(engine.index.base), len(engine.index)) == (BASE, ITEMS)
    found = [ids(engine.search(draw_photo(number), 1)) for number in range(ITEMS)]
    assert found == [[name(number)] for number in range(ITEMS)]


def test_similar_items_are_all_but_the_item_itself(engine: Engine) -> None:
    for number in (0, 4, BASE - 1, BASE, ITEMS - 1):
        row = engine.items.row(name(number))
        assert row == number
        scores = np.asarray(engine.vectors @ engine.vectors[row])
        scores[row] = -np.inf
        answer = engine.similar(name(number), 7)
        assert ids(answer) == [name(other) for other in np.argsort(-scores, kind="stable")[:7]]
        expected = -np.sort(-scores)[:7]
        assert [hit["score"] for hit in answer.hits] == pytest.approx(expected, abs=1e-4)
        assert (answer.category, set(answer.seconds)) == ([], {"search"})


@pytest.mark.parametrize("k", [ITEMS, ITEMS + 1, 1000])
def test_k_above_the_number_of_items_gives_them_all(engine: Engine, k: int) -> None:
    everything = {name(number) for number in range(ITEMS)}
    assert set(ids(engine.search(draw_photo(1), k))) == everything
    assert len(engine.search(draw_photo(1), k).hits) == ITEMS
    answer = ids(engine.similar("item-001", k))
    assert set(answer) == everything - {"item-001"}
    assert len(answer) == ITEMS - 1


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


@pytest.mark.parametrize("k", [1, 10, 100])
def test_index_and_rest_together_are_an_exact_search_over_all(engine: Engine, k: int) -> None:
    pixels = np.stack([to_pixels(draw_photo(200 + n), PixelSpec(SIDE)) for n in range(30)])
    queries, _ = engine.embedder.embed(pixels)
    rows, scores = engine.nearest(queries, k)
    exact_rows, exact_scores = ExactIndex(engine.vectors).search(queries, k)
    np.testing.assert_allclose(scores, exact_scores, atol=1e-6)
    np.testing.assert_array_equal(rows, exact_rows)
    assert rows.dtype == np.int32
    if k == 10:
        assert (rows < BASE).any()
        assert (rows >= BASE).any()


def test_an_item_with_a_twin_finds_the_twin(root: Path, digest: str) -> None:
    """The item itself is left out by its row, not by its score."""

    def copy_first(folder: Path) -> None:
        vectors = np.load(folder / "vectors.npy")
        vectors[[BASE, ITEMS - 1]] = vectors[0]
        np.save(folder / "vectors.npy", vectors)

    engine = variant(root, digest, copy_first)
    assert ids(engine.similar("item-000", 2)) == [name(BASE), name(ITEMS - 1)]
    assert set(ids(engine.similar(name(BASE), 2))) == {"item-000", name(ITEMS - 1)}
    assert [hit["score"] for hit in engine.similar("item-000", 2).hits] == [1.0, 1.0]


def test_a_box_changes_the_answer(engine: Engine) -> None:
    photo = Image.new("RGB", (480, 240), (250, 250, 250))
    for place, number in ((0, 20), (240, 33)):
        photo.paste(Image.open(io.BytesIO(draw_photo(number))), (place, 0))
    data = io.BytesIO()
    photo.save(data, "PNG")
    left, right = (
        engine.search(data.getvalue(), 1, box)
        for box in (Box(0, 0, 240, 240), Box(240, 0, 240, 240))
    )
    assert (ids(left), ids(right)) == ([name(20)], [name(33)])
    assert [answer.category[0]["path"] for answer in (left, right)] == [
        LEAVES[20 % len(LEAVES)][0],
        LEAVES[33 % len(LEAVES)][0],
    ]
    with pytest.raises(BadImage) as caught:
        engine.search(data.getvalue(), 1, Box(480, 0, 10, 10))
    assert caught.value.reason == "box_outside_image"


def street(*numbers: int) -> bytes:
    """Products side by side on a ground that is not plain."""
    chance = np.random.default_rng(0)
    ground = chance.integers(0, 256, (240, 240 * len(numbers), 3), np.uint8)
    photo = Image.fromarray(ground)
    for place, number in enumerate(numbers):
        product = Image.open(io.BytesIO(draw_photo(number))).crop((10, 10, 230, 230))
        photo.paste(product, (240 * place + 10, 10))
    data = io.BytesIO()
    photo.save(data, "PNG")
    return data.getvalue()


LEFT, RIGHT = (0.0, 0.25, 0.5, 0.75), (0.5, 0.25, 1.0, 0.75)  # of a photo twice as wide as high


@pytest.mark.parametrize(("edges", "box"), [(LEFT, (0, 0, 240, 240)), (RIGHT, (240, 0, 240, 240))])
def test_the_found_box_is_searched_as_if_it_had_been_given(
    root: Path, digest: str, edges: tuple[float, ...], box: tuple[int, ...]
) -> None:
    engine = localised(root, digest, edges)
    photo = street(20, 33)
    found, given = engine.search(photo, 5), engine.search(photo, 5, Box(*box))
    assert found.searched == Searched("found", Box(*box), (480, 240))
    assert given.searched == Searched("given", Box(*box), (480, 240))
    assert (found.hits, found.category) == (given.hits, given.category)


def test_the_whole_photo_is_searched_when_asked_and_without_a_localiser(
    root: Path, digest: str, engine: Engine
) -> None:
    photo, other = street(20, 33), localised(root, digest, LEFT)
    asked, without = other.search(photo, 5, "whole"), engine.search(photo, 5)
    assert asked.searched == without.searched == Searched("whole", Box(0, 0, 480, 240), (480, 240))
    assert asked.hits == without.hits == engine.search(photo, 5, Box(0, 0, 480, 240)).hits
    assert asked.hits != other.search(photo, 5).hits


def test_a_product_on_plain_ground_is_searched_whole(root: Path, digest: str) -> None:
    engine = localised(root, digest, (0.4, 0.4, 0.6, 0.6))
    answer = engine.search(draw_photo(8), 1)
    assert answer.searched == Searched("whole", Box(0, 0, 240, 240), (240, 240))
    assert ids(answer) == [name(8)]


@pytest.mark.parametrize("edges", [(np.nan,) * 4, (0.6, 0.2, 0.4, 0.8), (0.0, 0.0, 1.0, 0.1)])
def test_where_nothing_is_found_the_whole_photo_is_searched(
    root: Path, digest: str, edges: tuple[float, ...]
) -> None:
    """No number, no area, or none of it in the photo."""
    answer = localised(root, digest, edges).search(street(20, 33), 1)
    assert answer.searched == Searched("whole", Box(0, 0, 480, 240), (480, 240))


@pytest.mark.parametrize(
    ("edges", "side", "received"), [(LEFT, 64, r"64 and \[4\]"), (LEFT[:3], SIDE, r"32 and \[3\]")]
)
def test_a_localiser_of_another_pixel_spec_is_refused(
    root: Path, digest: str, edges: tuple[float, ...], side: int, received: str
) -> None:
    with pytest.raises(
        Damaged,
        match=rf"^The localiser is not of this pixel spec\. Expected images of side 32 and 4 "
        rf"edges\. Found: {received}\. Build the bundle again\.$",
    ):
        localised(root, digest, edges, side=side)


def test_an_item_is_searched_by_its_vector_alone(engine: Engine) -> None:
    assert engine.similar("item-001", 1).searched is None


def test_what_is_no_photo_is_refused(engine: Engine) -> None:
    with pytest.raises(BadImage) as caught:
        engine.search(b"hat", 5)
    assert caught.value.reason == "image_not_an_image"


def test_k_is_at_least_one(engine: Engine) -> None:
    with pytest.raises(BadInput, match="Invalid `k`"):
        engine.search(draw_photo(1), 0)


@pytest.mark.parametrize("item", ["item-999", "", "item-003", "ITEM-001"])
def test_an_unknown_item_is_named(engine: Engine, item: str) -> None:
    message = f"No item {item!r} in the catalogue. Expected the `item_id` of one in it."
    for ask in (lambda: engine.similar(item, 5), lambda: engine.items.row(item)):
        with pytest.raises(UnknownItem) as caught:
            ask()
        assert str(caught.value) == message


def test_the_image_of_an_item(engine: Engine) -> None:
    assert [engine.items.image(engine.items.row(name(number))) for number in (0, 5, 59)] == [
        "images/000.jpg",
        "images/005.jpg",
        "images/059.jpg",
    ]


def test_threads_get_the_answers_of_one(engine: Engine) -> None:
    photos = [draw_photo(number) for number in range(ITEMS)]
    expected = [engine.search(photo, 5).hits for photo in photos]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda photo: engine.search(photo, 5).hits, photos))
    assert found == expected


def test_an_exact_index_over_all_items_answers_the_same(
    root: Path, digest: str, engine: Engine
) -> None:
    """A bundle without a rest: nothing is beside the index."""

    def make_exact(folder: Path) -> None:
        for path in (folder / "index").iterdir():
            path.unlink()
        index = ExactIndex(np.load(folder / "vectors.npy"))
        index.save(folder / "index")
        manifest = json.loads((folder / MANIFEST).read_bytes())
        (folder / MANIFEST).write_text(json.dumps({**manifest, "index": index.description}))

    exact = variant(root, digest, make_exact)
    assert (len(exact.index.base), len(exact.index)) == (ITEMS, ITEMS)
    assert exact.similar("item-010", 9).hits == engine.similar("item-010", 9).hits
    assert exact.search(draw_photo(77), 9).hits == engine.search(draw_photo(77), 9).hits


def test_a_spec_that_the_embedder_was_not_trained_on_is_refused(root: Path, digest: str) -> None:
    def change_spec(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        changed = {**manifest, "pixel_spec": "decode|orient|resize(64)|pad"}
        (folder / MANIFEST).write_text(json.dumps(changed))

    engine = variant(root, digest, change_spec)
    with pytest.raises(BadInput) as caught:
        engine.search(draw_photo(1), 3)
    assert str(caught.value) == (
        f"Wrong pixels for this embedder. Expected [n, {SIDE}, {SIDE}, 3]. "
        f"Received: [1, 64, 64, 3]. Was the pixel spec changed without retraining?"
    )


def test_vectors_are_read_from_the_file_not_copied(engine: Engine) -> None:
    assert isinstance(engine.vectors.base, np.memmap)
    assert engine.vectors.shape == (ITEMS, DIMENSIONS)
    np.testing.assert_allclose(np.linalg.norm(engine.vectors, axis=1), np.ones(ITEMS), atol=1e-5)


# Filters, rules and batches

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


def near(found: Found) -> list[tuple[int, Any]]:
    """The same rows; the scores but for what a larger batch adds up in another order."""
    return [(row, pytest.approx(score, abs=1e-6)) for row, score in found]


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


# Changes


@pytest.fixture
def changing(root: Path, digest: str) -> Engine:
    """An engine of its own."""
    return Engine(verify(root / "bundles" / digest, digest), threads=1)


def item(number: int, **given: object) -> Item:
    facts = {"item_id": name(number), "category": "Home > Rugs > Round rugs", **given}
    return Item.parse(facts)


def vector_of(engine: Engine, photo: bytes) -> np.ndarray:
    vectors, _ = engine.embed([engine.look(photo)])
    return vectors[0]


def test_a_new_item_is_found_at_once(changing: Engine) -> None:
    photo = draw_photo(333)
    new = item(333, title="New", brand="Norrby", price=3.5, attributes={"colour": "red"})
    changing.put(new, vector_of(changing, photo), "new.jpg")
    assert len(changing) == ITEMS + 1
    first = changing.search(photo, 1).hits[0]
    assert first == {
        "item_id": "item-333",
        "product_id": "item-333",
        "title": "New",
        "brand": "Norrby",
        "category": "Home > Rugs > Round rugs",
        "price": 3.5,
        "currency": None,
        "in_stock": True,
        "score": 1.0,
    }
    row = changing.items.row("item-333")
    assert (changing.items.image(row), changing.items.item(row)) == ("new.jpg", new)
    red = Wanted(1, Filter(max_price=3.5, attributes=(("colour", "red"),)))
    assert ids(changing.search(draw_photo(1), red)) == ["item-333"]
    assert "item-333" not in ids(changing.similar("item-333", 100))
    assert "item-333" in ids(changing.similar("item-001", 100))


@pytest.mark.parametrize("number", [10, BASE + 2])
def test_an_item_changed_in_place_keeps_its_vector_and_photo(changing: Engine, number: int) -> None:
    before = changing.similar(name(number), 5).hits
    image = changing.items.image(number)
    changing.put(item(number, title="Changed", brand="Zeta", in_stock=False, price=1.0))
    assert (len(changing), changing.index.changes) == (ITEMS, ITEMS - BASE)
    assert changing.items.image(changing.items.row(name(number))) == image
    assert changing.similar(name(number), 5).hits == before
    only = Wanted(5, Filter(brands=("Zeta",), in_stock=False))
    (hit,) = changing.search(draw_photo(number), only).hits
    assert (hit["item_id"], hit["title"], hit["score"]) == (name(number), "Changed", 1.0)


@pytest.mark.parametrize("number", [10, BASE + 2])
def test_an_item_with_a_new_photo_is_found_by_that_alone(changing: Engine, number: int) -> None:
    old, new = draw_photo(number), draw_photo(333)
    vector = vector_of(changing, new)
    for _ in range(2):
        changing.put(item(number), vector, "again.jpg")
        assert len(changing) == ITEMS
        assert ids(changing.search(new, 1)) == [name(number)]
        found = changing.search(old, ITEMS).hits
        assert [hit["item_id"] for hit in found].count(name(number)) == 1
        assert found[0]["item_id"] != name(number)
        scores = {hit["item_id"]: hit["score"] for hit in changing.search(new, ITEMS).hits}
        similar = changing.similar(name(number), ITEMS).hits
        assert {hit["item_id"]: hit["score"] for hit in similar} == pytest.approx(
            {each: score for each, score in scores.items() if each != name(number)}, abs=2e-4
        )


@pytest.mark.parametrize("number", [10, BASE + 2])
def test_an_item_that_is_removed_is_gone_and_may_come_back(changing: Engine, number: int) -> None:
    photo, vector = draw_photo(number), np.array(changing.index.vector(number))
    for _ in range(2):
        changing.remove(name(number))
        changing.remove(name(number))  # gone already
        assert len(changing) == ITEMS - 1
        for wanted in (
            Wanted(ITEMS),
            Wanted(ITEMS, Filter(min_price=0.0)),
            Wanted(5, collapse=True),
        ):
            assert name(number) not in ids(changing.search(photo, wanted))
        with pytest.raises(UnknownItem):
            changing.similar(name(number))
        with pytest.raises(BadInput) as caught:
            changing.put(item(number))
        assert str(caught.value) == (
            f"The item {name(number)!r} is new. Expected a photo of it. Received none."
        )
        changing.put(item(number), vector, "back.jpg")
        assert ids(changing.search(photo, 1)) == [name(number)]
        assert len(changing.similar(name(number), 1000).hits) == ITEMS - 1


@pytest.mark.parametrize("size", [DIMENSIONS + 1, 0])
def test_a_bad_vector_changes_nothing(changing: Engine, size: int) -> None:
    bad = np.ones(size, np.float32) if size else np.full(DIMENSIONS, np.nan, np.float32)
    before = changing.items.facets(9), changing.search(draw_photo(5), ITEMS).hits
    for number in (5, 333):
        with pytest.raises(BadInput):
            changing.put(item(number, title="Bad"), bad, "bad.jpg")
    assert (len(changing), len(changing.items)) == (ITEMS, ITEMS)
    assert (changing.items.facets(9), changing.search(draw_photo(5), ITEMS).hits) == before
    assert changing.items.find("item-333") is None


def test_all_items_may_go_and_others_come(changing: Engine) -> None:
    for number in range(ITEMS):
        changing.remove(name(number))
    assert len(changing) == 0
    assert changing.search(draw_photo(1), Wanted(5, Filter(in_stock=True), (EVERY,))).hits == []
    changing.put(item(1), vector_of(changing, draw_photo(1)), "1.jpg")
    assert ids(changing.search(draw_photo(1), Wanted(5, per_product=1))) == [name(1)]
    assert changing.similar(name(1), 5).hits == []


def test_answers_while_items_change_are_of_before_or_after(changing: Engine) -> None:
    """An item moves between two photos, each time with the title of the photo it has."""
    photos, ended = (draw_photo(333), draw_photo(334)), threading.Event()
    vectors = [vector_of(changing, photo) for photo in photos]
    changing.put(item(10, title="0", brand="Zeta"), vectors[0], "0.jpg")
    only = Wanted(5, Filter(brands=("Zeta",)))

    def ask() -> set[int]:
        counts = set()
        while not ended.is_set():
            for wanted in (only, Wanted(ITEMS)):
                asks = [Ask(vector, wanted) for vector in vectors]
                for found in changing.find(asks):
                    own = [hit for hit in changing.hits(found) if hit["item_id"] == name(10)]
                    counts.add(len(own))
        return counts

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        for number in range(1, 300):
            which = number % 2
            changing.put(item(10, title=str(which), brand="Zeta"), vectors[which], "x.jpg")
        ended.set()
        assert [each.result() - {0, 1} for each in asking] == [set(), set()]
    assert len(changing) == ITEMS
    assert changing.search(photos[1], 1).hits[0]["title"] == "1"


def test_a_listing_gets_its_category_and_the_brand_beside_it(engine: Engine) -> None:
    _, odds = engine.embed([engine.look(draw_photo(8))])
    hits = engine.search(draw_photo(8), Wanted(5, Filter(brands=("Norrby",)))).hits
    found = engine.classify(odds[0], hits)
    assert found["brand"] == {"name": "Norrby", "confidence": 1.0}
    assert [level["path"] for level in found["category"]] == [
        "Home",
        "Home > Lamps",
        "Home > Lamps > Pendants",
    ]
    assert engine.classify(odds[0], [])["brand"] is None
