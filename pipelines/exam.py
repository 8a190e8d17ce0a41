"""The photos that a space is examined with: who asks, what is searched, and what is right.

Queries are photos that nothing was trained on; all choices go by photo digest, which is as good as
random and the same every day. Bounded, so that an exam of a large shop takes minutes.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from model.baselines import colour_histogram, fit_pixel_components
from model.errors import BadInput
from model.evaluators import Codes, Mask
from model.pixels import Pixels
from model.probe import UNKNOWN, Probe
from model.retrieval import Pair, Rows, Task, Vectors, same_category, street_to_shop
from model.taxonomy import Taxonomy, split
from pipelines.catalogue import Catalogue
from pipelines.content_store import View
from pipelines.duplicates import LOOK_BYTES, near_duplicates
from pipelines.progress import progress

MAX_QUERIES, MAX_ITEMS = 2000, 20_000
MAX_FITTED = 1000  # training photos that the components of pixels are fitted on
TAIL_SHARE = 0.2  # of the training photos: the rarest leaves hold no more than this
MAX_ATTRIBUTES = 6
MIN_ATTRIBUTE_SHARE = 0.1  # of the photos; a rarer attribute is not probed
BATCH = 256  # photos at once

CATEGORY, STREET_TO_SHOP = "category", "street_to_shop"  # the protocols
BASELINES = ("colour histogram", "pixel components")

Embed = Callable[[Pixels], Vectors]
Spaces = Callable[[Pixels], Mapping[str, Vectors]]  # one pass over the photos, several spaces


@dataclass(frozen=True)
class Question:
    """A task, the rows of the exam's photos that ask and are searched, and masks bool [asked]."""

    task: Task
    asked: Rows
    base: Rows
    slices: Mapping[str, Mask]

    @property
    def has_photos(self) -> bool:
        return bool(len(self.asked) and len(self.base))


@dataclass(frozen=True)
class Exam:
    """All photos in the order of their digests, and what is asked of them."""

    items: pa.Table  # one row a photo
    pixels: View  # uint8 [photos, side, side, 3]
    fitted: View  # training photos, for the baselines
    questions: Mapping[str, Question]  # by protocol; none where nobody asks
    probes: Mapping[str, Probe]  # by attribute, of the rows of the category's question

    def __len__(self) -> int:
        return len(self.items)

    @property
    def clusters(self) -> Codes:
        """int64 [photos]: the same for photos of one product and near-duplicates."""
        return _numbers(self.items["group"])

    def embed(self, spaces: Spaces) -> dict[str, Vectors]:
        """By name, float32 [photos, d]."""
        parts = defaultdict(list)
        with progress("examine", len(self)) as advance:
            for start in range(0, len(self), BATCH):
                pixels = self.pixels[start : start + BATCH]
                for name, vectors in spaces(pixels).items():
                    parts[name].append(np.asarray(vectors, np.float32))
                advance(len(pixels))
        return {name: np.concatenate(vectors) for name, vectors in parts.items()}

    @cached_property
    def baselines(self) -> dict[str, Vectors]:
        """What every space is held against; see `model.baselines`."""
        if not self.questions:
            return {}
        components = fit_pixel_components(self.fitted[:])
        embedders = (colour_histogram, components)
        return self.embed(together(dict(zip(BASELINES, embedders, strict=True))))


def together(embedders: Mapping[str, Embed]) -> Spaces:
    """Several embedders as one."""
    return lambda pixels: {name: embed(pixels) for name, embed in embedders.items()}


def draw_exam(
    catalogue: Catalogue, ds: date, *, near_duplicate_bits: int, splits: tuple[str, ...] = ("test",)
) -> Exam:
    """Photos of `splits` ask; items of the catalogue are searched.

    At most 2,000 queries, half of them wild where there are as many others, and 20,000 items,
    those first that a wild query is looking for. Both protocols leave the query itself out: the
    category's question takes all queries out of its gallery, and a wild photo that is a copy of
    one in the catalogue does not ask for its product. Raises BadInput for training photos.
    """
    if "train" in splits:
        raise BadInput(
            f"An exam with photos that were trained on proves nothing. Expected other splits, such "
            f"as `test`. Received: {splits}."
        )
    order = [("pixel_key", "ascending"), ("item_id", "ascending")]
    items = catalogue.items.sort_by(order)
    drawn = _draw(items, splits)
    chosen = np.unique(np.concatenate(drawn))
    wild, studio, base = (np.searchsorted(chosen, rows) for rows in drawn)
    taken = items.take(pa.array(chosen))
    masks = _masks(taken, catalogue.taxonomy, _tail(items, catalogue.taxonomy), ds)
    asked, searched = np.sort(np.concatenate([wild, studio])), np.setdiff1d(base, studio)
    shoppers = wild[~_copies(taken, wild, base, near_duplicate_bits)]
    leaf, group = Pair.of(_numbers(taken["leaf"])), Pair.of(_numbers(taken["group"]))
    product = Pair.of(_codes(taken["product_id"]))
    of_leaf, of_group = leaf.take(asked, searched), group.take(asked, searched)
    category = same_category(catalogue.taxonomy, of_leaf, of_group)
    shop = street_to_shop(product.take(shoppers, base), leaf.take(shoppers, base))
    questions = {
        CATEGORY: Question(category, asked, searched, _slices(masks, asked)),
        STREET_TO_SHOP: Question(shop, shoppers, base, _slices(masks, shoppers)),
    }
    seen = items.filter(pc.equal(items["split"], "train"))[:MAX_FITTED]
    return Exam(
        items=taken,
        pixels=_view(catalogue, taken),
        fitted=_view(catalogue, seen),
        questions={name: each for name, each in questions.items() if each.has_photos},
        probes={
            name: Probe(Pair.of(values).take(asked, searched), of_leaf, of_group)
            for name, values in _attributes(taken).items()
        },
    )


