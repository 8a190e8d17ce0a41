"""What keys, rates and connections add to the description of every route."""

from collections.abc import Callable

from serving.access import takes_a_key
from serving.keys import MAX_SECRET
from serving.openapi_schema import Schema
from serving.sessions import COOKIE, SESSION_SECONDS

SCHEMES = {
    "searchKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "Of those who search; needed only where the shop has set such keys.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": f"Of a browser that has shown a search key to POST /v1/session, for "
        f"{SESSION_SECONDS // 86_400} days. It searches and does nothing else.",
    },
    "operatorKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "Of those who change the catalogue. It may search too.",
    },
}
REFUSALS = {
    401: "No key (`no_key`), none that is in use (`wrong_key`), or a session that is over "
    "(`session_over`).",
    403: "The key may only search (`not_an_operator`).",
    429: "Too many requests of this key or address (`rate_limited`). Retry-After says when to try "
    "again.",
    431: "The path, the query and the headers are too long (`head_too_large`).",
}
OF_OPERATORS = ("put", "delete")  # methods
PATHS_OF_OPERATORS = ("/v1/rollout",)
RETRY_AFTER = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
CHALLENGE = {"description": "Bearer.", "schema": {"type": "string"}}


def session_paths(errors: Callable[..., Schema]) -> Schema:
    """How a browser begins and ends its session. `errors` describes statuses."""
    name, cookie = {"type": "string"}, {"Set-Cookie": {"schema": {"type": "string"}}}
    whose = _object(needs_key={"type": "boolean"}, key={"type": ["string", "null"]})
    begun = _object(key=name, until={"type": "string", "format": "date-time"})
    shown = _object(key={**name, "minLength": 1, "maxLength": MAX_SECRET})
    operators = {"403": {**errors(403)["403"], "description": "An operator's key."}}
    no_json = {"415": {**errors(415)["415"], "description": "Not JSON (`not_json`)."}}
    refusals = errors(400, 401, 408, 413, 422, 429) | operators | no_json
    return {
        "/v1/session": {
            "get": {
                "operationId": "session",
                "summary": "Whether search takes a key, and whose session the browser has",
                "responses": {"200": _answer("The session.", whose), **errors(422)},
            },
            "post": {
                "operationId": "beginSession",
                "summary": "Show a search key once; a cookie stands for it afterwards",
                "requestBody": {
                    "required": True,
                    "content": _json({**shown, "additionalProperties": False}),
                },
                "responses": {
                    "200": {**_answer("The session begins.", begun), "headers": cookie},
                    **_with_headers(refusals),
                },
            },
            "delete": {
                "operationId": "endSession",
                "summary": "Have the browser forget its session",
                "responses": {"204": {"description": "Done.", "headers": cookie}, **errors(422)},
            },
        }
    }


def guarded(paths: Schema, errors: Callable[..., Schema]) -> Schema:
    """The paths with who may call them, and how they refuse. `errors` describes statuses."""
    for path, methods in paths.items():
        for method, operation in methods.items():
            operation["responses"] |= errors(431)
            if takes_a_key(path):
                of_operators = method in OF_OPERATORS or path in PATHS_OF_OPERATORS
                operation |= _guard(operation, of_operators, errors)
    return paths


def _guard(operation: Schema, of_operators: bool, errors: Callable[..., Schema]) -> Schema:
    refusals = errors(401, 403, 429) if of_operators else errors(401, 429)
    responses = dict(sorted((operation["responses"] | _with_headers(refusals)).items()))
    security: list[Schema] = [{"operatorKey": []}]
    if not of_operators:
        security += [{"searchKey": []}, {"session": []}, {}]
    return {"responses": responses, "security": security}


def _with_headers(refusals: Schema) -> Schema:
    refusals["401"]["headers"] = {"WWW-Authenticate": CHALLENGE}
    refusals["429"]["headers"] = {"Retry-After": RETRY_AFTER}
    return refusals


def _answer(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": _json(schema)}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _object(**fields: Schema) -> Schema:
    return {"type": "object", "required": list(fields), "properties": fields}
