"""Questions that come as JSON: a vector, or the ids of some items."""

from typing import Any

import numpy as np

from serving.engine import Engine
from serving.index import Vectors
from serving.limits import MAX_BATCH
from serving.rejected import Rejected


def read_vector(body: dict[str, Any], engine: Engine) -> Vectors:
    """A unit vector [d] of this engine's space. Raises Rejected for anything else."""
    given, space = body.get("vector"), body.get("space_id")
    d = engine.vectors.shape[1]
    if set(body) - {"vector", "space_id"} or not isinstance(given, list):
        raise Rejected(
            422,
            "invalid_vector",
            f"Expected `vector`: {d} numbers, and `space_id`. Received: {sorted(body)[:8]}.",
        )
    if space != engine.space_id:
        raise Rejected(
            409,
            "other_space",
            f"Vectors compare only within one space. Expected `space_id` "
            f"{engine.space_id!r}. Received: {str(space)[:80]!r}. Embed the photo again.",
        )
    numbers = [x for x in given if isinstance(x, int | float) and not isinstance(x, bool)]
    if len(given) != d or len(numbers) != d:
        raise Rejected(
            422,
            "invalid_vector",
            f"Invalid `vector`. Expected {d} numbers. Received: {len(given)} values, "
            f"{len(numbers)} of them numbers.",
        )
    with np.errstate(over="ignore"):
        vector = np.array(numbers, np.float64)
        length = float(np.linalg.norm(vector))
    if not 0 < length < np.inf:
        raise Rejected(
            422,
            "invalid_vector",
            f"Invalid `vector`. Expected a finite length above 0. Received: {length:g}.",
        )
    unit: Vectors = (vector / length).astype(np.float32)
    return unit


def read_ids(body: dict[str, Any]) -> list[str]:
    """`item_ids` of a batch. Raises Rejected."""
    ids = body.get("item_ids")
    good = isinstance(ids, list) and all(isinstance(name, str) for name in ids)
    if set(body) != {"item_ids"} or not isinstance(ids, list) or not good:
        raise Rejected(
            422,
            "invalid_item_ids",
            f"Expected `item_ids`: a list of texts. Received: {sorted(body)[:8]}.",
        )
    if not 1 <= len(ids) <= MAX_BATCH:
        raise Rejected(
            422,
            "invalid_item_ids",
            f"Invalid `item_ids`. Expected 1 to {MAX_BATCH}. Received: {len(ids)}.",
        )
    return ids
