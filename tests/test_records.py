"""Records of differences: what they lose, and how candidates are scored by them."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_index import vectors

from serving import records as records_module
from serving.records import centre_products, difference_products, in_parts, make_records


def test_a_record_errs_across_its_vector_and_not_along_it() -> None:
    base, centres = vectors(4000, 32), vectors(50, 32, seed=9)
    members = (base @ centres.T).argmax(axis=1).astype(np.int32)
    records = make_records(base, centres, members)
    scale = records[:, 32:36].view(np.float32)
    again = centres[members] + records[:, :32].view(np.int8) * scale
    np.testing.assert_allclose(np.einsum("nd,nd->n", again, base), 1, atol=1e-5)
    assert np.abs(again - base).max() < 0.01
    np.testing.assert_array_equal(records[:, 36:].view(np.int32)[:, 0], members)


def test_a_vector_that_is_its_own_centre_has_no_difference() -> None:
    centres = vectors(3, 8)
    members = np.array([2, 0, 1], np.int32)
    records = make_records(centres[members], centres, members)
    assert not records[:, :8].any()
    queries = vectors(2, 8, seed=1)
    products, lists = difference_products(np.stack([records, records]), queries)
    np.testing.assert_array_equal(products, np.zeros((2, 3)))
    np.testing.assert_array_equal(lists, np.stack([members, members]))


@settings(max_examples=50)
@given(st.integers(1, 4), st.integers(1, 20), st.integers(0, 1000))
def test_the_product_of_a_record_is_that_of_its_difference(q: int, c: int, seed: int) -> None:
    base, centres = vectors(50, 16, seed=seed), vectors(5, 16, seed=seed + 1)
    queries = vectors(q, 16, seed=seed + 2)
    members = (base @ centres.T).argmax(axis=1).astype(np.int32)
    chosen = np.random.default_rng(seed).integers(0, 50, (q, c))
    records = make_records(base, centres, members)[chosen]
    products, lists = difference_products(records, queries)
    np.testing.assert_array_equal(lists, members[chosen])
    differences = (base - centres[members])[chosen]
    np.testing.assert_allclose(products, np.einsum("qcd,qd->qc", differences, queries), atol=0.02)


@pytest.mark.parametrize("n", [0, 1, 10, 25])
def test_parts_are_the_whole(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    monkeypatch.setattr(records_module, "PART", 10)
    threads = faiss.omp_get_max_threads()
    base, centres = vectors(30, 8)[:n], vectors(4, 8, seed=1)
    members = np.arange(n, dtype=np.int32) % 4
    parts = list(in_parts(base, centres, members))
    assert [len(part) for part in parts] == [10] * (n // 10) + ([n % 10] if n % 10 else [])
    if n:
        whole = make_records(base, centres, members)
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert faiss.omp_get_max_threads() == threads


@settings(max_examples=50)
@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 1000))
def test_products_are_looked_up_by_list(q: int, probes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    probed = np.stack([rng.permutation(20)[:probes] for _ in range(q)])
    near = rng.random((q, probes), np.float32)
    places = rng.integers(0, probes, (q, 12))
    lists = np.take_along_axis(probed, places, axis=1).astype(np.int32)
    expected = np.take_along_axis(near, places, axis=1)
    np.testing.assert_array_equal(centre_products(lists, near, probed), expected)
