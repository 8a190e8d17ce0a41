"""An operation of the description: how it is asked, and what it answers."""

from model.pixels import REASONS
from serving.openapi_access import REFUSALS
from serving.openapi_schema import Schema, ref

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


def get(
    name: str, summary: str, parameters: list[Schema], responses: Schema, *, method: str = "get"
) -> Schema:
    """One without a body; `method` is another than GET where that is meant."""
    facts = {"operationId": name, "summary": summary, "responses": responses}
    return {method: facts | ({"parameters": parameters} if parameters else {})}


def post(
    name: str,
    summary: str,
    parameters: list[Schema],
    content: Schema,
    responses: Schema,
    *,
    method: str = "post",
) -> Schema:
    """One with a body, in each content type that it may have."""
    return {
        method: {
            "operationId": name,
            "summary": summary,
            "parameters": parameters,
            "requestBody": {"required": True, "content": content},
            "responses": responses,
        }
    }


def answer(schema: str, *, stamped: bool = False) -> Schema:
    content = {"application/json": {"schema": ref(schema)}}
    facts = {"description": schema, "content": content}
    return facts | ({"headers": STAMP_HEADERS} if stamped else {})


def errors(*statuses: int) -> Schema:
    content = {"application/json": {"schema": ref("Error")}}
    return {str(status): {"description": ERRORS[status], "content": content} for status in statuses}
