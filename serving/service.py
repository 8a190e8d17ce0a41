"""The BentoML service: `bentoml serve serving.service:Lookalike --host 127.0.0.1 --port 3000`.

BentoML starts, supervises and stops the process; every HTTP answer is ours.
"""

import bentoml
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import HTTP_PROTOCOLS

from serving.champion import Champion
from serving.memory import keep_large_apart
from serving.routes import create_app
from serving.settings import load_serve_settings


@bentoml.service(
    workers=1,  # requests share one loaded bundle and its threads
    metrics={"enabled": False},  # see serving/metrics.py
    logging={"access": {"enabled": False}},  # it prints item ids as they come, line breaks too
    http={"host": "127.0.0.1"},
)
class Lookalike:
    """The site over the bundle in Production."""

    def __init__(self) -> None:
        keep_large_apart()
        self.champion = Champion(load_serve_settings())
        self.app = create_app(self.champion)
        self.champion.start()

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def check() -> None:
        """Before any worker: a wrong environment ends the command instead of a restart loop."""
        load_serve_settings()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        self.app.state.close()
        self.champion.stop()


class OurRoutes:
    """Answers every request, before anything of BentoML's sees it.

    A mounted app would come after BentoML's own /livez, /readyz, /healthz, /metrics and
    /schema.json, and behind an error shape that is not ours. A middleware comes after a span, a
    task and a timer for each request, which take longer than the answer: so when the process
    starts, this one steps in front of the others.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._bentoml = app
        self._ours: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if self._ours is None:
                self._ours = bentoml.get_current_service().app
            await self._ours(scope, receive, send)
            return
        if scope["type"] == "lifespan":
            others = scope["app"].middleware_stack

            async def in_front(scope: Scope, receive: Receive, send: Send) -> None:
                await (self if scope["type"] == "http" else others)(scope, receive, send)

            scope["app"].middleware_stack = in_front
        await self._bentoml(scope, receive, send)


# BentoML starts uvicorn with the protocol that `auto` names, and has no setting for another.
HTTP_PROTOCOLS["auto"] = "serving.connection:Connection"
Lookalike.add_asgi_middleware(OurRoutes)  # type: ignore[attr-defined]
