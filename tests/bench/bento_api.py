"""The peer of `make bench NAME=serve`: the same search as BentoML's own documentation has a route.

bentoml serve tests.bench.bento_api:Similar
"""

from typing import Any

import bentoml

from serving.champion import Champion
from serving.engine import Engine
from serving.settings import load_serve_settings


@bentoml.service(
    workers=1, threads=4, metrics={"enabled": False}, logging={"access": {"enabled": False}}
)
class Similar:
    """One engine, asked by a method."""

    def __init__(self) -> None:
        champion = Champion(load_serve_settings())
        champion.poll()
        if champion.current is None:
            raise RuntimeError(f"No bundle: {champion.pending}")
        self.engine: Engine = champion.current.engine

    @bentoml.api  # type: ignore[untyped-decorator]
    def similar(self, item_id: str, k: int = 12) -> dict[str, Any]:
        return {"hits": self.engine.similar(item_id, k).hits}
