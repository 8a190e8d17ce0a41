"""What every answer is made of: its bundle's name, and one shape for every error."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from serving.loaded import Loaded


class Json(Response):
    """Starlette's own way through the headers takes as long as half a search."""

    def __init__(
        self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.body, self.status_code, self.background = orjson.dumps(content), status, None
        self.raw_headers = [
            (b"content-length", b"%d" % len(self.body)),
            (b"content-type", b"application/json"),
        ]
        for name, value in (headers or {}).items():
            self.raw_headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))


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
