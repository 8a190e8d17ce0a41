"""HTTP: a photo or an item id in, similar items out. Plain Starlette; BentoML is only around it."""

import io
import random
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model.errors import BadImage, BadInput
from model.pixels import REASONS
from serving import limits
from serving.champion import Champion, Loaded
from serving.engine import Answer
from serving.items import UnknownItem
from serving.limits import Pool, Rejected
from serving.metrics import METRICS_TYPE, Metrics
from serving.openapi import document
from serving.photo_file import read_photo

PAGE = Path(__file__).parent / "page"
SAMPLE_FROM = 5  # times as many items are drawn as shown
PHOTO_SECONDS = 3600  # a browser keeps an item's photo so long
MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
IMAGE_STATUS = {
    "image_too_large": 413,
    "image_too_many_pixels": 413,
    "image_not_an_image": 415,
}  # every other reason is 422
HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

log = structlog.get_logger()


def create_app(champion: Champion) -> Starlette:
    """The whole site over the bundle that `champion` keeps. The caller starts and stops it."""
    api = Api(champion)
    register_url_convertor("item", ItemId())
    app = Starlette(
        routes=[
            Route("/v1/search", api.search, methods=["POST"]),
            Route("/v1/items", api.sample),
            Route("/v1/items/{item_id:item}/similar", api.similar),
            Route("/v1/items/{item_id:item}/image", api.image),
            Route("/v1/bundle", api.bundle),
            Route("/livez", api.livez),
            Route("/readyz", api.readyz),
            Route("/metrics", api.metrics),
            Route("/openapi.json", api.openapi),
            Route("/", api.page),
            Mount("/static", StaticFiles(directory=PAGE)),
        ],
        middleware=[Middleware(Edge, metrics=champion.metrics)],
        exception_handlers={
            Rejected: api.on_rejected,
            BadImage: api.on_bad_image,
            BadInput: on_bad_input,
            UnknownItem: on_unknown_item,
            HTTPException: on_http_exception,
        },
    )
    app.router.redirect_slashes = False
    return app


