"""The catalogue in the description: its items, their neighbours, photos and changes."""

from serving.limits import DEFAULT_K, DEFAULT_SAMPLE, MAX_K, MAX_SAMPLE
from serving.openapi_operation import answer, errors, get, post
from serving.openapi_parameters import ITEM_ID, SHOPPER, number, wanted
from serving.openapi_schema import PHOTO, Schema, ref


def catalogue_paths() -> Schema:
    photo = {"description": "The photo.", "content": {"image/*": {}}}
    item, k = "/v1/items/{item_id}", number("k", DEFAULT_K, MAX_K)
    similar = {"200": answer("SimilarAnswer", stamped=True), **errors(404, 422, 503)}
    return {
        "/v1/items": get(
            "sample",
            "Some items to begin with; the same ones as long as the bundle is the same",
            [number("limit", DEFAULT_SAMPLE, MAX_SAMPLE)],
            {"200": answer("Sample"), **errors(422, 503)},
        ),
        "/v1/facets": get(
            "facets",
            "What can be filtered by, and how many items each value has",
            [],
            {"200": answer("Facets", stamped=True), **errors(422, 503)},
        ),
        item: get(
            "item",
            "What is known of an item",
            [ITEM_ID],
            {"200": answer("ItemAnswer", stamped=True), **errors(404, 422, 503)},
        )
        | _changes(),
        f"{item}/similar": get(
            "similar",
            "Items that look like an item, without itself",
            [ITEM_ID, *wanted(), SHOPPER],
            similar,
        ),
        f"{item}/substitutes": get(
            "substitutes",
            "For a sold-out item: in stock, of its category, about its price",
            [ITEM_ID, k, SHOPPER],
            similar,
        ),
        f"{item}/lookalikes": get(
            "lookalikes",
            "For a category page: of the item's branch, one view of a product, not all alike",
            [ITEM_ID, k, SHOPPER],
            similar,
        ),
        f"{item}/variants": get(
            "variants", "All that shows nearly the same thing", [ITEM_ID, SHOPPER], similar
        ),
        f"{item}/image": get(
            "image", "The item's photo", [ITEM_ID], {"200": photo, **errors(404, 422, 503)}
        ),
    }


def _changes() -> Schema:
    """How operators change an item. It is on the disk, and found, when it is acknowledged."""
    changed = {"200": answer("Changed", stamped=True)}
    item = ref("ItemFacts")
    form = {
        "type": "object",
        "required": ["item"],
        "properties": {"item": {**item, "description": "JSON."}, "image": PHOTO},
    }
    content = {"application/json": {"schema": item}, "multipart/form-data": {"schema": form}}
    return post(
        "putItem",
        "Add an item with its photo, or change what is known of one",
        [ITEM_ID],
        content,
        {**changed, **errors(400, 408, 413, 415, 422, 503)},
        method="put",
    ) | get(
        "deleteItem",
        "Have an item found no more",
        [ITEM_ID],
        {**changed, **errors(404, 422, 503)},
        method="delete",
    )
