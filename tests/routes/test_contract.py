"""What a client may rely on: the bundle's name, health, the page, and the description of it all."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
from starlette.routing import Mount, Route
from tiny_bundle import (
    AS_OPERATOR,
    DIMENSIONS,
    SPEC,
    add_bundle,
    decide,
    draw_photo,
    make_root,
    serve_settings,
    site,
)

from routes.answers import FACTS, unaged
from serving.champion import Champion
from serving.ledger import champion
from serving.openapi import document
from serving.routes import PAGE, create_app


def test_the_bundle_says_what_serves(url: str, root: Path) -> None:
    entry = champion(root)
    assert entry is not None
    answer = httpx.get(f"{url}/v1/bundle")
    assert unaged({"bundle": answer.json()})["bundle"] == {
        "digest": entry.bundle,
        "version": "1",
        "ds": "2026-11-20",
        "space_id": "tiny-16",
        "pixel_spec": SPEC,
        "items": 60,
        "index": {
            "engine": "scann",
            "form": "brute,float32",
            "n": 48,
            "dimensions": 16,
            "effort": {},
        },
        "verdict": {"passed": True, "recall_at_10": 0.991, "p99_ms": 3.2},
        "created": "2026-11-20T06:00:00+00:00",
        "promoted": {
            "at": entry.at.isoformat(),
            "by": "ada@shop.example",
            "why": "gate passed",
        },
        "pending": None,
        "photos_kept": 0.0,
    }
    assert answer.headers["X-Lookalike-Bundle"] == entry.bundle


def test_health(url: str) -> None:
    assert httpx.get(f"{url}/livez").json() == {"status": "alive"}
    assert httpx.get(f"{url}/readyz").json() == {"status": "ready"}


def test_the_page_and_its_files(url: str) -> None:
    styles = ("palette", "page", "query", "filters", "results", "key")
    modules = (
        "ask",
        "box",
        "dom",
        "filters",
        "key",
        "notice",
        "page",
        "photo",
        "place",
        "query",
        "results",
    )
    kinds = {
        "/": "text/html; charset=utf-8",
        **{f"/static/{name}.css": "text/css; charset=utf-8" for name in styles},
        **{f"/static/{name}.js": "text/javascript; charset=utf-8" for name in modules},
        "/static/icon.svg": "image/svg+xml",
    }
    answers = {path: httpx.get(url + path) for path in kinds}
    assert {path: answer.headers["Content-Type"] for path, answer in answers.items()} == kinds
    served = {path.removeprefix("/static/") for path in kinds if path != "/"}
    assert {path.name for path in PAGE.iterdir()} == served | {"index.html"}
    assert "<style" not in answers["/"].text
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=|https?://", answers["/"].text)


def test_openapi_names_every_route(url: str, root: Path) -> None:
    assert httpx.get(f"{url}/openapi.json").json() == json.loads(json.dumps(document()))
    app = create_app(Champion(serve_settings(root)))
    unlisted = {"/", "/openapi.json"}
    routes = {
        (route.path_format, method.lower())
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    documented = {
        (path, method) for path, methods in document()["paths"].items() for method in methods
    }
    assert documented == {route for route in routes if route[0] not in unlisted}
    assert [route.path for route in app.routes if isinstance(route, Mount)] == ["/static"]


def test_openapi_names_every_field(tmp_path: Path) -> None:
    schemas = document()["components"]["schemas"]
    root = make_root(tmp_path)  # of its own: an item changes
    decide(root, add_bundle(root, items=61), "2", "shadow", share=1)
    with site(root) as url:
        item = f"{url}/v1/items/item-008"
        answers = {
            "SearchAnswer": httpx.post(f"{url}/v1/search", content=draw_photo(1)).json(),
            "SimilarAnswer": httpx.get(f"{item}/similar").json(),
            "VectorAnswer": httpx.post(f"{url}/v1/search/vector", json=a_vector(url)).json(),
            "BatchAnswer": httpx.post(f"{url}/v1/search/batch", json={"item_ids": ["x"]}).json(),
            "ListingAnswer": httpx.post(f"{url}/v1/listing", content=draw_photo(1)).json(),
            "ItemAnswer": httpx.get(item).json(),
            "Changed": httpx.put(item, json=FACTS, headers=AS_OPERATOR).json(),
            "Facets": httpx.get(f"{url}/v1/facets").json(),
            "Sample": httpx.get(f"{url}/v1/items").json(),
            "Bundle": httpx.get(f"{url}/v1/bundle").json(),
            "Rollout": httpx.get(f"{url}/v1/rollout", headers=AS_OPERATOR).json(),
            "Status": httpx.get(f"{url}/livez").json(),
            "Error": httpx.get(f"{url}/nowhere").json(),
        }
    answers["ItemFacts"] = FACTS | {"item_id": "item-008", "attributes": {"colour": "red"}}
    answers |= {"BundleName": answers["Sample"]["bundle"], "Item": answers["SimilarAnswer"]["item"]}
    answers["Hit"] = answers["SearchAnswer"]["hits"][0]
    answers["Tally"] = answers["Rollout"]["figures"]["champion"]
    fields = {name: sorted(answer) for name, answer in answers.items()}
    assert fields == {name: sorted(schema["properties"]) for name, schema in schemas.items()}


def a_vector(url: str) -> dict[str, Any]:
    space = httpx.get(f"{url}/v1/bundle").json()["space_id"]
    return {"vector": [1.0] + [0.0] * (DIMENSIONS - 1), "space_id": space}
