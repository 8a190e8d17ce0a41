"""The parameters of the routes."""

from serving.limits import DEFAULT_K, MAX_FILTER_TEXT, MAX_FILTER_VALUES, MAX_K
from serving.openapi_schema import Schema, typed
from serving.parameters import BOX as A_BOX

A_PATH = r"[^\s>\x00-\x1f\x85]"  # a name, at least
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
SHOPPER = {
    "name": "X-Lookalike-Shopper",
    "in": "header",
    "schema": {"type": "string"},
    "description": "Any text that stays the same for one shopper, such as the digest of a session, "
    "at best of at most 200 characters. While a candidate is in canary, a shopper's answers are "
    "all of one bundle; without it each request is drawn anew. It is neither kept nor logged.",
}


def wanted() -> list[Schema]:
    """The parameters of every search."""
    truth = typed("boolean")
    share = {"type": "number", "minimum": 0, "maximum": 1, "default": 0}
    price = {"type": "number", "minimum": 0}
    return [
        number("k", DEFAULT_K, MAX_K),
        texts(
            "category",
            "A path such as `Fashion > Hats`, with all that is below it.",
            pattern=A_PATH,
        ),
        texts("brand", "One of these brands."),
        parameter("min_price", price, "In the items' own currencies."),
        parameter("max_price", price, "In the items' own currencies."),
        parameter("in_stock", truth, "Only what is, or is not, in stock."),
        texts(
            "attribute",
            "`name:value`, such as `colour:red`; all of them must hold.",
            pattern=r"^[^:]+:[\s\S]+$",
        ),
        parameter(
            "per_product",
            {"type": "integer", "minimum": 0, "maximum": MAX_K, "default": 0},
            "At most so many items of a product; 0: any number.",
        ),
        parameter("collapse", truth, "Of items that look the same, the nearest only."),
        parameter("diversity", share, "From 0, by score alone, to 1, as unlike as can be."),
        parameter(
            "min_score",
            {"type": "number", "minimum": -1, "maximum": 1, "default": -1},
            "Leave out what is less alike.",
        ),
    ]


def number(name: str, default: int, most: int) -> Schema:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return {"name": name, "in": "query", "schema": schema}


def parameter(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def text(name: str, description: str, **more: str) -> Schema:
    schema = {"type": "string", "minLength": 1, "maxLength": MAX_FILTER_TEXT, **more}
    return parameter(name, schema, description)


def texts(name: str, description: str, **more: str) -> Schema:
    one = text(name, description, **more)
    schema = {"type": "array", "items": one["schema"], "maxItems": MAX_FILTER_VALUES}
    return one | {"schema": schema, "style": "form", "explode": True}
