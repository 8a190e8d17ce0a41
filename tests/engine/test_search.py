"""Search by photo and by item, over all items of the bundle."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import DIMENSIONS, SIDE, draw_photo

from engine.shop import BASE, ITEMS, ids, name, variant
from model.errors import BadImage, BadInput
from model.pixel_spec import PixelSpec
from model.pixels import to_pixels
from serving.bundle import MANIFEST
from serving.engine import Engine
from serving.exact import ExactIndex
from serving.filters import Filter
from serving.items import UnknownItem
from serving.selection import Wanted


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
