"""The category tree: ids that never move, levels of a ragged tree, moves, cycles."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BadInput
from model.taxonomy import Moves, Taxonomy, is_cyclic, normalise, paths_from_parents, split

NAMES = st.sampled_from(["Fashion", "Tops", "Knitwear", "Home", "Lamps"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(" > ".join)
LETTERS = st.sampled_from("abcdefg")
MOVES = st.dictionaries(
    LETTERS, st.lists(LETTERS, max_size=3, unique=True).map(tuple), min_size=1, max_size=4
)
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


# renamed, merged (into a new and into a known leaf), split, retired
SHOP = Taxonomy(("Hats", "Lamps", "Mugs", "Cups", "Rugs", "Vases", "Posters"))
MOVES_OF_A_DAY = {
    "Hats": ("Caps",),
    "Mugs": ("Crockery",),
    "Cups": ("Crockery",),
    "Rugs": ("Lamps",),
    "Vases": ("Tall vases", "Low vases"),
    "Posters": (),
}


def test_moves_of_every_kind() -> None:
    moved = SHOP.rearranged(MOVES_OF_A_DAY)
    assert moved == Taxonomy(
        ("Caps", "Lamps", "Mugs", "Cups", "Rugs", "Vases", "Posters"), MOVES_OF_A_DAY
    )
    assert moved.open.tolist() == [True, True, False, False, False, False, False]
    assert [moved.now(path) for path in ("Caps", "Cups", "Vases", "Posters", "Beds")] == [
        ("Caps",),
        ("Crockery",),
        ("Tall vases", "Low vases"),
        (),
        ("Beds",),
    ]
    assert [moved.present(path) for path in ("Cups", "Vases", "Posters", "Beds")] == [
        "Crockery",
        "Vases",
        None,
        "Beds",
    ]
    names, answers = moved.answers  # of a network that is older than the moves
    assert names == ("Caps", "Lamps", "Crockery")
    assert answers.tolist() == [0, 1, 2, 2, 1, 3, 3]
    assert answers.dtype == np.int32


def test_closed_leaves_have_no_nodes() -> None:
    moved = RAGGED.rearranged({"Home": (), "Fashion > Shoes": ("Home > Shoes",)})
    moved = moved.rearranged({"Home > Lamps > Pendants": ("Home > Shoes",)})
    assert moved.leaves == (
        "Fashion > Tops > Knitwear",
        "Home",
        "Home > Shoes",
        "Fashion > Tops > Shirts",
        "Home > Lamps > Pendants",
    )
    assert moved.depth == 3
    assert moved.nodes(2) == ("Fashion > Tops", "Home > Shoes")
    assert moved.node_of_leaf(2).tolist() == [0, 2, 1, 0, 2]
    assert Taxonomy(("a > b", "c")).rearranged({"a > b": ()}).depth == 1


def test_moves_add_up() -> None:
    first = SHOP.rearranged({"Hats": ("Caps",), "Vases": ("Tall vases", "Low vases")})
    second = first.rearranged({"Caps": ("Headwear",), "Low vases": (), "Tall vases": ("Mugs",)}, [
        "Low vases", "Tall vases",
    ])  # fmt: skip
    assert second.leaves == ("Headwear", *SHOP.leaves[1:])
    assert second.moved == {
        "Hats": ("Headwear",),
        "Caps": ("Headwear",),
        "Vases": ("Mugs",),
        "Low vases": (),
        "Tall vases": ("Mugs",),
    }


def test_moves_of_one_day_may_follow_each_other() -> None:
    moved = SHOP.rearranged({"Mugs": ("Cups",), "Cups": ("Rugs",), "Rugs": ("Carpets",)})
    assert moved.moved == {"Rugs": ("Carpets",), "Cups": ("Carpets",), "Mugs": ("Carpets",)}
    assert moved.leaves == SHOP.leaves  # three places became one leaf: it gets its own
    assert moved.extended(["Carpets"]).open.tolist() == [True, True, *[False] * 3, *[True] * 3]


def test_a_name_can_come_back() -> None:
    renamed = SHOP.rearranged({"Hats": ("Caps",)})
    assert renamed.rearranged({"Caps": ("Hats",)}) == Taxonomy(SHOP.leaves, {"Caps": ("Hats",)})
    merged = SHOP.rearranged({"Mugs": ("Cups",)})
    undone = merged.rearranged({"Mugs": ("Mugs",)})
    assert undone == SHOP
    assert undone.rearranged({"Mugs": ("Mugs",)}) == SHOP
    # Another category takes the name that was free: the place of the first one stays its own.
    reused = renamed.rearranged({"Lamps": ("Hats",)})
    assert reused.leaves[:2] == ("Caps", "Hats")
    assert reused.moved == {"Lamps": ("Hats",)}


def test_a_path_of_the_feed_can_move_before_it_is_a_leaf() -> None:
    assert SHOP.rearranged({"Bowls": ("Mugs",)}, ["Bowls"]).moved == {"Bowls": ("Mugs",)}
    # A first day knows no leaf yet: what is to come under a former name is known to have moved.
    assert Taxonomy(()).rearranged({"Bowls": ("Mugs",)}).moved == {"Bowls": ("Mugs",)}


@given(st.lists(st.tuples(MOVES, st.lists(LETTERS, max_size=4)), max_size=5))
def test_no_place_and_no_name_is_ever_lost(days: list[tuple[Moves, list[str]]]) -> None:
    taxonomy = Taxonomy(tuple("abcde"))
    for moves, sold in days:
        try:
            after = taxonomy.rearranged(moves, sold)
        except BadInput:
            continue
        assert after.rearranged(moves, sold) == after
        names = {*taxonomy.leaves, *taxonomy.moved}
        assert names <= {*after.leaves, *after.moved}
        for before, now in zip(taxonomy.leaves, after.leaves, strict=False):
            assert now == before or after.moved.get(before, (now,)) == (now,)
        assert len(set(after.leaves)) == len(after.leaves)
        ends = {end for nows in after.moved.values() for end in nows}
        assert not ends & after.moved.keys()
        assert Taxonomy.from_json(after.to_json()) == after
        taxonomy = after.extended(now for path in sold for now in after.now(path))


@pytest.mark.parametrize(
    ("before", "moves", "text"),
    [
        ({}, {"Mugs": ("Cups",), "Cups": ("Mugs",)}, "Received: Mugs -> Cups -> Mugs."),
        ({}, {"Mugs": ("Mugs", "Cups")}, "Received: Mugs -> Mugs."),
        ({}, {"Bowls": ("Mugs",)}, "'Bowls' cannot move. .*nothing was ever of: correct it"),
        (
            {"Mugs": ("Home > Mugs",)},
            {"Home": ("House",)},
            "'Home' cannot move. .*write a row for each of them, such as 'Home > Mugs'",
        ),
        (
            {"Mugs": ("Cups",)},
            {"Mugs": ("Rugs",)},
            "'Mugs' moved to 'Cups' on an earlier day. .* Received: 'Mugs' to 'Rugs'",
        ),
        (
            {"Mugs": ()},
            {"Mugs": ("Cups", "Rugs")},
            "'Mugs' moved to nothing on an earlier day. .* Received: 'Mugs' to 'Cups', 'Rugs'",
        ),
    ],
)  # fmt: skip
def test_moves_that_cannot_be_meant(before: Moves, moves: Moves, text: str) -> None:
    with pytest.raises(BadInput, match=text):
        SHOP.rearranged(before).rearranged(moves)


def test_a_taxonomy_is_json() -> None:
    assert Taxonomy.from_json('{"leaves": ["a", "b"]}') == Taxonomy(("a", "b"))
    moved = SHOP.rearranged(MOVES_OF_A_DAY)
    assert Taxonomy.from_json(moved.to_json().encode()) == moved
    shuffled = Taxonomy(moved.leaves, dict(reversed(moved.moved.items())))
    assert shuffled.to_json() == moved.to_json()
