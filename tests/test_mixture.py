"""Vectors drawn for benchmarks: the same everywhere, of unit length, products with their photos."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.bench.mixture import BLOCK, Law, Mixture, leaves_of

SMALL = Mixture(Law.load(), leaves=12, seed=3, size=3000)


def test_a_block_is_the_same_each_time_and_unlike_the_others() -> None:
    again = Mixture(Law.load(), leaves=12, seed=3, size=3000)
    np.testing.assert_array_equal(SMALL.block(4), again.block(4))
    assert not np.allclose(SMALL.block(4), SMALL.block(5))
    assert not np.allclose(SMALL.block(4), replace(SMALL, seed=4).block(4))


@pytest.mark.parametrize("dimensions", [64, 96, 128])
def test_vectors_are_of_unit_length_in_any_dimension(dimensions: int) -> None:
    law = Law.load().in_dimensions(dimensions)
    block = Mixture(law, leaves=5, size=500).block(0)
    assert (block.shape, block.dtype) == ((500, dimensions), np.float32)
    np.testing.assert_allclose(np.linalg.norm(block, axis=1), 1, atol=1e-5)


def test_a_wider_space_has_the_same_total_and_a_stretched_spectrum() -> None:
    law = Law.load()
    wide = law.in_dimensions(128)
    for name in ("centres", "within"):
        narrow, stretched = (np.linalg.eigvalsh(getattr(each, name)) for each in (law, wide))
        assert stretched.sum() == pytest.approx(narrow.sum())
        assert stretched[-1] == pytest.approx(narrow[-1] * 96 / 128, rel=0.05)
    assert law.in_dimensions(96) is law


def test_queries_are_other_photos_of_the_same_products() -> None:
    block, queries = SMALL.block(0), SMALL.queries(0, 300)
    nearest = (queries @ block.T).max(axis=1)
    unseen = (SMALL.queries(1_000_000, 300) @ block.T).max(axis=1)
    assert nearest.max() < 1 - 1e-6  # none is in the block
    assert np.median(nearest) > np.median(unseen)
    assert not np.allclose(queries, SMALL.queries(0, 300, turn=1))
    np.testing.assert_array_equal(queries, SMALL.queries(0, 300))


def test_a_photo_is_nearest_to_its_leaf() -> None:
    leaf, product = SMALL._photos(0)
    assert (np.diff(leaf) >= 0).all()
    assert (np.diff(product) >= 0).all()
    leaves_of_product = {(one, other) for one, other in zip(product, leaf, strict=True)}
    assert len(leaves_of_product) == product.max() + 1  # a product has one leaf
    assert len(leaf) == len(product) == 3000


def test_the_law_survives_its_file(tmp_path: Path) -> None:
    law = Law.load()
    law.save(tmp_path / "law.npz")
    again = Law.load(tmp_path / "law.npz")
    np.testing.assert_array_equal(again.centres, law.centres)
    np.testing.assert_array_equal(again.within, law.within)
    np.testing.assert_array_equal(again.views, law.views)
    assert replace(again, centres=law.centres, within=law.within, views=law.views) == law


def test_the_fitted_file_is_small() -> None:
    path = Path(__file__).parent / "bench" / "mixture.npz"
    assert path.stat().st_size < 200_000


def test_larger_shops_have_more_leaves() -> None:
    assert [leaves_of(n) for n in (1, 4000, 1_000_000, 50_000_000)] == [3, 75, 683, 3265]
    assert Mixture.of(4000).size == BLOCK
