"""HTTP: a photo, an item or a vector in, similar items out. Plain Starlette, inside BentoML."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from model.errors import BadImage, BadInput
from serving import limits, use_cases
from serving.access import Access
from serving.bodies import read_json, read_photo
from serving.candidate import Headers
from serving.catalogue_routes import CatalogueApi
from serving.champion import Champion
from serving.desk import Desk, Question, Reply
from serving.edge import Edge, Faults
from serving.engine import NEAREST, Ask, Engine, Found, Look
from serving.item import Item
from serving.item_photo import PHOTO_SECONDS, read_item_photo
from serving.items import UnknownItem
from serving.loaded import Loaded
from serving.metrics import METRICS_TYPE
from serving.openapi import document
from serving.parameters import check_names, read_box, read_category, read_number, read_wanted
from serving.query_photos import Query, QueryPhotos
from serving.questions import read_ids, read_vector
from serving.rejected import Rejected
from serving.responses import Json, named, stamp
from serving.rollout_routes import RolloutApi
from serving.selection import Wanted
from serving.session_routes import SessionApi
from serving.shortcut import Shortcut
from serving.turns import Turns

PAGE = Path(__file__).parent / "page"
MAX_FACETS = 200  # brands that are named
NO_STORE = {"Cache-Control": "no-store"}


def create_app(champion: Champion) -> Starlette:
    """The whole site over the bundle that `champion` keeps. The caller starts and stops it, and
    calls `app.state.close` at the end of the app's own threads.
    """
    api = Api(champion)
    catalogue = CatalogueApi(champion, api.desk)
    rollout = RolloutApi(champion)
    session = SessionApi(champion.settings.serve.keys, champion.metrics)
    faults = Faults(champion.metrics)
    register_url_convertor("item", ItemId())
    item = "/v1/items/{item_id:item}"
    similar = Route(f"{item}/similar", api.similar)
    app = Starlette(
        routes=[
            similar,
            Route(f"{item}/substitutes", api.substitutes),
            Route(f"{item}/lookalikes", api.lookalikes),
            Route(f"{item}/variants", api.variants),
            Route(f"{item}/image", api.image),
            Route("/v1/search", api.search, methods=["POST"]),
            Route("/v1/search/vector", api.search_vector, methods=["POST"]),
            Route("/v1/search/batch", api.search_batch, methods=["POST"]),
            Route("/v1/listing", api.listing, methods=["POST"]),
            Route("/v1/items", api.sample),
            Route("/v1/facets", api.facets),
            Route("/v1/bundle", api.bundle),
            Route("/v1/rollout", rollout.get),
            Route(item, api.item),
            Route(item, catalogue.put, methods=["PUT"]),
            Route(item, catalogue.delete, methods=["DELETE"]),
            Route("/v1/session", session.get),
            Route("/v1/session", session.post, methods=["POST"]),
            Route("/v1/session", session.delete, methods=["DELETE"]),
            Route("/livez", api.livez),
            Route("/readyz", api.readyz),
            Route("/metrics", api.metrics),
            Route("/openapi.json", api.openapi),
            Route("/", api.page),
            Mount("/static", PageFiles(directory=PAGE)),
        ],
        middleware=[
            Middleware(Edge, metrics=champion.metrics),
            Middleware(Access, serve=champion.settings.serve, faults=faults),
            Middleware(Shortcut, route=similar, similar=api.similar_to, faults=faults),
        ],
        exception_handlers={
            Rejected: faults.rejected,
            BadImage: faults.bad_image,
            BadInput: faults.bad_input,
            UnknownItem: faults.unknown_item,
            HTTPException: faults.http,
        },
    )
    app.router.redirect_slashes = False
    app.state.close = api.desk.close
    return app


class PageFiles(StaticFiles):
    """Asked for again each time: after a release no old module meets a new one."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


