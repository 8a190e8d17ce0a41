"""A filter, and what is within a category."""

from hypothesis import given
from hypothesis import strategies as st

from model.taxonomy import SEPARATOR, split
from serving.filters import EVERY, Filter, within

names = st.sampled_from(["Home", "Homes", "Rugs", "Home Rugs", "A"])
paths = st.lists(names, min_size=1, max_size=4).map(SEPARATOR.join)


@given(paths, st.lists(paths, max_size=4))
def test_within_is_the_same_or_below(path: str, categories: list[str]) -> None:
    parts = split(path)
    above = {SEPARATOR.join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    assert within(categories)(path) is bool(above & set(categories))


def test_a_name_that_begins_alike_is_another() -> None:
    holds = within(["Home > Rugs"])
    assert [holds(path) for path in ("Home > Rugs", "Home > Rugs > Wool", "Home > Rugs 2")] == [
        True,
        True,
        False,
    ]
    assert not holds("Home")


def test_a_filter_is_true_where_it_leaves_something_out() -> None:
    assert not EVERY
    assert not Filter()
    assert Filter(in_stock=False)
    assert Filter(min_price=0.0)
    assert Filter(("Home",)) == Filter(categories=("Home",))
    assert len({Filter(("Home",)), Filter(("Home",)), EVERY, Filter()}) == 2