class ItemId(Convertor[str]):
    """An id of the feed, whatever is in it: `/`, line breaks, any script."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class Api:
    """The endpoints. Each takes the current bundle once, so that an answer is all of one bundle."""

    def __init__(self, champion: Champion) -> None:
        self._champion = champion
        self._seconds = champion.settings.serve.timeout_seconds
        self._metrics = champion.metrics
        self._pool = Pool()

    async def search(self, request: Request) -> Response:
        started = time.perf_counter()
        k = limits.read_number(request, "k", limits.DEFAULT_K, limits.MAX_K)
        box = limits.read_box(request)
        loaded = self._loaded()
        with self._pool.place():
            photo = await limits.read_photo(request)
            answer = await self._pool.run(
                lambda: loaded.engine.search(photo, k, box), self._seconds
            )
        searched = answer.searched and asdict(answer.searched)
        body = {"searched": searched, "category": answer.category, "hits": answer.hits}
        return self._answered(loaded, body, answer, started)

    async def similar(self, request: Request) -> Response:
        started = time.perf_counter()
        k = limits.read_number(request, "k", limits.DEFAULT_K, limits.MAX_K)
        loaded = self._loaded()
        item_id = request.path_params["item_id"]
        item = shown(loaded, [loaded.engine.items.row(item_id)])[0]
        with self._pool.place():
            answer = await self._pool.run(lambda: loaded.engine.similar(item_id, k), self._seconds)
        return self._answered(loaded, {"item": item, "hits": answer.hits}, answer, started)

    async def sample(self, request: Request) -> Response:
        """Some items to begin with: any, but the same ones as long as the bundle is the same."""
        limit = limits.read_number(request, "limit", limits.DEFAULT_SAMPLE, limits.MAX_SAMPLE)
        loaded = self._loaded()
        return JSONResponse({"bundle": named(loaded), "items": various(loaded, limit)})

    async def image(self, request: Request) -> Response:
        loaded = self._loaded()
        location = loaded.engine.items.image(
            loaded.engine.items.row(request.path_params["item_id"])
        )
        data, media_type = await run_in_threadpool(
            read_item_photo, self._champion.settings.root, location
        )
        cached = {"Cache-Control": f"public, max-age={PHOTO_SECONDS}"}
        return Response(data, media_type=media_type, headers=cached)

    async def bundle(self, _: Request) -> Response:
        pending = self._champion.pending
        loaded = self._loaded()
        manifest, entry = loaded.engine.bundle.manifest, loaded.entry
        facts = {name: manifest.get(name) for name in ("space_id", "pixel_spec", "index")}
        facts |= {"items": len(loaded.engine), "verdict": manifest.get("verdict")}
        facts |= {"created": loaded.created.isoformat(), "pending": pending and asdict(pending)}
        facts["promoted"] = {"at": entry.at.isoformat(), "by": entry.who, "why": entry.why}
        return JSONResponse(named(loaded) | facts, headers=stamp(loaded))

    async def livez(self, _: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(self, _: Request) -> Response:
        self._loaded()
        return JSONResponse({"status": "ready"})

    async def metrics(self, _: Request) -> Response:
        return Response(self._metrics.text(), media_type=METRICS_TYPE)

    async def openapi(self, _: Request) -> Response:
        return JSONResponse(document())

    async def page(self, _: Request) -> Response:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    async def on_rejected(self, _: Request, error: Exception) -> Response:
        if not isinstance(error, Rejected):
            raise error
        if error.code in REASONS:
            self._metrics.rejected_images.labels(error.code).inc()
        if error.code in limits.SHED_CODES:
            self._metrics.shed.labels(error.code).inc()
        return failure(error.status, error.code, str(error), error.headers)

    async def on_bad_image(self, _: Request, error: Exception) -> Response:
        reason = error.reason if isinstance(error, BadImage) else "image_truncated"
        self._metrics.rejected_images.labels(reason).inc()
        return failure(IMAGE_STATUS.get(reason, 422), reason, str(error))

    def _loaded(self) -> Loaded:
        loaded, pending = self._champion.current, self._champion.pending
        if loaded is None:
            raise Rejected(
                503,
                "no_bundle",
                f"No bundle serves. {pending.error if pending else 'None is loaded yet.'} "
                f"Promote one; it serves within seconds.",
                {"Retry-After": str(limits.RETRY_AFTER_SECONDS)},
            )
        return loaded

    def _answered(
        self, loaded: Loaded, body: dict[str, Any], answer: Answer, started: float
    ) -> Response:
        seconds = answer.seconds | {"total": time.perf_counter() - started}
        for stage, spent in seconds.items():
            self._metrics.stages.labels(stage).observe(spent)
        timing = ", ".join(f"{stage};dur={spent * 1000:.2f}" for stage, spent in seconds.items())
        headers = stamp(loaded) | {"Server-Timing": timing, "Cache-Control": "no-store"}
        return JSONResponse({"bundle": named(loaded), **body}, headers=headers)


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


def shown(loaded: Loaded, rows: list[int]) -> list[dict[str, Any]]:
    return loaded.engine.items.shown(rows)


def various(loaded: Loaded, limit: int) -> list[dict[str, Any]]:
    """Items from as many leaves as a draw has; the same draw for the same bundle."""
    count = len(loaded.engine)
    draw = random.Random(loaded.digest).sample(range(count), min(count, SAMPLE_FROM * limit))
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, int, dict[str, Any]]] = []  # how many of its leaf came before it
    for place, item in enumerate(shown(loaded, draw)):
        ranked.append((seen[item["category"]], place, item))
        seen[item["category"]] += 1
    return [item for _, _, item in sorted(ranked)[:limit]]


def read_item_photo(root: Path, location: str) -> tuple[bytes, str]:
    """Bytes and media type; only of a photo. Raises Rejected when there is none any more."""
    try:
        data = read_photo(location, root)
        with Image.open(io.BytesIO(data), formats=tuple(MEDIA_TYPES)) as image:
            kind = image.format or ""
    except Exception as error:  # every file system and every decoder has its own
        log.warning("photo.gone", location=location, error=str(error))
        raise Rejected(404, "image_gone", "The item's photo is not there any more.") from error
    return data, MEDIA_TYPES.get(kind, "image/jpeg")  # an MPO is a JPEG with previews


def failure(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> Response:
    """The one shape of every error."""
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


async def on_bad_input(_: Request, error: Exception) -> Response:
    return failure(422, "bad_input", str(error))


async def on_unknown_item(_: Request, error: Exception) -> Response:
    return failure(404, "unknown_item", str(error))


async def on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return failure(
        error.status_code,
        HTTP_CODES.get(error.status_code, "http_error"),
        f"{error.detail}: {request.method} {request.url.path}. See /openapi.json.",
        dict(error.headers or {}),
    )


class Edge:
    """Around every answer: security headers, the count, and the error shape for our own faults."""

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
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
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
            self._metrics.requests.labels(route, str(status)).inc()
