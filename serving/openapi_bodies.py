"""The bodies of all answers, and of an item as operators send it."""

from serving.item import Item
from serving.limits import QUERY_PHOTO_DAYS
from serving.openapi_schema import NULL, Schema, array_of, numbers, record, ref, typed

ITEM = {
    "item_id": typed("string"),
    "product_id": typed("string"),
    "title": typed("string", "null"),
    "brand": typed("string", "null"),
    "category": {"type": "string", "description": "Path, such as `Fashion > Hats > Beanies`."},
    "price": typed("number", "null"),
    "currency": typed("string", "null"),
    "in_stock": typed("boolean", "null"),
}
BUNDLE_NAME = {
    "digest": typed("string"),
    "version": typed("string"),
    "ds": {"type": "string", "format": "date"},
    "index_age_seconds": typed("integer"),
}
ANSWERED = {"bundle": ref("BundleName")}  # in the body of every answer that a bundle gave
HITS = array_of(ref("Hit"))
TIME = {"type": "string", "format": "date-time"}


def bodies() -> Schema:
    """The schemas by name, as `openapi_schema.ref` points to them."""
    return _parts() | _of_searches() | _of_catalogue() | {"Bundle": _bundle()}


def _parts() -> Schema:
    score = {"type": "number", "description": "Cosine similarity; 1 is the same look."}
    return {
        "Error": record(error=record(code=typed("string"), message=typed("string"))),
        "Status": record(status=typed("string")),
        "Item": record(**ITEM),
        "Hit": record(**ITEM, score=score),
        "BundleName": record(**BUNDLE_NAME),
    }


def _of_searches() -> Schema:
    levels = array_of(record(path=typed("string"), confidence=typed("number")))
    brand = {"oneOf": [record(name=typed("string"), confidence=typed("number")), NULL]}
    found = record(item_id=typed("string"), hits={"oneOf": [HITS, NULL]})
    searched = record(
        by={"enum": ["given", "found", "whole"], "description": "Who chose the box."},
        box=numbers(4, "x, y, width, height in pixels of the upright photo"),
        photo=numbers(2, "Width and height of the upright photo, in pixels."),
    )
    looked = {**ANSWERED, "searched": searched, "category": levels}
    return {
        "SearchAnswer": record(**looked, hits=HITS),
        "ListingAnswer": record(**looked, brand=brand, hits=HITS),
        "VectorAnswer": record(**ANSWERED, hits=HITS),
        "BatchAnswer": record(**ANSWERED, answers=array_of(found)),
    }


def _of_catalogue() -> Schema:
    counts = array_of(record(name=typed("string"), count=typed("integer")))
    price = record(least=typed("number", "null"), most=typed("number", "null"))
    attributes = {"type": "object", "additionalProperties": typed("string")}
    return {
        "ItemAnswer": record(**ANSWERED, item=record(**ITEM, attributes=attributes)),
        "ItemFacts": _facts(),
        "Changed": record(
            **ANSWERED,
            item_id=typed("string"),
            sequence=typed("integer"),
            at=TIME,
            deleted=typed("boolean"),
        ),
        "Facets": record(
            **ANSWERED,
            categories=counts,
            brands=counts,
            currencies=counts,
            attributes=array_of(record(name=typed("string"), values=counts)),
            price=price,
        ),
        "SimilarAnswer": record(**ANSWERED, item=ref("Item"), hits=HITS),
        "Sample": record(**ANSWERED, items=array_of(ref("Item"))),
    }


def _facts() -> Schema:
    """Pydantic's own description of what is accepted."""
    facts = Item.model_json_schema()
    facts["required"].remove("item_id")  # it stands in the path
    return facts


def _bundle() -> Schema:
    refused = record(bundle=typed("string", "null"), error=typed("string"))
    return record(
        **BUNDLE_NAME,
        space_id=typed("string", "null"),
        pixel_spec=typed("string"),
        index=typed("object"),
        items=typed("integer"),
        verdict={"type": ["object", "null"], "description": "What the gate measured."},
        created=TIME,
        photos_kept={
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "Share of query photos that is stored, without EXIF, for "
            f"{QUERY_PHOTO_DAYS} days; 0: none.",
        },
        promoted=record(at=TIME, by=typed("string"), why=typed("string")),
        pending={
            "oneOf": [refused, NULL],
            "description": "A decision that could not be followed; the bundle above serves on.",
        },
    )
