"""An item as the catalogue has it, and as an operator sends it: the feed's words, checked."""

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from model.errors import BadInput
from model.taxonomy import is_cyclic, normalise

MAX_ID = 256  # characters; as in the feed
MAX_TEXT = 1000
MAX_ATTRIBUTES = 64


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected printable characters")
    return text


def _path(text: str) -> str:
    path = normalise(text)
    if not path or is_cyclic(path):
        raise ValueError("expected a path as `Top > Middle > Leaf`, each name once")
    return path


Name = Annotated[str, Field(min_length=1, max_length=MAX_ID), AfterValidator(_printable)]
Text = Annotated[str, Field(max_length=MAX_TEXT)]


class Item(BaseModel):
    """What is known of an item but its photo. Without `product_id` it is a product of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    item_id: Name
    product_id: Name | None = None
    title: Text | None = None
    brand: Text | None = None
    category: Annotated[str, Field(min_length=1, max_length=MAX_TEXT), AfterValidator(_path)]
    price: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    currency: Annotated[str, Field(min_length=1, max_length=8)] | None = None
    in_stock: bool = True
    attributes: Annotated[dict[Text, Text], Field(max_length=MAX_ATTRIBUTES)] = {}

    @classmethod
    def parse(cls, data: dict[str, Any]) -> "Item":
        """Raises BadInput that names the field, what was expected and what was received."""
        try:
            item = cls.model_validate(data)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(map(str, fault["loc"])) or "item"
            received = "nothing" if fault["type"] == "missing" else repr(fault["input"])[:80]
            raise BadInput(
                f"Invalid item. `{where}`: {fault['msg']}. Received: {received}."
            ) from None
        _check_trimmed("item_id", item.item_id)
        _check_trimmed("product_id", item.product)
        return item

    @property
    def product(self) -> str:
        return self.product_id or self.item_id

    @property
    def amount(self) -> float:
        """The price, NaN without one."""
        return math.nan if self.price is None else self.price


def _check_trimmed(field: str, text: str) -> None:
    """Of what is sent alone: what is kept already must be read as it is."""
    if text != text.strip():
        raise BadInput(
            f"Invalid item. `{field}` has a blank at an end, which the catalogue would take away: "
            f"another id. Expected none there. Received: {text!r}. Send {text.strip()!r} instead."
        )
