"""Around every answer: security headers, the count, and the error shape for our own faults."""

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model.errors import BadImage
from model.pixels import REASONS
from serving.limits import SHED_CODES
from serving.metrics import Metrics
from serving.rejected import Rejected
from serving.responses import failure

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
RAW_HEADERS = [(k.lower().encode(), v.encode()) for k, v in SECURITY_HEADERS.items()]
IMAGE_STATUS = {
    "image_too_large": 413,
    "image_too_many_pixels": 413,
    "image_not_an_image": 415,
}  # every other reason is 422
HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}

log = structlog.get_logger()


class Edge:
    """The outermost middleware."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *RAW_HEADERS]
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        except Exception:
            log.exception("request.failed", path=scope["path"])
            if status:
                raise
            answer = failure(500, "internal", "The server failed. Its log says why. Try again.")
            await answer(scope, receive, send_marked)
        finally:
            route = getattr(scope.get("route"), "path_format", "other")
            self._metrics.answered(route, status)


class Faults:
    """How each kind of error is answered."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def rejected(self, _: Request, error: Exception) -> Response:
        if not isinstance(error, Rejected):
            raise error
        if error.code in REASONS:
            self._metrics.rejected_images.labels(error.code).inc()
        if error.code in SHED_CODES:
            self._metrics.shed.labels(error.code).inc()
        return failure(error.status, error.code, str(error), error.headers)

    async def bad_image(self, _: Request, error: Exception) -> Response:
        reason = error.reason if isinstance(error, BadImage) else "image_truncated"
        self._metrics.rejected_images.labels(reason).inc()
        return failure(IMAGE_STATUS.get(reason, 422), reason, str(error))

    async def bad_input(self, _: Request, error: Exception) -> Response:
        return failure(422, "bad_input", str(error))

    async def unknown_item(self, _: Request, error: Exception) -> Response:
        return failure(404, "unknown_item", str(error))

    async def http(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        return failure(
            error.status_code,
            HTTP_CODES.get(error.status_code, "http_error"),
            f"{error.detail}: {request.method} {request.url.path}. See /openapi.json.",
            dict(error.headers or {}),
        )
