"""The OpenAPI 3.1 description of the routes."""

from serving.openapi_access import SCHEMES, guarded, session_paths
from serving.openapi_bodies import bodies
from serving.openapi_catalogue import catalogue_paths
from serving.openapi_operation import answer, errors, get
from serving.openapi_rollout import rollout_bodies, rollout_paths
from serving.openapi_schema import Schema
from serving.openapi_search import search_paths


def document() -> Schema:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lookalike",
            "version": "1",
            "description": "Visually similar products by photo or by item. Every error is "
            '`{"error": {"code", "message"}}`. Query photos are not stored, but for the share that '
            "`photos_kept` of /v1/bundle says.",
        },
        "paths": guarded(
            search_paths()
            | catalogue_paths()
            | session_paths(errors)
            | rollout_paths()
            | _operation_paths(),
            errors,
        ),
        "components": {
            "schemas": bodies() | rollout_bodies(),
            "securitySchemes": SCHEMES,
        },
    }


def _operation_paths() -> Schema:
    status = {"200": answer("Status")}
    metrics = {"200": {"description": "Prometheus text.", "content": {"text/plain": {}}}}
    bundle = {"200": answer("Bundle", stamped=True), **errors(503)}
    return {
        "/v1/bundle": get("bundle", "What serves, since when and by whom", [], bundle),
        "/livez": get("livez", "The process answers", [], status),
        "/readyz": get("readyz", "A bundle serves", [], {**status, **errors(503)}),
        "/metrics": get("metrics", "Metrics for Prometheus", [], metrics),
    }