def _draw(items: pa.Table, splits: tuple[str, ...]) -> tuple[Rows, Rows, Rows]:
    """Rows of the wild queries, of the others, and of the gallery."""
    is_wild = _mask(pc.equal(items["kind"], "wild"))
    is_asked = _mask(pc.is_in(items["split"], value_set=pa.array(splits)))
    wild, studio = np.flatnonzero(is_asked & is_wild), np.flatnonzero(is_asked & ~is_wild)
    wild = wild[: max(MAX_QUERIES // 2, MAX_QUERIES - len(studio))]
    studio = studio[: MAX_QUERIES - len(wild)]
    base = np.flatnonzero(~is_wild)
    product = _codes(items["product_id"])
    wanted = np.isin(product[base], product[wild])
    base = base[np.argsort(~wanted, kind="stable")][:MAX_ITEMS]
    return wild, studio, np.sort(base)  # not the wanted first: photos that score alike keep order


def _view(catalogue: Catalogue, items: pa.Table) -> View:
    return catalogue.pixels.view(catalogue.shards, items["pixel_key"].to_pylist())


def _tail(items: pa.Table, taxonomy: Taxonomy) -> Mask:
    """bool [leaves]: those with the fewest training photos."""
    found = items.filter(pc.equal(items["split"], "train"))["leaf"].to_numpy()
    counts = np.bincount(found, minlength=len(taxonomy.leaves))
    order = np.argsort(counts, kind="stable")
    rare = np.zeros(len(taxonomy.leaves), bool)
    rare[order] = np.cumsum(counts[order]) <= TAIL_SHARE * len(found)
    return np.asarray(rare & (counts < counts.mean()))  # where all are alike none is rare


def _masks(items: pa.Table, taxonomy: Taxonomy, tail: Mask, ds: date) -> dict[str, Mask]:
    """By slice, bool [photos]."""
    leaf = items["leaf"].to_numpy()
    is_wild = _mask(pc.equal(items["kind"], "wild"))
    is_new = _mask(pc.equal(items["first_seen"], ds.isoformat()))
    top = np.array([split(path)[0] for path in taxonomy.leaves])[leaf]
    return {
        "catalogue": ~is_wild,
        "wild": is_wild,
        "new": is_new,
        "tail": tail[leaf],
        **{f"category {name}": top == name for name in sorted(set(top.tolist()))},
    }


def _slices(masks: Mapping[str, Mask], rows: Rows) -> dict[str, Mask]:
    """Those that are neither empty nor everything, after `all`."""
    own = {name: mask[rows] for name, mask in masks.items()}
    parts = {name: mask for name, mask in own.items() if mask.any() and not mask.all()}
    return {"all": np.ones(len(rows), bool), **parts}


def _attributes(items: pa.Table) -> dict[str, Codes]:
    """By name, a code for each photo; the attributes that most photos have, and the brand."""
    held = [dict(each or ()) for each in items["attributes"].to_pylist()]
    for attributes, brand in zip(held, items["brand"].to_pylist(), strict=True):
        if brand:
            attributes["brand"] = brand
    common = Counter(name for attributes in held for name, value in attributes.items() if value)
    least = MIN_ATTRIBUTE_SHARE * len(held)
    names = [name for name, number in common.most_common(MAX_ATTRIBUTES) if number >= least]
    return {
        name: _codes(pa.chunked_array([[each.get(name) or None for each in held]], pa.string()))
        for name in sorted(names)
    }


def _copies(items: pa.Table, wild: Rows, base: Rows, bits: int) -> Mask:
    """bool [wild]: photos that are in the gallery as well, byte by byte or nearly."""
    photo = _codes(items["pixel_key"])
    same = np.isin(photo[wild], photo[base])
    rows = np.concatenate([wild, base])
    joined = pc.binary_join_element_wise(items["phash"], items["signature"], b"")
    looks = [look or bytes(LOOK_BYTES) for look in joined.take(pa.array(rows)).to_pylist()]
    table = np.frombuffer(b"".join(looks), np.uint8).reshape(-1, LOOK_BYTES)
    pairs = np.sort(near_duplicates(table, bits), axis=1)
    across = (pairs[:, 0] < len(wild)) & (pairs[:, 1] >= len(wild))
    same[pairs[across, 0]] = True
    return np.asarray(same)


def _codes(column: pa.ChunkedArray) -> Codes:
    """A number for each distinct text, UNKNOWN for none."""
    codes = column.combine_chunks().dictionary_encode().indices
    return np.asarray(codes.fill_null(UNKNOWN).to_numpy(zero_copy_only=False), np.int64)


def _numbers(column: pa.ChunkedArray) -> Codes:
    return np.asarray(column.to_numpy(), np.int64)


def _mask(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    return np.asarray(column.fill_null(False).to_numpy(), bool)
