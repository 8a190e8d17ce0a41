"""The OpenAPI 3.1 description of the routes."""

from typing import Any

from model.pixels import MAX_IMAGE_BYTES, REASONS
from serving.limits import DEFAULT_K, DEFAULT_SAMPLE, MAX_K, MAX_SAMPLE

Schema = dict[str, Any]

ITEM_ID = {
    "name": "item_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "The feed's id, percent-encoded.",
}
BOX = {
    "name": "box",
    "in": "query",
    "schema": {"type": "string", "pattern": r"^(\d+,\d+,\d+,\d+|whole)$"},
    "description": "Where the product is: x,y,width,height in pixels of the upright photo, or "
    "`whole` for all of it. Without it the product is found, if the bundle can.",
    "example": "40,60,300,420",
}
STAMP_HEADERS = {
    "X-Lookalike-Bundle": {
        "description": "Digest of the bundle that answered.",
        "schema": {"type": "string"},
    },
    "X-Lookalike-Index-Age": {
        "description": "Seconds since that bundle was made.",
        "schema": {"type": "integer"},
    },
}
ERRORS = {
    400: "The body ended early or is not the form that its content type says.",
    404: "No such item or photo.",
    408: "The upload took too long.",
    413: "Too many bytes or pixels.",
    415: "Not a JPEG, PNG, WebP or GIF.",
    422: f"A parameter out of range, or a photo that cannot be used: {', '.join(REASONS)}.",
    503: "No bundle serves (`no_bundle`), too many requests (`overloaded`) or too slow "
    "(`deadline`). Retry-After says when to try again.",
}


def document() -> Schema:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lookalike",
            "version": "1",
            "description": "Visually similar products by photo or by item. Every error is "
            '`{"error": {"code", "message"}}`. Query photos are never stored.',
        },
        "paths": _search_paths() | _item_paths() | _operation_paths(),
        "components": {"schemas": _schemas()},
    }


def _search_paths() -> Schema:
    photo = {"type": "string", "format": "binary", "maxLength": MAX_IMAGE_BYTES}
    form = {"type": "object", "required": ["image"], "properties": {"image": photo}}
    content = {"image/*": {"schema": photo}, "multipart/form-data": {"schema": {**form}}}
    return {
        "/v1/search": {
            "post": {
                "operationId": "search",
                "summary": "Items that look like a photo",
                "parameters": [_number("k", DEFAULT_K, MAX_K), BOX],
                "requestBody": {"required": True, "content": content},
                "responses": {
                    "200": _json("SearchAnswer", stamped=True),
                    **_errors(400, 408, 413, 415, 422, 503),
                },
            }
        }
    }


def _item_paths() -> Schema:
    photo = {"description": "The photo.", "content": {"image/*": {}}}
    return {
        "/v1/items": _get(
            "sample",
            "Some items to begin with; the same ones as long as the bundle is the same",
            [_number("limit", DEFAULT_SAMPLE, MAX_SAMPLE)],
            {"200": _json("Sample"), **_errors(422, 503)},
        ),
        "/v1/items/{item_id}/similar": _get(
            "similar",
            "Items that look like an item, without itself",
            [ITEM_ID, _number("k", DEFAULT_K, MAX_K)],
            {"200": _json("SimilarAnswer", stamped=True), **_errors(404, 422, 503)},
        ),
        "/v1/items/{item_id}/image": _get(
            "image", "The item's photo", [ITEM_ID], {"200": photo, **_errors(404, 503)}
        ),
    }


def _operation_paths() -> Schema:
    status = {"200": _json("Status")}
    metrics = {"200": {"description": "Prometheus text.", "content": {"text/plain": {}}}}
    bundle = {"200": _json("Bundle", stamped=True), **_errors(503)}
    return {
        "/v1/bundle": _get("bundle", "What serves, since when and by whom", [], bundle),
        "/livez": _get("livez", "The process answers", [], status),
        "/readyz": _get("readyz", "A bundle serves", [], {**status, **_errors(503)}),
        "/metrics": _get("metrics", "Metrics for Prometheus", [], metrics),
    }


