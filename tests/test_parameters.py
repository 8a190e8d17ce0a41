"""Query parameters: what is read is what was meant, and anything else is refused by name."""

import math
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from model.pixels import Box
from model.taxonomy import normalise
from serving import limits
from serving.filters import Filter
from serving.parameters import check_names, read_box, read_number, read_wanted
from serving.rejected import Rejected
from serving.selection import Wanted

LONGEST = 99_999  # pixels of a box, five digits


def request(*pairs: tuple[str, Any]) -> Request:
    query = urlencode(pairs).encode()
    return Request({"type": "http", "query_string": query, "headers": [], "path": "/"})


def refused(message: str, code: str, *pairs: tuple[str, Any]) -> None:
    with pytest.raises(Rejected) as caught:
        read_wanted(request(*pairs))
    assert (caught.value.status, caught.value.code) == (422, code)
    assert str(caught.value) == message


printable = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
paths = printable.map(normalise).filter(bool)
pairs = st.tuples(printable.filter(lambda name: ":" not in name), printable)
amounts = st.none() | st.floats(0, 1e12)
filters = st.builds(
    Filter,
    categories=st.lists(paths, max_size=4, unique=True).map(tuple),
    brands=st.lists(printable, max_size=4, unique=True).map(tuple),
    min_price=amounts,
    max_price=amounts,
    in_stock=st.none() | st.booleans(),
    attributes=st.lists(pairs, max_size=4, unique=True).map(tuple),
)
wishes = st.builds(
    Wanted,
    k=st.integers(1, limits.MAX_K),
    filter=filters,
    per_product=st.integers(0, limits.MAX_K),
    collapse=st.booleans(),
    diversity=st.floats(0, 1).map(abs),
    min_score=st.floats(-1, 1),
)


def written(wanted: Wanted) -> list[tuple[str, Any]]:
    """The parameters that mean it."""
    kept = wanted.filter
    found: list[tuple[str, Any]] = [("category", path) for path in kept.categories]
    found += [("brand", name) for name in kept.brands]
    found += [("attribute", ":".join(pair)) for pair in kept.attributes]
    found += [("min_price", kept.min_price), ("max_price", kept.max_price)]
    found += [("in_stock", kept.in_stock), ("collapse", wanted.collapse), ("k", wanted.k)]
    found += [("per_product", wanted.per_product), ("diversity", wanted.diversity)]
    found += [("min_score", wanted.min_score)]
    return [
        (name, str(value).lower() if isinstance(value, bool) else value)
        for name, value in found
        if value is not None
    ]


@given(wishes)
def test_what_is_written_is_read(wanted: Wanted) -> None:
    assert read_wanted(request(*written(wanted))) == wanted


def test_nothing_is_the_default() -> None:
    assert read_wanted(request()) == Wanted() == read_wanted(request(("k", limits.DEFAULT_K)))


def test_categories_are_trimmed_and_values_kept_once() -> None:
    found = read_wanted(
        request(("category", " Home>Rugs "), ("brand", "a"), ("brand", "b"), ("brand", "a"))
    )
    assert found.filter == Filter(("Home > Rugs",), brands=("a", "b"))


def test_an_attribute_is_cut_at_its_first_colon() -> None:
    found = read_wanted(request(("attribute", "size:10:20")))
    assert found.filter.attributes == (("size", "10:20"),)


NUMBER = "a whole number from 1 to 200"
SHARE = "a number, 0 to 1"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        *[("k", text, NUMBER) for text in ("0", "201", "-1", "1.0", "", " 5", "٣", "9" * 5000)],
        *[("per_product", text, "a whole number from 0 to 200") for text in ("-1", "201", "x")],
        *[("diversity", text, SHARE) for text in ("-0.1", "1.1", "nan", "inf", "", "1_0", "٠")],
        *[("min_score", text, "a number, -1 to 1") for text in ("-1.1", "2", "0x1", " 1", "+-1")],
        *[("min_price", text, "a number, at least 0") for text in ("-1", "inf", "1e999", "nan")],
        *[("max_price", text, "a number, at least 0") for text in ("1_000", "free", "1,5")],
        *[("in_stock", text, "`true` or `false`") for text in ("True", "1", "", "yes")],
        ("collapse", "maybe", "`true` or `false`"),
        *[("attribute", t, "`name:value`, such as `colour:red`") for t in ("colour", ":red", "a:")],
        *[("category", text, "a path as `Top > Middle > Leaf`") for text in (" ", ">", " > > ")],
        *[(name, "", "1 to 1000 characters") for name in ("category", "brand", "attribute")],
        ("brand", "x" * 1001, "1 to 1000 characters"),
    ],
)
def test_what_is_out_of_range_is_refused(name: str, value: str, expected: str) -> None:
    message = f"Invalid `{name}`. Expected {expected}. Received: {value[:40]!r}."
    refused(message, f"invalid_{name}", (name, value))


def test_too_many_values_are_refused() -> None:
    message = "Invalid `brand`. Expected at most 32 of them. Received: '33 values'."
    refused(message, "invalid_brand", *[("brand", f"b{number}") for number in range(33)])
    assert len(read_wanted(request(*[("brand", f"b{n}") for n in range(32)])).filter.brands) == 32


def test_a_misspelt_filter_is_refused() -> None:
    with pytest.raises(Rejected) as caught:
        check_names(request(("colour", "red")), "k", "box")
    assert (caught.value.code, str(caught.value)) == (
        "unknown_parameter",
        "Unknown parameter. Expected one of `k`, `box`. Received: 'colour'.",
    )
    with pytest.raises(Rejected, match=r"Expected one of none\. Received: 'k'\."):
        check_names(request(("k", 1)))
    check_names(request(("k", 1), ("k", 2)), "k", "box")


@given(st.tuples(*[st.integers(0, LONGEST)] * 2, *[st.integers(1, LONGEST)] * 2))
def test_a_box_is_read(box: tuple[int, int, int, int]) -> None:
    assert read_box(request(("box", ",".join(map(str, box))))) == Box(*box)


def test_no_box_and_the_whole() -> None:
    assert (read_box(request()), read_box(request(("box", "whole")))) == (None, "whole")


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,0,4", "1,2,3,0", "1,2,3,4,5", "-1,2,3,4", "1,2,3,100001", "٣,2,3,4"]
)
def test_what_is_no_box_is_refused(text: str) -> None:
    with pytest.raises(Rejected) as caught:
        read_box(request(("box", text)))
    assert str(caught.value) == (
        "Invalid `box`. Expected `x,y,width,height` in pixels of the upright photo, width and "
        f"height at least 1, or `whole`. Received: {text!r}."
    )


@given(st.text(max_size=8), st.sampled_from(["k", "min_price", "diversity", "min_score"]))
def test_any_text_is_a_finite_number_or_refused(text: str, name: str) -> None:
    scope = {"type": "http", "query_string": b"", "headers": [], "path": "/"}
    asked = Request(scope | {"query_string": urlencode({name: text}, errors="replace").encode()})
    try:
        wanted = read_wanted(asked)
    except Rejected as error:
        found = error.code
    else:
        numbers = (wanted.k, wanted.diversity, wanted.min_score, wanted.filter.min_price or 0)
        found = f"invalid_{name}" if all(map(math.isfinite, numbers)) else "not finite"
    assert found == f"invalid_{name}"


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("007", 7), ("100", 100)])
def test_a_number_within_its_bounds(text: str, number: int) -> None:
    assert read_number(request(("limit", text)), "limit", 5, 100) == number
    assert read_number(request(), "limit", 5, 100) == 5
