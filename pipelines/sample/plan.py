"""Which products and photos exist, decided before anything is drawn so that workers agree."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines.sample.brand import BRANDS
from pipelines.sample.leaves import LEAVES, NEW_LEAF, Leaf
from pipelines.sample.palette import choose
from pipelines.sample.surface import Style

MIN_ROWS = 14  # rows of the rarest leaf in a full catalogue
TAIL = 0.85  # exponent of the popularity law over leaves
VIEW_COUNTS = (0.30, 0.35, 0.20, 0.15)  # share of products with 1, 2, 3, 4 catalogue views
WILD_COUNTS = (0.72, 0.26, 0.02)  # share of products with 0, 1, 2 wild photos
VIEWS = ("angled", "mirrored", "detail", "backdrop")
SIZES = ((200, 200), (224, 224), (180, 240), (240, 180), (160, 200), (240, 240), (192, 192))
FORMS = {"jpeg": 0.86, "webp": 0.08, "png": 0.06}
SUFFIX = {"jpeg": "jpg", "palette": "png", "gray16": "png", "image_too_many_pixels": "png"}
SUFFIX |= {"png": "png", "webp": "webp"}
COPY_SHARE = 0.01  # of the rows: another product's photo under a new id
OUT_OF_STOCK = 0.06
PRICE_SPREAD = 0.45  # sigma of the log-normal price
NEW_ID = 900_000  # product numbers from here on appear on day 2


@dataclass(frozen=True, slots=True)
class Shot:
    """One photo of a product, which is one row of the feed."""

    item_id: str
    image: str  # relative to the feed's folder
    view: str
    form: str  # how it is encoded: a format, an oddity or a fault
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Product:
    """What its rows share, and the rows' photos; `source` names the photo that a copy repeats."""

    product_id: str
    leaf: Leaf
    style: Style
    brand: str
    title: str
    attributes: dict[str, str]
    price: float
    in_stock: bool
    shots: tuple[Shot, ...]
    source: str | None = None


def rng_for(seed: int, *names: str) -> np.random.Generator:
    """A generator that depends on the seed and the names alone, not on who runs first."""
    digest = hashlib.blake2b("/".join(names).encode(), digest_size=8).digest()
    return np.random.default_rng(np.random.SeedSequence([seed, int.from_bytes(digest)]))


def leaf_counts(items: int, rng: np.random.Generator) -> list[int]:
    """Rows of each leaf: a long tail over a floor, adding up to `items`."""
    floor = min(MIN_ROWS, items // (2 * len(LEAVES)))
    weights = (rng.permutation(len(LEAVES)) + 4.0) ** -TAIL
    ideal = weights / weights.sum() * (items - floor * len(LEAVES))
    counts = np.floor(ideal).astype(int)
    short = items - floor * len(LEAVES) - int(counts.sum())
    counts[np.argsort(counts - ideal, kind="stable")[:short]] += 1
    return [int(n) + floor for n in counts]


def shot_for(item_id: str, leaf: Leaf, view: str, rng: np.random.Generator) -> Shot:
    """A photo with its size and file format."""
    form = str(rng.choice(list(FORMS), p=list(FORMS.values()))) if view != "wild" else "jpeg"
    size = SIZES[int(rng.integers(len(SIZES)))]
    return Shot(item_id, f"images/{leaf.slug}/{item_id}.{SUFFIX[form]}", view, form, size)


def _views(room: int, rng: np.random.Generator) -> list[str]:
    """A product's views, no more than `room`: front first, then others, then wild ones."""
    more = int(rng.choice(4, p=VIEW_COUNTS))
    views = ["front", *(VIEWS[i] for i in rng.permutation(4)[:more])]
    views += ["wild"] * int(rng.choice(3, p=WILD_COUNTS))
    return views[:room]


def _title(brand: str, words: dict[str, str], noun: str) -> str:
    pattern = "" if words["pattern"] == "plain" else words["pattern"] + " "
    return f"{brand} {pattern}{words['material']} {noun}, {words['colour']}"


def product_for(number: int, leaf: Leaf, room: int, *, seed: int) -> Product:
    """The product of that number, with at most `room` rows."""
    product_id = f"P{number:06d}"
    rng = rng_for(seed, "plan", product_id)
    brand = list(BRANDS)[int(rng.integers(len(BRANDS)))]
    style, words = choose(leaf.family, BRANDS[brand], rng)
    shots = [
        shot_for(f"{product_id}-{i + 1}", leaf, view, rng)
        for i, view in enumerate(_views(room, rng))
    ]
    return Product(
        product_id=product_id,
        leaf=leaf,
        style=style,
        brand=brand,
        title=_title(brand, words, leaf.noun),
        attributes=words,
        price=round(float(leaf.price * rng.lognormal(0, PRICE_SPREAD)), 2),
        in_stock=bool(rng.random() >= OUT_OF_STOCK),
        shots=tuple(shots),
    )


def _fill(leaf: Leaf, rows: int, first: int, *, seed: int) -> list[Product]:
    products: list[Product] = []
    while rows > 0:
        product = product_for(first + len(products), leaf, rows, seed=seed)
        rows -= len(product.shots)
        products.append(product)
    return products


def _with_copies(products: list[Product], count: int, rng: np.random.Generator) -> list[Product]:
    """Turn single-photo products into resellers of another product of their leaf."""
    out = list(products)
    taken: set[int] = set()
    for i in rng.permutation(len(out)):
        i = int(i)
        rest = [j for j, p in enumerate(out) if p.leaf is out[i].leaf and j != i and j not in taken]
        if len(taken) >= 2 * count:
            break
        if len(out[i].shots) != 1 or i in taken or not rest:
            continue
        j = rest[int(rng.integers(len(rest)))]
        source, own = out[j], out[i].shots[0]
        view = ("exact", "reencoded", "cropped")[int(rng.integers(3))]
        form = source.shots[0].form if view == "exact" else "jpeg"
        image = f"{own.image.rsplit('.', 1)[0]}.{SUFFIX[form]}"
        shot = replace(own, view=view, form=form, image=image)
        out[i] = replace(
            source,
            product_id=out[i].product_id,
            price=out[i].price,
            in_stock=out[i].in_stock,
            shots=(shot,),
            source=source.shots[0].item_id,
        )
        taken |= {i, j}
    return out


def first_day(items: int, *, seed: int) -> list[Product]:
    """All products of day 1, without faults."""
    rng = rng_for(seed, "day1")
    products: list[Product] = []
    for leaf, rows in zip(LEAVES, leaf_counts(items, rng), strict=True):
        products += _fill(leaf, rows, len(products), seed=seed)
    return _with_copies(products, round(items * COPY_SHARE), rng)


def new_products(rows: int, leaves: Sequence[Leaf], *, seed: int) -> list[Product]:
    """Day 2's new rows: half in the new leaf, half spread over the old ones."""
    rng = rng_for(seed, "day2")
    fresh = _fill(NEW_LEAF, rows - rows // 2, NEW_ID, seed=seed)
    left = rows // 2
    while left > 0:
        leaf = leaves[int(rng.integers(len(leaves)))]
        product = product_for(NEW_ID + len(fresh), leaf, left, seed=seed)
        left -= len(product.shots)
        fresh.append(product)
    return fresh
