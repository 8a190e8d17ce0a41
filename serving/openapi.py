"""The OpenAPI 3.1 description of the routes."""

from typing import Any

from model.pixels import MAX_IMAGE_BYTES, REASONS
from serving.item import Item
from serving.limits import (
    DEFAULT_K,
    DEFAULT_SAMPLE,
    MAX_BATCH,
    MAX_FILTER_TEXT,
    MAX_FILTER_VALUES,
    MAX_K,
    MAX_SAMPLE,
    QUERY_PHOTO_DAYS,
)
from serving.openapi_access import REFUSALS, SCHEMES, guarded, session_paths
from serving.parameters import BOX as A_BOX

Schema = dict[str, Any]

A_PATH = r"[^\s>\x00-\x1f\x85]"  # a name, at least
NULL: Schema = {"type": "null"}
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
    "schema": {"type": "string", "pattern": rf"^(whole|{A_BOX})$"},
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
    400: "The body ended early or is not the form or JSON that it should be.",
    404: "No such item or photo.",
    408: "The upload took too long.",
    409: "The vector is of another space (`other_space`).",
    413: "Too many bytes or pixels.",
    415: "Not a JPEG, PNG, WebP or GIF.",
    422: f"A parameter out of range, or a photo that cannot be used: {', '.join(REASONS)}.",
    503: "No bundle serves (`no_bundle`), too many requests (`overloaded`) or too slow "
    "(`deadline`). Retry-After says when to try again.",
    **REFUSALS,
}


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
            _search_paths() | _item_paths() | session_paths(_errors) | _operation_paths(), _errors
        ),
        "components": {"schemas": _schemas(), "securitySchemes": SCHEMES},
    }


def _search_paths() -> Schema:
    photo = {"type": "string", "format": "binary", "maxLength": MAX_IMAGE_BYTES}
    form = {"type": "object", "required": ["image"], "properties": {"image": photo}}
    a_photo = {"image/*": {"schema": photo}, "multipart/form-data": {"schema": form}}
    ids = {"type": "array", "items": _typed("string"), "minItems": 1, "maxItems": MAX_BATCH}
    numbers = {"type": "array", "items": _typed("number")}
    vector = {**_record(vector=numbers, space_id=_typed("string")), "additionalProperties": False}
    batch = {**_record(item_ids=ids), "additionalProperties": False}
    category = _text("category", "Where the seller would list it.", pattern=A_PATH)
    return {
        "/v1/search": _post(
            "search",
            "Items that look like a photo",
            [*_wanted(), BOX],
            a_photo,
            {"200": _json("SearchAnswer", stamped=True), **_errors(400, 408, 413, 415, 422, 503)},
        ),
        "/v1/search/vector": _post(
            "searchVector",
            "Items near a vector of the same space",
            _wanted(),
            {"application/json": {"schema": vector}},
            {"200": _json("VectorAnswer", stamped=True), **_errors(400, 408, 409, 413, 422, 503)},
        ),
        "/v1/search/batch": _post(
            "searchBatch",
            "Items that look like each of some items",
            _wanted(),
            {"application/json": {"schema": batch}},
            {"200": _json("BatchAnswer", stamped=True), **_errors(400, 408, 413, 422, 503)},
        ),
        "/v1/listing": _post(
            "listing",
            "For a new listing: its category level by level, its brand, and what is sold beside it",
            [_number("k", DEFAULT_K, MAX_K), BOX, category],
            a_photo,
            {"200": _json("ListingAnswer", stamped=True), **_errors(400, 408, 413, 415, 422, 503)},
        ),
    }


def _item_paths() -> Schema:
    photo = {"description": "The photo.", "content": {"image/*": {}}}
    item, k = "/v1/items/{item_id}", _number("k", DEFAULT_K, MAX_K)
    similar = {"200": _json("SimilarAnswer", stamped=True), **_errors(404, 422, 503)}
    return {
        "/v1/items": _get(
            "sample",
            "Some items to begin with; the same ones as long as the bundle is the same",
            [_number("limit", DEFAULT_SAMPLE, MAX_SAMPLE)],
            {"200": _json("Sample"), **_errors(422, 503)},
        ),
        "/v1/facets": _get(
            "facets",
            "What can be filtered by, and how many items each value has",
            [],
            {"200": _json("Facets", stamped=True), **_errors(422, 503)},
        ),
        item: _get(
            "item",
            "What is known of an item",
            [ITEM_ID],
            {"200": _json("ItemAnswer", stamped=True), **_errors(404, 422, 503)},
        )
        | _changes(),
        f"{item}/similar": _get(
            "similar",
            "Items that look like an item, without itself",
            [ITEM_ID, *_wanted()],
            similar,
        ),
        f"{item}/substitutes": _get(
            "substitutes",
            "For a sold-out item: in stock, of its category, about its price",
            [ITEM_ID, k],
            similar,
        ),
        f"{item}/lookalikes": _get(
            "lookalikes",
            "For a category page: of the item's branch, one view of a product, not all alike",
            [ITEM_ID, k],
            similar,
        ),
        f"{item}/variants": _get(
            "variants", "All that shows nearly the same thing", [ITEM_ID], similar
        ),
        f"{item}/image": _get(
            "image", "The item's photo", [ITEM_ID], {"200": photo, **_errors(404, 422, 503)}
        ),
    }


