"""What of the nearest is shown, against the definition of each rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BadInput
from model.reducer import unit
from serving.filters import Filter
from serving.selection import SAME, Wanted, choose

D = 3


@st.composite
def candidates(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores best first, products and vectors; some vectors are nearly the same."""
    n, seed = draw(st.integers(0, 12)), draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    vectors = unit(rng.normal(size=(max(n, 1), D)).astype(np.float32))[:n]
    if n:
        vectors = unit(vectors[rng.integers(0, n, n)] + 0.05 * rng.normal(size=(n, D)))
    scores = -np.sort(-rng.uniform(-1, 1, n)).astype(np.float32)
    return scores, rng.integers(0, 4, n).astype(np.int32), vectors.astype(np.float32)


wishes = st.builds(
    Wanted,
    k=st.integers(1, 8),
    per_product=st.integers(0, 3),
    collapse=st.booleans(),
    diversity=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
)


def defined(
    scores: np.ndarray, products: np.ndarray, vectors: np.ndarray, wanted: Wanted, taken: int
) -> list[int]:
    """One by one, each by all that were chosen before it."""
    chosen = list(range(taken))
    while len(chosen) < max(wanted.k, taken):
        best: tuple[float, int] | None = None
        for place in range(len(scores)):
            likeness = max((float(vectors[place] @ vectors[c]) for c in chosen), default=-1.0)
            of_product = sum(products[c] == products[place] for c in chosen)
            if (
                place in chosen
                or (wanted.per_product and of_product >= wanted.per_product)
                or (wanted.collapse and likeness >= SAME)
            ):
                continue
            gain = float(scores[place])
            if chosen and wanted.diversity:
                gain = (1 - wanted.diversity) * gain - wanted.diversity * likeness
            if best is None or gain > best[0] + 1e-6:
                best = gain, place
        if best is None:
            return chosen
        chosen.append(best[1])
    return chosen


@given(candidates(), wishes, st.integers(0, 3))
def test_it_is_the_definition(
    given: tuple[np.ndarray, np.ndarray, np.ndarray], wanted: Wanted, taken: int
) -> None:
    taken = min(taken, len(given[0]), wanted.k)
    assert choose(*given, wanted, taken=taken) == defined(*given, wanted, taken)


@given(candidates(), wishes)
def test_what_is_promised_of_every_choice(
    given: tuple[np.ndarray, np.ndarray, np.ndarray], wanted: Wanted
) -> None:
    scores, products, vectors = given
    chosen = choose(*given, wanted)
    assert len(set(chosen)) == len(chosen) <= wanted.k
    assert chosen[:1] == ([0] if len(scores) else [])  # the nearest is always there
    if wanted.per_product:
        assert max(np.bincount(products[chosen]), default=0) <= wanted.per_product
    if wanted.collapse:
        alike = vectors[chosen] @ vectors[chosen].T
        np.fill_diagonal(alike, -1)
        assert (alike < SAME).all()
    if not wanted.diversity:
        assert chosen == sorted(chosen)
    if wanted.is_plain:
        assert chosen == list(range(min(wanted.k, len(scores))))


def test_views_of_a_product_and_twins_are_left_out() -> None:
    vectors = unit(np.array([[1, 0, 0], [1, 0.01, 0], [0, 1, 0], [0, 0, 1]], np.float32))
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    products = np.array([0, 1, 2, 2], np.int32)

    def chosen(taken: int = 0, **wanted: float) -> list[int]:
        return choose(scores, products, vectors, Wanted(4, **wanted), taken)  # type: ignore[arg-type]

    assert chosen() == [0, 1, 2, 3]
    assert chosen(collapse=True) == [0, 2, 3]
    assert chosen(per_product=1) == [0, 1, 2]
    assert chosen(per_product=1, collapse=True) == [0, 2]
    assert chosen(diversity=0.9) == [0, 2, 3, 1]
    assert chosen(taken=2, per_product=1, collapse=True) == [0, 1, 2]


def test_a_wish_is_plain_where_the_nearest_are_the_answer() -> None:
    assert Wanted(5, Filter(("Home",)), min_score=0.3).is_plain
    assert not Wanted(per_product=1).is_plain
    assert not Wanted(collapse=True).is_plain
    assert not Wanted(diversity=0.1).is_plain


@pytest.mark.parametrize("k", [0, -1])
def test_k_is_at_least_one(k: int) -> None:
    with pytest.raises(BadInput, match=rf"^Invalid `k`\. Expected at least 1\. Received: {k}\.$"):
        Wanted(k)
