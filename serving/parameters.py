"""The query parameters of a search: how many, what may be found, which of it is shown."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Literal

from starlette.datastructures import QueryParams
from starlette.requests import Request

from model.pixels import Box
from model.taxonomy import normalise
from serving import limits
from serving.filters import Filter
from serving.rejected import Rejected
from serving.selection import Wanted

SIDE = r"[1-9][0-9]{0,4}"  # pixels; far longer than any photo
BOX = rf"([0-9]{{1,5}}),([0-9]{{1,5}}),({SIDE}),({SIDE})"
REAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
TRUTH: Mapping[str, bool] = {"true": True, "false": False}
FILTERS = ("category", "brand", "min_price", "max_price", "in_stock", "attribute")
SELECTION = ("per_product", "collapse", "diversity", "min_score")


def check_names(request: Request, *known: str) -> None:
    """Raises Rejected for a parameter that is none: a misspelt filter would allow everything."""
    for name in request.query_params:
        if name not in known:
            expected = ", ".join(f"`{each}`" for each in known) or "none"
            raise Rejected(
                422,
                "unknown_parameter",
                f"Unknown parameter. Expected one of {expected}. Received: {name[:40]!r}.",
            )


def read_wanted(request: Request, *others: str) -> Wanted:
    """All parameters of a search. `others`: parameters that the caller reads itself."""
    check_names(request, "k", *FILTERS, *SELECTION, *others)
    given = request.query_params
    if not given:
        return Wanted()
    return Wanted(
        k=read_number(request, "k", limits.DEFAULT_K, limits.MAX_K),
        filter=read_filter(given),
        per_product=_whole(given, "per_product", limits.MAX_K),
        collapse=bool(_truth(given, "collapse")),
        diversity=_real(given, "diversity", 0, 1) or 0.0,
        min_score=_or(_real(given, "min_score", -1, 1), -1.0),
    )


def read_filter(given: QueryParams) -> Filter:
    return Filter(
        categories=tuple(_paths(_texts(given, "category"))),
        brands=_texts(given, "brand"),
        min_price=_real(given, "min_price", 0, math.inf),
        max_price=_real(given, "max_price", 0, math.inf),
        in_stock=_truth(given, "in_stock"),
        attributes=tuple(_attributes(_texts(given, "attribute"))),
    )


def read_category(request: Request) -> str | None:
    """The one category that a seller may name. Raises Rejected."""
    found = read_filter(request.query_params).categories
    if len(found) > 1:
        raise _invalid("category", "one of them", f"{len(found)} values")
    return found[0] if found else None


def read_number(request: Request, name: str, default: int, most: int) -> int:
    """A query parameter from 1 to `most`. Raises Rejected for anything else."""
    text = request.query_params.get(name, str(default))
    if re.fullmatch(r"\d{1,6}", text, re.ASCII) is None or not 1 <= int(text) <= most:
        raise _invalid(name, f"a whole number from 1 to {most}", text)
    return int(text)


def read_box(request: Request) -> Box | Literal["whole"] | None:
    """Raises Rejected unless `box` is absent, `whole`, or four numbers with an area."""
    text = request.query_params.get("box")
    if text is None:
        return None
    if text == "whole":
        return "whole"
    match = re.fullmatch(BOX, text)
    if match is None:
        raise _invalid(
            "box",
            "`x,y,width,height` in pixels of the upright photo, width and height at least 1, "
            "or `whole`",
            text,
        )
    return Box(*map(int, match.groups()))


def _texts(given: QueryParams, name: str) -> tuple[str, ...]:
    values = given.getlist(name)
    if len(values) > limits.MAX_FILTER_VALUES:
        raise _invalid(name, f"at most {limits.MAX_FILTER_VALUES} of them", f"{len(values)} values")
    for value in values:
        if not 1 <= len(value) <= limits.MAX_FILTER_TEXT:
            raise _invalid(name, f"1 to {limits.MAX_FILTER_TEXT} characters", value)
    return tuple(dict.fromkeys(values))


def _paths(texts: Iterable[str]) -> Iterable[str]:
    for text in texts:
        path = normalise(text)
        if not path:
            raise _invalid("category", "a path as `Top > Middle > Leaf`", text)
        yield path


def _attributes(texts: Iterable[str]) -> Iterable[tuple[str, str]]:
    for text in texts:
        name, colon, value = text.partition(":")
        if not (name and colon and value):
            raise _invalid("attribute", "`name:value`, such as `colour:red`", text)
        yield name, value


def _truth(given: QueryParams, name: str) -> bool | None:
    text = given.get(name)
    if text is None:
        return None
    if text not in TRUTH:
        raise _invalid(name, "`true` or `false`", text)
    return TRUTH[text]


def _real(given: QueryParams, name: str, least: float, most: float) -> float | None:
    text = given.get(name)
    if text is None:
        return None
    value = float(text) if REAL.fullmatch(text) else math.nan
    if not least <= value <= most or math.isinf(value):
        span = f"{least:g} to {most:g}" if math.isfinite(most) else f"at least {least:g}"
        raise _invalid(name, f"a number, {span}", text)
    return value


def _whole(given: QueryParams, name: str, most: int) -> int:
    text = given.get(name, "0")
    if re.fullmatch(r"\d{1,6}", text, re.ASCII) is None or int(text) > most:
        raise _invalid(name, f"a whole number from 0 to {most}", text)
    return int(text)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _invalid(name: str, expected: str, received: str) -> Rejected:
    return Rejected(
        422,
        f"invalid_{name}",
        f"Invalid `{name}`. Expected {expected}. Received: {received[:40]!r}.",
    )
