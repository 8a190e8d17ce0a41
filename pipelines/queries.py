"""The gate's queries: photos that are not in the base index, by kind and category, and filters."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.catalogue import Catalogue

MAX_WILD = 2000
FILTERS = {"filter 1 %": 0.01, "filter 0.2 %": 0.002}  # share of the items that it allows


@dataclass(frozen=True)
class Queries:
    """One row a query: the items asked with, and the slices as masks bool [queries]."""

    items: pa.Table
    slices: dict[str, npt.NDArray[np.bool_]]

    def __len__(self) -> int:
        return len(self.items)


def read_queries(catalogue: Catalogue, held_out: pa.Table, ds: date) -> Queries:
    """Held-out catalogue items, today's new ones, and wild photos that were not trained on."""
    wild = catalogue.items.filter(
        pc.and_(
            pc.equal(catalogue.items["kind"], "wild"),
            pc.invert(pc.equal(catalogue.items["split"], "train")),
        )
    )
    if len(wild) > MAX_WILD:  # by photo digest: as good as random, and the same every day
        wild = wild.take(pc.sort_indices(wild["pixel_key"])[:MAX_WILD]).sort_by("item_id")
    columns = ["item_id", "product_id", "category", "pixel_key", "first_seen"]
    items = pa.concat_tables([held_out.select(columns), wild.select(columns)])
    is_wild = np.arange(len(items)) >= len(held_out)
    is_new = np.array(items["first_seen"].to_pylist()) == ds.isoformat()
    only_new = is_new & ~is_wild if not is_new.all() else np.zeros(len(items), bool)
    slices = {"held-out": ~is_wild & ~only_new, "new": only_new, "wild": is_wild}
    top = np.array([path.split(" > ")[0] for path in items["category"].to_pylist()])
    slices |= {f"category {name}": top == name for name in sorted(set(top.tolist()))}
    return Queries(items, {name: mask for name, mask in slices.items() if mask.any()})


def read_filters(item_ids: Sequence[str], k: int) -> dict[str, npt.NDArray[np.bool_]]:
    """Masks bool [items] by name; without those that would allow fewer than k.

    By digest of the item's id: as good as random, and an item is allowed every day or never.
    """
    digests = b"".join(hashlib.sha256(item.encode()).digest()[:8] for item in item_ids)
    places = np.frombuffer(digests, ">u8") / 2**64
    masks = {name: places < share for name, share in FILTERS.items()}
    return {name: mask for name, mask in masks.items() if mask.sum() >= k}
