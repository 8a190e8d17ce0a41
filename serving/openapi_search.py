"""Searches in the description: by a photo, a vector, items, and for a new listing."""

from serving.limits import DEFAULT_K, MAX_BATCH, MAX_K
from serving.openapi_operation import answer, errors, post
from serving.openapi_parameters import A_PATH, BOX, SHOPPER, number, text, wanted
from serving.openapi_schema import PHOTO, Schema, array_of, record, typed


def search_paths() -> Schema:
    form = {"type": "object", "required": ["image"], "properties": {"image": PHOTO}}
    a_photo = {"image/*": {"schema": PHOTO}, "multipart/form-data": {"schema": form}}
    ids = {**array_of(typed("string")), "minItems": 1, "maxItems": MAX_BATCH}
    vector = {
        **record(vector=array_of(typed("number")), space_id=typed("string")),
        "additionalProperties": False,
    }
    batch = {**record(item_ids=ids), "additionalProperties": False}
    category = text("category", "Where the seller would list it.", pattern=A_PATH)
    return {
        "/v1/search": post(
            "search",
            "Items that look like a photo",
            [*wanted(), BOX, SHOPPER],
            a_photo,
            {"200": answer("SearchAnswer", stamped=True), **errors(400, 408, 413, 415, 422, 503)},
        ),
        "/v1/search/vector": post(
            "searchVector",
            "Items near a vector of the same space",
            wanted(),
            {"application/json": {"schema": vector}},
            {"200": answer("VectorAnswer", stamped=True), **errors(400, 408, 409, 413, 422, 503)},
        ),
        "/v1/search/batch": post(
            "searchBatch",
            "Items that look like each of some items",
            wanted(),
            {"application/json": {"schema": batch}},
            {"200": answer("BatchAnswer", stamped=True), **errors(400, 408, 413, 422, 503)},
        ),
        "/v1/listing": post(
            "listing",
            "For a new listing: its category level by level, its brand, and what is sold beside it",
            [number("k", DEFAULT_K, MAX_K), BOX, category],
            a_photo,
            {"200": answer("ListingAnswer", stamped=True), **errors(400, 408, 413, 415, 422, 503)},
        ),
    }