class ItemId(Convertor[str]):
    """An id of the feed, whatever is in it: `/`, line breaks, any script."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class Api:
    """The endpoints. Each takes the current bundle once, so that an answer is all of one bundle.

    What shoppers ask, by photo or by item, a candidate may answer while it is in canary. Vectors,
    batches and listings are the champion's: programs ask those, of one bundle after another.
    """

    def __init__(self, champion: Champion) -> None:
        self._champion = champion
        self._turns = Turns(champion)
        self._metrics = champion.metrics
        serve = champion.settings.serve
        self.desk = Desk(serve.timeout_seconds, champion.metrics)
        self._photos_for = "public" if serve.keys.search_is_open else "private"  # caches
        self._kept = QueryPhotos(champion.settings.root, serve.sample_queries)

    async def search(self, request: Request) -> Response:
        started = time.perf_counter()
        wanted, box = read_wanted(request, "box"), read_box(request)
        self._turns.loaded()  # before a photo is read for nothing
        with self.desk.place():
            photo = await read_photo(request)

            async def by(loaded: Loaded) -> tuple[Response, Found]:
                reply, look, odds = await self.desk.photo(loaded.engine, photo, wanted, box)
                self._keep(photo, loaded, look, reply)
                body = {"searched": look.searched.facts, "category": loaded.engine.category(odds)}
                return self._answered(loaded, body, reply, started), reply.found

            headers = request.scope["headers"]
            return await self._turns.answer(
                headers, by, lambda engine: engine.see(photo, wanted, box).found
            )

    async def search_vector(self, request: Request) -> Response:
        started = time.perf_counter()
        wanted = read_wanted(request)
        loaded = self._turns.loaded()
        ask = Ask(read_vector(await read_json(request), loaded.engine), wanted)
        reply = await self.desk.find(Question(loaded.engine, lambda _: ask))
        return self._answered(loaded, {}, reply, started)

    async def search_batch(self, request: Request) -> Response:
        """What looks like each of some items. Ids that are not there have null."""
        started = time.perf_counter()
        wanted = read_wanted(request)
        loaded = self._turns.loaded()
        ids = read_ids(await read_json(request))
        asked = [self.desk.find(about(loaded, name, wanted)) for name in ids]
        replies = await asyncio.gather(*asked, return_exceptions=True)
        for reply in replies:
            if isinstance(reply, BaseException) and not isinstance(reply, UnknownItem):
                raise reply
        answers = [
            {
                "item_id": name,
                "hits": orjson.Fragment(reply.hits) if isinstance(reply, Reply) else None,
            }
            for name, reply in zip(ids, replies, strict=True)
        ]
        return self._stamped(loaded, {"answers": answers}, {}, started)

    async def listing(self, request: Request) -> Response:
        """What a photo of a new listing is, and what is sold beside it."""
        started = time.perf_counter()
        check_names(request, "k", "box", "category")
        box, k = read_box(request), read_number(request, "k", limits.DEFAULT_K, limits.MAX_K)
        loaded = self._turns.loaded()
        wanted = use_cases.neighbours(read_category(request), k)
        with self.desk.place():
            photo = await read_photo(request)
            reply, look, odds = await self.desk.photo(loaded.engine, photo, wanted, box)
        self._keep(photo, loaded, look, reply)
        guess = loaded.engine.classify(odds, loaded.engine.hits(reply.found))
        return self._answered(loaded, {"searched": look.searched.facts, **guess}, reply, started)

    async def similar(self, request: Request) -> Response:
        item_id, headers = request.path_params["item_id"], request.scope["headers"]
        return await self.similar_to(item_id, headers, read_wanted(request))

    async def similar_to(
        self,
        item_id: str,
        headers: Headers,
        wanted: Wanted | Callable[[Item], Wanted] = NEAREST,
    ) -> Response:
        """`wanted` may depend on what is known of the item."""
        started = time.perf_counter()

        async def by(loaded: Loaded) -> tuple[Response, Found]:
            reply = await self.desk.find(about(loaded, item_id, wanted))
            return self._answered(loaded, {}, reply, started), reply.found

        def again(engine: Engine) -> Found:
            return engine.find([ask_about(engine, item_id, wanted)])[0]

        return await self._turns.answer(headers, by, again)

    async def substitutes(self, request: Request) -> Response:
        return await self._use_case(request, use_cases.substitutes)

    async def lookalikes(self, request: Request) -> Response:
        return await self._use_case(request, use_cases.lookalikes)

    async def variants(self, request: Request) -> Response:
        check_names(request)
        item_id, headers = request.path_params["item_id"], request.scope["headers"]
        return await self.similar_to(item_id, headers, use_cases.variants())

    async def item(self, request: Request) -> Response:
        check_names(request)
        loaded = self._turns.knowing(request.path_params["item_id"])
        items = loaded.engine.items
        row = items.row(request.path_params["item_id"])
        body = items.shown(row) | {"attributes": items.item(row).attributes}
        return Json({"bundle": named(loaded), "item": body}, headers=stamp(loaded) | NO_STORE)

    async def sample(self, request: Request) -> Response:
        """Some items to begin with: any, but the same ones as long as the bundle is the same."""
        check_names(request, "limit")
        limit = read_number(request, "limit", limits.DEFAULT_SAMPLE, limits.MAX_SAMPLE)
        loaded = self._turns.loaded()
        return Json(
            {"bundle": named(loaded), "items": loaded.engine.items.sample(limit, loaded.digest)}
        )

    async def facets(self, request: Request) -> Response:
        """What can be filtered by, and how many items each value has."""
        check_names(request)
        loaded = self._turns.loaded()
        found = await run_in_threadpool(loaded.engine.items.facets, MAX_FACETS)
        return Json({"bundle": named(loaded), **found}, headers=stamp(loaded))

    async def image(self, request: Request) -> Response:
        check_names(request)
        items = self._turns.knowing(request.path_params["item_id"]).engine.items
        location = items.image(items.row(request.path_params["item_id"]))
        data, media_type = await run_in_threadpool(
            read_item_photo, self._champion.settings.root, location
        )
        cached = {"Cache-Control": f"{self._photos_for}, max-age={PHOTO_SECONDS}"}
        return Response(data, media_type=media_type, headers=cached)

    async def bundle(self, _: Request) -> Response:
        pending = self._champion.pending
        loaded = self._turns.loaded()
        manifest, entry = loaded.engine.bundle.manifest, loaded.entry
        facts = {name: manifest.get(name) for name in ("space_id", "pixel_spec", "index")}
        facts |= {"items": len(loaded.engine), "verdict": manifest.get("verdict")}
        facts |= {"created": loaded.created.isoformat(), "pending": pending and asdict(pending)}
        facts["photos_kept"] = self._kept.share
        facts["promoted"] = {"at": entry.at.isoformat(), "by": entry.who, "why": entry.why}
        return Json(named(loaded) | facts, headers=stamp(loaded))

    async def livez(self, _: Request) -> Response:
        return Json({"status": "alive"})

    async def readyz(self, _: Request) -> Response:
        self._turns.loaded()
        return Json({"status": "ready"})

    async def metrics(self, _: Request) -> Response:
        return Response(self._metrics.text(), media_type=METRICS_TYPE)

    async def openapi(self, _: Request) -> Response:
        return Json(document())

    async def page(self, _: Request) -> Response:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    def _keep(self, photo: bytes, loaded: Loaded, look: Look, reply: Reply) -> None:
        def query() -> Query:
            ids = [hit["item_id"] for hit in loaded.engine.hits(reply.found)]
            return Query(photo, loaded.digest, look.searched.box, ids)

        self._kept.offer(query)

    async def _use_case(self, request: Request, case: Callable[[Item, int], Wanted]) -> Response:
        check_names(request, "k")
        k = read_number(request, "k", limits.DEFAULT_K, limits.MAX_K)
        item_id, headers = request.path_params["item_id"], request.scope["headers"]
        return await self.similar_to(item_id, headers, lambda item: case(item, k))

    def _answered(
        self, loaded: Loaded, body: dict[str, Any], reply: Reply, started: float
    ) -> Response:
        if reply.item is not None:
            body["item"] = orjson.Fragment(reply.item)
        if not reply.found:
            self._metrics.empty.inc()
        body["hits"] = orjson.Fragment(reply.hits)
        return self._stamped(loaded, body, reply.seconds, started)

    def _stamped(
        self, loaded: Loaded, body: dict[str, Any], seconds: Mapping[str, float], started: float
    ) -> Response:
        seconds = {**seconds, "total": time.perf_counter() - started}
        self._metrics.took(seconds)
        timing = ", ".join([f"{stage};dur={1000 * spent:.2f}" for stage, spent in seconds.items()])
        headers = stamp(loaded) | {"Server-Timing": timing} | NO_STORE
        return Json({"bundle": named(loaded), **body}, headers=headers)


def about(loaded: Loaded, item_id: str, wanted: Wanted | Callable[[Item], Wanted]) -> Question:
    """What looks like an item; `wanted` may depend on what is known of it."""

    return Question(loaded.engine, lambda engine: ask_about(engine, item_id, wanted), item_id)


def ask_about(engine: Engine, item_id: str, wanted: Wanted | Callable[[Item], Wanted]) -> Ask:
    """The question for what looks like an item. Raises UnknownItem."""
    if isinstance(wanted, Wanted):
        return engine.ask(item_id, wanted)
    return engine.ask(item_id, wanted(engine.items.item(engine.items.row(item_id))))
