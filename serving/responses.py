"""What every answer is made of: its bundle's name, and one shape for every error."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from serving.champion import Loaded


class Json(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def named(loaded: Loaded) -> dict[str, Any]:
    """Which bundle answered."""
    return {
        "digest": loaded.digest,
        "version": loaded.entry.version,
        "ds": loaded.entry.ds.isoformat(),
        "index_age_seconds": round(loaded.age_seconds()),
    }


def stamp(loaded: Loaded) -> dict[str, str]:
    return {
        "X-Lookalike-Bundle": loaded.digest,
        "X-Lookalike-Index-Age": str(round(loaded.age_seconds())),
    }


def failure(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The one shape of every error."""
    return Json({"error": {"code": code, "message": message}}, status, headers)
