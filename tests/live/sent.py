"""What is sent to a live store."""

import hashlib

from serving.item import Item


def item(name: str = "a", **given: object) -> Item:
    return Item.model_validate({"item_id": name, "category": "Home > Lamps", **given})


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
