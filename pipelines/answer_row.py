"""Items as a row of pictures: what a query got, or should have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Shown:
    """An item's photo, by its key, and what is said of it."""

    key: str
    title: str
    category: str
    cosine: float  # to the query
    marked: bool = False


def answer_row(name: str, row: Sequence[Shown], mark: str, thumbnails: Mapping[str, str]) -> str:
    """The items under a heading. What is marked is of the class `mark`, and is said to be so.

    `thumbnails`: a data URI for each key; none: an empty tile.
    """
    tiles = "".join(
        f'<li{f" class={mark}" if shown.marked else ""} title="{_caption(shown)}">'
        f"{tile(thumbnails.get(shown.key), _caption(shown, mark))}"
        f"<span>{shown.cosine:.3f}</span></li>"
        for shown in row
    )
    return f"<h3>{name}</h3>\n<ol>{tiles}</ol>"


def tile(picture: str | None, caption: str) -> str:
    """`caption`: escaped."""
    if picture is None:
        return f'<span class="tile empty" role="img" aria-label="{caption}"></span>'
    return f'<img class="tile" src="{picture}" alt="{caption}">'


def _caption(shown: Shown, mark: str = "") -> str:
    prefix = f"{mark}: " if mark and shown.marked else ""
    return escape(f"{prefix}{shown.title}, {shown.category}")
