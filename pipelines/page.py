"""A page that is one file: style and pictures are inside it, and there is no script."""

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

HERE = Path(__file__).parent
STYLES = (HERE.parent / "serving" / "page" / "palette.css", HERE / "page.css")
QUALITY = 86  # of JPEG

Pixels = npt.NDArray[np.uint8]


def page(title: str, aside: str, body: str, *, footer: str, styles: Sequence[str]) -> str:
    """The whole document. `title` is text; the rest is HTML. `styles`: files beside this one."""
    css = "".join(path.read_text() for path in (*STYLES, *map(HERE.joinpath, styles)))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{css}</style>
</head>
<body>
<header>
<span class="brand"><svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true">\
<circle cx="12.5" cy="16" r="8.5"/><circle cx="19.5" cy="16" r="8.5"/></svg>Lookalike</span>
{aside}
</header>
<main>
{body}</main>
<footer>
{footer}</footer>
</body>
</html>
"""


def picture(pixels: Pixels, kind: Literal["JPEG", "PNG"] = "JPEG", most: int | None = None) -> str:
    """A data URI; `most`: pixels of its longer side. A PNG keeps every pixel as it is."""
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    if most is not None:
        image.thumbnail((most, most))
    image.save(buffer, kind, quality=QUALITY)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(buffer.getvalue()).decode()
