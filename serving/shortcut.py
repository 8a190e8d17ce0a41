"""Past the router: `GET /v1/items/{item_id}/similar` as shops ask it most, without a parameter.

Finding the route, and what surrounds each request on the way there, takes as long as the search.
"""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.candidate import Headers
from serving.edge import Faults
from serving.items import UnknownItem
from serving.rejected import Rejected

BEFORE, AFTER = "/v1/items/", "/similar"


class Shortcut:
    """Inside `Access`. Answers as `route` would, by `similar` of the item's id and the headers."""

    def __init__(
        self,
        app: ASGIApp,
        route: Route,
        similar: Callable[[str, Headers], Awaitable[Response]],
        faults: Faults,
    ) -> None:
        self._app, self._route, self._similar, self._faults = app, route, similar, faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        item_id = _item_id(scope)
        if item_id is None:
            return await self._app(scope, receive, send)
        scope["route"] = self._route
        try:
            answer = await self._similar(item_id, scope["headers"])
        except UnknownItem as error:
            answer = await self._faults.unknown_item(Request(scope), error)
        except Rejected as error:
            answer = await self._faults.rejected(Request(scope), error)
        await answer(scope, receive, send)


def _item_id(scope: Scope) -> str | None:
    if scope["type"] != "http" or scope["method"] != "GET":
        return None
    if scope["query_string"] or scope.get("root_path"):
        return None
    path: str = scope["path"]
    if not (path.startswith(BEFORE) and path.endswith(AFTER)):
        return None
    return path[len(BEFORE) : -len(AFTER)] or None