def _schemas() -> Schema:
    item = {
        "item_id": _typed("string"),
        "product_id": _typed("string"),
        "title": _typed("string", "null"),
        "brand": _typed("string", "null"),
        "category": {"type": "string", "description": "Path, such as `Fashion > Hats > Beanies`."},
        "price": _typed("number", "null"),
        "currency": _typed("string", "null"),
        "in_stock": _typed("boolean", "null"),
    }
    score = {"type": "number", "description": "Cosine similarity; 1 is the same look."}
    guess = {"path": _typed("string"), "confidence": _typed("number")}
    hits, answered = _list("Hit"), {"bundle": _ref("BundleName")}
    searched = {
        "by": {"enum": ["given", "found", "whole"], "description": "Who chose the box."},
        "box": _numbers(4, "x, y, width, height in pixels of the upright photo"),
        "photo": _numbers(2, "Width and height of the upright photo, in pixels."),
    }
    return {
        "Error": _record(error=_record(code=_typed("string"), message=_typed("string"))),
        "Status": _record(status=_typed("string")),
        "Item": _record(**item),
        "Hit": _record(**item, score=score),
        "BundleName": _record(**_name()),
        "SearchAnswer": _record(
            **answered,
            searched=_record(**searched),
            category={"type": "array", "items": _record(**guess)},
            hits=hits,
        ),
        "SimilarAnswer": _record(**answered, item=_ref("Item"), hits=hits),
        "Sample": _record(**answered, items=_list("Item")),
        "Bundle": _bundle(),
    }


def _name() -> Schema:
    return {
        "digest": _typed("string"),
        "version": _typed("string"),
        "ds": {"type": "string", "format": "date"},
        "index_age_seconds": _typed("integer"),
    }


def _bundle() -> Schema:
    time = {"type": "string", "format": "date-time"}
    refused = _record(bundle=_typed("string", "null"), error=_typed("string"))
    return _record(
        **_name(),
        space_id=_typed("string", "null"),
        pixel_spec=_typed("string"),
        index=_typed("object"),
        items=_typed("integer"),
        verdict={"type": ["object", "null"], "description": "What the gate measured."},
        created=time,
        promoted=_record(at=time, by=_typed("string"), why=_typed("string")),
        pending={
            "oneOf": [refused, {"type": "null"}],
            "description": "A decision that could not be followed; the bundle above serves on.",
        },
    )


def _get(name: str, summary: str, parameters: list[Schema], responses: Schema) -> Schema:
    facts = {"operationId": name, "summary": summary, "responses": responses}
    return {"get": facts | ({"parameters": parameters} if parameters else {})}


def _number(name: str, default: int, most: int) -> Schema:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return {"name": name, "in": "query", "schema": schema}


def _json(schema: str, *, stamped: bool = False) -> Schema:
    content = {"application/json": {"schema": _ref(schema)}}
    answer = {"description": schema, "content": content}
    return answer | ({"headers": STAMP_HEADERS} if stamped else {})


def _errors(*statuses: int) -> Schema:
    content = {"application/json": {"schema": _ref("Error")}}
    return {str(status): {"description": ERRORS[status], "content": content} for status in statuses}


def _record(**fields: Schema) -> Schema:
    return {"type": "object", "required": list(fields), "properties": fields}


def _list(schema: str) -> Schema:
    return {"type": "array", "items": _ref(schema)}


def _numbers(count: int, description: str) -> Schema:
    length = {"minItems": count, "maxItems": count}
    items = {"type": "integer", "minimum": 0}
    return {"type": "array", "items": items, **length, "description": description}


def _typed(*types: str) -> Schema:
    return {"type": types[0] if len(types) == 1 else list(types)}


def _ref(schema: str) -> Schema:
    return {"$ref": f"#/components/schemas/{schema}"}
