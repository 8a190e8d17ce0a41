"""What a training learns from: the photos of a split, their leaves, attributes and products."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.attributes import UNKNOWN
from model.errors import BadInput
from model.fit import Photos
from pipelines.catalogue import Catalogue

BRAND = "brand"  # a column of its own; other attributes are keys of the column `attributes`
MIN_PHOTOS = 10  # of a value, or a head has nothing to learn it from

Values = Mapping[str, tuple[str, ...]]  # by attribute


def attribute_values(catalogue: Catalogue, names: Sequence[str]) -> Values:
    """The values of each attribute that enough training photos have, sorted.

    Raises BadInput for an attribute of which there are not two such values.
    """
    items = of_split(catalogue, "train")
    found = {}
    for name in names:
        counts = Counter(value for value in _column(items, name) if value)
        found[name] = tuple(sorted(v for v, photos in counts.items() if photos >= MIN_PHOTOS))
        if len(found[name]) < 2:
            raise BadInput(
                f"Nothing to tell apart by the attribute {name!r} of `train.attributes`. Expected "
                f"two values with {MIN_PHOTOS} training photos each. "
                f"Received: {dict(counts.most_common(3))}. Expected one of {_names(items)}."
            )
    return found


def read_photos(catalogue: Catalogue, split: str, values: Values) -> Photos:
    """The photos of a split, in the order of their items' ids."""
    items = of_split(catalogue, split)
    pixels = catalogue.pixels.view(catalogue.shards, items["pixel_key"].to_pylist())
    attributes = {}
    for name, known in values.items():
        ids = {value: number for number, value in enumerate(known)}
        column = [ids.get(value or "", UNKNOWN) for value in _column(items, name)]
        attributes[name] = np.array(column, np.int32)
    products = np.unique(np.array(items["product_id"].to_pylist(), str), return_inverse=True)[1]
    return Photos(
        pixels, items["leaf"].to_numpy().astype(np.int32), attributes, products.astype(np.int64)
    )


def of_split(catalogue: Catalogue, split: str) -> pa.Table:
    return catalogue.items.filter(pc.equal(catalogue.items["split"], split))


def _column(items: pa.Table, name: str) -> list[str | None]:
    if name == BRAND:
        return list(items[BRAND].to_pylist())
    return [dict(pairs or ()).get(name) for pairs in items["attributes"].to_pylist()]


def _names(items: pa.Table) -> list[str]:
    keys = {key for pairs in items["attributes"].to_pylist() for key, _ in pairs or ()}
    return [BRAND, *sorted(keys)]
