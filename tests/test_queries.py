"""The gate's filters: the same items every day, and about as many as they say."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.queries import FILTERS, read_filters


def names(count: int) -> list[str]:
    return [f"item-{number}" for number in range(count)]


def test_a_filter_allows_its_share_of_the_items() -> None:
    masks = read_filters(names(100_000), 10)
    assert list(masks) == ["filter 1 %", "filter 0.2 %"]
    for name, share in FILTERS.items():
        spread = np.sqrt(share / 100_000)
        assert abs(masks[name].mean() - share) < 4 * spread
    assert (masks["filter 1 %"] >= masks["filter 0.2 %"]).all()


@given(st.lists(st.text(max_size=8), unique=True), st.data())
def test_an_item_is_allowed_every_day_or_never(items: list[str], data: st.DataObject) -> None:
    """Whatever else is in the catalogue, and wherever it stands there."""
    many = [*names(500), *items]
    order = data.draw(st.permutations(range(len(items)))) if items else []
    other = [items[place] for place in order]
    alone, among = (read_filters(ids, 1)["filter 1 %"] for ids in ([*names(500), *other], many))
    of_item = dict(zip(many, among.tolist(), strict=False))
    assert [of_item[item] for item in other] == alone[500:].tolist()


def test_a_filter_that_allows_too_few_is_left_out() -> None:
    items = names(3000)
    counts = {name: int(mask.sum()) for name, mask in read_filters(items, 1).items()}
    assert list(read_filters(items, counts["filter 0.2 %"])) == ["filter 1 %", "filter 0.2 %"]
    assert list(read_filters(items, counts["filter 0.2 %"] + 1)) == ["filter 1 %"]
    assert read_filters(items, counts["filter 1 %"] + 1) == {}
    assert read_filters([], 1) == {}
