"""Planted faults, which a run must quarantine, and oddities, which it must accept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipelines.sample.plan import SUFFIX, Product, Shot

FAULT_SHARE = 0.005  # of day 1's rows
MAX_FAULT_SHARE = 0.008
ROW_FAULTS = (
    "missing_item_id",
    "duplicate_item_id",
    "missing_category",
    "cyclic_category",
    "bad_price",
)
IMAGE_FAULTS = (
    "image_missing",
    "image_empty",
    "image_truncated",
    "image_not_an_image",
    "image_animated",
    "image_too_many_pixels",
)
# Interleaved so that a small catalogue gets some of both.
KINDS = (
    "missing_category", "image_truncated", "bad_price", "image_not_an_image", "duplicate_item_id",
    "image_empty", "missing_item_id", "image_missing", "cyclic_category", "image_animated",
    "image_too_many_pixels",
)  # fmt: skip
ODDITIES = ("cmyk", "gray16", "palette", "exif")
ODDITY_ROWS = 1500  # one of each oddity for every so many rows, and at least one


def fault_reasons(items: int) -> list[str]:
    """The faults to plant in so many rows, one entry a row."""
    room = int(items * MAX_FAULT_SHARE)
    wanted = min(max(round(items * FAULT_SHARE), len(KINDS)), room)
    return [KINDS[i % len(KINDS)] for i in range(wanted)]


def _marked(shot: Shot, form: str) -> Shot:
    """The photo encoded in another form, its file name's ending changed where it must be."""
    suffix = SUFFIX.get(form, "jpg")
    return replace(shot, form=form, image=f"{shot.image.rsplit('.', 1)[0]}.{suffix}")


def _candidates(products: Sequence[Product], rng: np.random.Generator) -> list[str]:
    """Catalogue photos that nothing else depends on, from leaves that can spare one."""
    sources = {p.source for p in products}
    rows: dict[str, int] = {}
    for p in products:
        rows[p.leaf.path] = rows.get(p.leaf.path, 0) + len(p.shots)
    middle = float(np.median(list(rows.values())))
    ids = [
        shot.item_id
        for p in products[1:]  # the first row stays good: a duplicate needs an earlier one
        if p.source is None and rows[p.leaf.path] >= middle
        for shot in p.shots
        if shot.view != "wild" and shot.item_id not in sources
    ]
    return [ids[int(i)] for i in rng.permutation(len(ids))]


def plant(
    products: Sequence[Product], rng: np.random.Generator
) -> tuple[list[Product], dict[str, str], dict[str, str]]:
    """Products with bad and odd photos; reasons of faults and of oddities by item id."""
    items = sum(len(p.shots) for p in products)
    free = _candidates(products, rng)
    reasons = fault_reasons(items)
    faults = dict(zip(free, reasons, strict=False))
    each = max(items // ODDITY_ROWS, 1)
    odd = dict(zip(free[len(reasons) :], ODDITIES * each, strict=False))
    forms = odd | {k: v for k, v in faults.items() if v in IMAGE_FAULTS}
    out = []
    for product in products:
        shots = [_marked(s, forms[s.item_id]) if s.item_id in forms else s for s in product.shots]
        out.append(replace(product, shots=tuple(shots)))
    return out, faults, odd
