"""JSON schemas, in the dialect of OpenAPI 3.1, as short as they can be said."""

from typing import Any

from model.pixels import MAX_IMAGE_BYTES

Schema = dict[str, Any]

NULL: Schema = {"type": "null"}
PHOTO: Schema = {"type": "string", "format": "binary", "maxLength": MAX_IMAGE_BYTES}


def typed(*types: str) -> Schema:
    return {"type": types[0] if len(types) == 1 else list(types)}


def record(**fields: Schema) -> Schema:
    return {"type": "object", "required": list(fields), "properties": fields}


def array_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def numbers(count: int, description: str) -> Schema:
    length = {"minItems": count, "maxItems": count}
    items = {"type": "integer", "minimum": 0}
    return {"type": "array", "items": items, **length, "description": description}


def ref(schema: str) -> Schema:
    return {"$ref": f"#/components/schemas/{schema}"}
