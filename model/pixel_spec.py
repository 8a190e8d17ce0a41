"""A pixel spec: one line of text, for example `decode|orient|resize(64)|pad`.

It is part of the fingerprint of every artefact made from pixels; `model/pixels.py` follows it.
"""

import re
from dataclasses import dataclass

from model.errors import BadInput


@dataclass(frozen=True)
class PixelSpec:
    """A parsed spec: the side of the square in pixels."""

    side: int

    PATTERN = re.compile(r"decode\|orient\|resize\((\d+)\)\|pad")

    @classmethod
    def parse(cls, text: str) -> "PixelSpec":
        match = cls.PATTERN.fullmatch(text)
        if match is None or not 8 <= int(match[1]) <= 1024:
            raise BadInput(
                f"Invalid pixel spec. Expected `decode|orient|resize(SIDE)|pad` with SIDE from 8 "
                f"to 1024. Received: {text!r}."
            )
        return cls(int(match[1]))

    def __str__(self) -> str:
        return f"decode|orient|resize({self.side})|pad"
