"""The category tree: ids that never move, levels of a ragged tree, cycles."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BadInput
from model.taxonomy import Taxonomy, is_cyclic, normalise, paths_from_parents, split

NAMES = st.sampled_from(["Fashion", "Tops", "Knitwear", "Home", "Lamps"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(" > ".join)
RAGGED = Taxonomy(
    (
        "Fashion > Tops > Knitwear",
        "Home",
        "Fashion > Shoes",
        "Fashion > Tops > Shirts",
        "Home > Lamps > Pendants",
    )
)


def test_new_leaves_come_after_the_known_ones_in_order_of_name() -> None:
    first = Taxonomy(()).extended(["B > y", "A > z"])
    assert first == Taxonomy(("A > z", "B > y"))
    assert first.extended(["C", "A > a", "B > y"]) == Taxonomy(("A > z", "B > y", "A > a", "C"))
    assert first.extended([]) == first
    assert first.ids == {"A > z": 0, "B > y": 1}


@given(st.lists(st.lists(PATHS, max_size=8), max_size=6))
def test_an_id_never_moves(days: list[list[str]]) -> None:
    taxonomy, known = Taxonomy(()), {}
    for sold in days:
        taxonomy = taxonomy.extended(sold)
        assert known.items() <= taxonomy.ids.items()
        known = dict(taxonomy.ids)
    assert set(taxonomy.leaves) == {path for sold in days for path in sold}
    assert sorted(taxonomy.ids.values()) == list(range(len(taxonomy.leaves)))


@given(st.lists(PATHS, max_size=8), st.lists(PATHS, max_size=8), st.randoms())
def test_neither_order_nor_frequency_within_a_day_matters(
    known: list[str], sold: list[str], chance: Random
) -> None:
    before = Taxonomy(()).extended(known)
    shuffled = sold * 2
    chance.shuffle(shuffled)
    assert before.extended(shuffled) == before.extended(sold)


def test_levels_of_a_ragged_tree() -> None:
    assert RAGGED.depth == 3
    assert [RAGGED.nodes(level) for level in (1, 2, 3)] == [
        ("Fashion", "Home"),
        ("Fashion > Tops", "Home", "Fashion > Shoes", "Home > Lamps"),
        RAGGED.leaves,
    ]
    found = [RAGGED.node_of_leaf(level) for level in (1, 2, 3)]
    assert [array.tolist() for array in found] == [
        [0, 1, 0, 0, 1],
        [0, 1, 2, 0, 3],
        [0, 1, 2, 3, 4],
    ]
    assert {array.dtype for array in found} == {np.dtype(np.int32)}


def test_an_empty_taxonomy_has_no_levels() -> None:
    empty = Taxonomy(())
    assert (empty.depth, empty.nodes(1), empty.ids) == (0, (), {})
    assert empty.node_of_leaf(1).shape == (0,)
    assert empty.confusion(np.empty(0, np.int32), np.empty(0, np.intp)).shape == (0, 0)


@given(st.lists(PATHS, min_size=1, max_size=8, unique=True), st.integers(1, 4))
def test_a_leaf_lies_below_its_node(leaves: list[str], level: int) -> None:
    taxonomy = Taxonomy(tuple(leaves))
    nodes = taxonomy.nodes(level)
    above = [nodes[node] for node in taxonomy.node_of_leaf(level)]
    assert above == [" > ".join(leaf.split(" > ")[:level]) for leaf in leaves]
    assert len(set(nodes)) == len(nodes)


def test_confusion_counts_true_rows_and_predicted_columns() -> None:
    taxonomy = Taxonomy(("a", "b", "c"))
    true = np.array([0, 0, 0, 1, 2], np.int32)
    counts = taxonomy.confusion(true, np.array([0, 1, 1, 1, 0]))
    np.testing.assert_array_equal(counts, np.array([[1, 2, 0], [0, 1, 0], [1, 0, 0]], np.int64))
    assert counts.dtype == np.int64


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("Fashion > Tops > Knitwear", "Fashion > Tops > Knitwear"),
        ("Fashion>Tops", "Fashion > Tops"),
        ("  Fashion  >>  Tops > ", "Fashion > Tops"),
        ("Fashion", "Fashion"),
        ("Hats\t>\nCaps & co.", "Hats > Caps & co."),
        (" > > ", ""),
        ("", ""),
    ],
)
def test_separators_are_trimmed(text: str, path: str) -> None:
    assert normalise(text) == path
    assert normalise(path) == path
    assert split(path) == path.split(" > ")


@given(st.text(alphabet="ab >\t", max_size=30))
def test_a_normalised_path_stays_as_it_is(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert all(name == name.strip() and name for name in split(once)) or once == ""


@pytest.mark.parametrize(
    ("path", "cyclic"),
    [
        ("Fashion > Tops", False),
        ("Fashion > Tops > Fashion", True),
        ("Fashion > FASHION", True),
        ("Straße > Hats > STRASSE", True),
        ("Fashion", False),
    ],
)
def test_a_name_is_not_its_own_ancestor(path: str, cyclic: bool) -> None:
    assert is_cyclic(path) is cyclic


def test_paths_of_a_parent_table() -> None:
    parents = {"Home": None, "Lamps": "Home", "Pendants": "Lamps", "Hats": "Fashion"}
    assert paths_from_parents(parents) == {
        "Home",
        "Home > Lamps",
        "Home > Lamps > Pendants",
        "Fashion > Hats",  # a parent without a row of its own is a top
    }
    assert paths_from_parents({}) == frozenset()


@pytest.mark.parametrize(
    ("parents", "chain"),
    [
        ({"a": "a"}, "a -> a"),
        ({"a": "b", "b": "a"}, "a -> b -> a"),
        ({"top": None, "a": "b", "b": "c", "c": "b"}, "a -> b -> c -> b"),
    ],
)
def test_a_cycle_of_parents_is_named(parents: dict[str, str | None], chain: str) -> None:
    with pytest.raises(BadInput) as caught:
        paths_from_parents(parents)
    assert str(caught.value) == (
        f"The taxonomy has a cycle. Expected a tree. Received: {chain}. "
        f"Remove one of these parents."
    )
