"""A change that an operator made to an item while a bundle serves."""

from dataclasses import dataclass
from datetime import datetime

from serving.item import Item


@dataclass(frozen=True)
class Change:
    """The newest state of an item, and when it became so."""

    sequence: int  # grows with every change of any item
    item_id: str
    at: datetime  # UTC
    item: Item | None  # None: deleted
    photo: str | None = None  # SHA-256 of the newest photo that was sent; None: none was
    photo_sequence: int | None = None  # of the change that brought the photo
    photo_at: datetime | None = None
