"""What keys, rates and connections add to the description of every route."""

from collections.abc import Callable

from serving.access import takes_a_key
from serving.openapi_schema import Schema

SCHEMES = {
    "searchKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "Of those who search; needed only where the shop has set such keys.",
    },
    "operatorKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "Of those who change the catalogue. It may search too.",
    },
}
REFUSALS = {
    401: "No key (`no_key`), or none that is in use (`wrong_key`).",
    403: "The key may only search (`not_an_operator`).",
    429: "Too many requests of this key or address (`rate_limited`). Retry-After says when to try "
    "again.",
    431: "The path, the query and the headers are too long (`head_too_large`).",
}
OF_OPERATORS = ("put", "delete")  # methods
RETRY_AFTER = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
CHALLENGE = {"description": "Bearer.", "schema": {"type": "string"}}


def guarded(paths: Schema, errors: Callable[..., Schema]) -> Schema:
    """The paths with who may call them, and how they refuse. `errors` describes statuses."""
    for path, methods in paths.items():
        for method, operation in methods.items():
            operation["responses"] |= errors(431)
            if takes_a_key(path):
                operation |= _guard(operation, method in OF_OPERATORS, errors)
    return paths


def _guard(operation: Schema, of_operators: bool, errors: Callable[..., Schema]) -> Schema:
    refusals = errors(401, 403, 429) if of_operators else errors(401, 429)
    refusals["401"]["headers"] = {"WWW-Authenticate": CHALLENGE}
    refusals["429"]["headers"] = {"Retry-After": RETRY_AFTER}
    responses = dict(sorted((operation["responses"] | refusals).items()))
    security: list[Schema] = [{"operatorKey": []}]
    if not of_operators:
        security += [{"searchKey": []}, {}]
    return {"responses": responses, "security": security}