def _changes() -> Schema:
    """How operators change an item. It is on the disk, and found, when it is acknowledged."""
    changed = {"200": _json("Changed", stamped=True)}
    item = _ref("ItemFacts")
    photo = {"type": "string", "format": "binary", "maxLength": MAX_IMAGE_BYTES}
    form = {
        "type": "object",
        "required": ["item"],
        "properties": {"item": {**item, "description": "JSON."}, "image": photo},
    }
    content = {"application/json": {"schema": item}, "multipart/form-data": {"schema": form}}
    put = _post(
        "putItem",
        "Add an item with its photo, or change what is known of one",
        [ITEM_ID],
        content,
        {**changed, **_errors(400, 408, 413, 415, 422, 503)},
    )
    delete = _get(
        "deleteItem", "Have an item found no more", [ITEM_ID], {**changed, **_errors(404, 422, 503)}
    )
    return {"put": put["post"], "delete": delete["get"]}


def _wanted() -> list[Schema]:
    """The parameters of every search."""
    truth = _typed("boolean")
    share = {"type": "number", "minimum": 0, "maximum": 1, "default": 0}
    price = {"type": "number", "minimum": 0}
    return [
        _number("k", DEFAULT_K, MAX_K),
        _texts(
            "category",
            "A path such as `Fashion > Hats`, with all that is below it.",
            pattern=A_PATH,
        ),
        _texts("brand", "One of these brands."),
        _parameter("min_price", price, "In the items' own currencies."),
        _parameter("max_price", price, "In the items' own currencies."),
        _parameter("in_stock", truth, "Only what is, or is not, in stock."),
        _texts(
            "attribute",
            "`name:value`, such as `colour:red`; all of them must hold.",
            pattern=r"^[^:]+:[\s\S]+$",
        ),
        _parameter(
            "per_product",
            {"type": "integer", "minimum": 0, "maximum": MAX_K, "default": 0},
            "At most so many items of a product; 0: any number.",
        ),
        _parameter("collapse", truth, "Of items that look the same, the nearest only."),
        _parameter("diversity", share, "From 0, by score alone, to 1, as unlike as can be."),
        _parameter(
            "min_score",
            {"type": "number", "minimum": -1, "maximum": 1, "default": -1},
            "Leave out what is less alike.",
        ),
    ]


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
    levels = {"type": "array", "items": _record(**guess)}
    brand = {"oneOf": [_record(name=_typed("string"), confidence=_typed("number")), NULL]}
    count = {"type": "array", "items": _record(name=_typed("string"), count=_typed("integer"))}
    valued = {"type": "array", "items": _record(name=_typed("string"), values=count)}
    price = _record(least=_typed("number", "null"), most=_typed("number", "null"))
    attributes = {"type": "object", "additionalProperties": _typed("string")}
    found = _record(item_id=_typed("string"), hits={"oneOf": [hits, NULL]})
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
        "ListingAnswer": _record(
            **answered, searched=_record(**searched), category=levels, brand=brand, hits=hits
        ),
        "VectorAnswer": _record(**answered, hits=hits),
        "BatchAnswer": _record(**answered, answers={"type": "array", "items": found}),
        "ItemAnswer": _record(**answered, item=_record(**item, attributes=attributes)),
        "ItemFacts": _facts(),
        "Changed": _record(
            **answered,
            item_id=_typed("string"),
            sequence=_typed("integer"),
            at={"type": "string", "format": "date-time"},
            deleted=_typed("boolean"),
        ),
        "Facets": _record(
            **answered,
            categories=count,
            brands=count,
            currencies=count,
            attributes=valued,
            price=price,
        ),
        "SimilarAnswer": _record(**answered, item=_ref("Item"), hits=hits),
        "Sample": _record(**answered, items=_list("Item")),
        "Bundle": _bundle(),
    }


def _facts() -> Schema:
    """Pydantic's own description of what is accepted."""
    facts = Item.model_json_schema()
    facts["required"].remove("item_id")  # it stands in the path
    return facts


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
        photos_kept={
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "Share of query photos that is stored, without EXIF, for "
            f"{QUERY_PHOTO_DAYS} days; 0: none.",
        },
        promoted=_record(at=time, by=_typed("string"), why=_typed("string")),
        pending={
            "oneOf": [refused, NULL],
            "description": "A decision that could not be followed; the bundle above serves on.",
        },
    )


def _get(name: str, summary: str, parameters: list[Schema], responses: Schema) -> Schema:
    facts = {"operationId": name, "summary": summary, "responses": responses}
    return {"get": facts | ({"parameters": parameters} if parameters else {})}


def _post(
    name: str, summary: str, parameters: list[Schema], content: Schema, responses: Schema
) -> Schema:
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "parameters": parameters,
            "requestBody": {"required": True, "content": content},
            "responses": responses,
        }
    }


def _parameter(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _text(name: str, description: str, **more: str) -> Schema:
    schema = {"type": "string", "minLength": 1, "maxLength": MAX_FILTER_TEXT, **more}
    return _parameter(name, schema, description)


def _texts(name: str, description: str, **more: str) -> Schema:
    one = _text(name, description, **more)
    schema = {"type": "array", "items": one["schema"], "maxItems": MAX_FILTER_VALUES}
    return one | {"schema": schema, "style": "form", "explode": True}


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
