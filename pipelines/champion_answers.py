"""The bundle that serves, asked with the gate's queries: what would change, and for the worse?"""

from dataclasses import dataclass
from datetime import date
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog

from model.errors import LookalikeError
from model.evaluators import Values, lower_bound
from pipelines.catalogue import Catalogue
from pipelines.queries import Queries
from pipelines.settings import Settings
from pipelines.verdict import ALL, Rival
from serving.bundle import verify
from serving.engine import Engine
from serving.ledger import Entry, read_ledger

MAX_QUERIES = 1000

Ids = npt.NDArray[np.str_]

log = structlog.get_logger()


def champion_before(root: Path, ds: date) -> Entry | None:
    """What served when no bundle of this day or a later one had: the same before and after it."""
    serving = (entry for entry in read_ledger(root) if entry.serves)
    earlier = list(takewhile(lambda entry: entry.ds < ds, serving))
    return earlier[-1] if earlier else None


@dataclass(frozen=True)
class Champion:
    """Its answers to some of the queries."""

    asked: npt.NDArray[np.int64]  # which of the queries, [c]
    ids: Ids  # of the items that it gave, [c, <= k]
    right: Values  # share of them in the query's own category today, [c]; NaN: it has none such

    def rivals(self, queries: Queries, ours: Values, rounds: int) -> tuple[Rival, ...]:
        """Each slice's share of right answers beside `ours` [q], which is NaN where unknown."""
        mine = ours[self.asked]
        known = ~(np.isnan(mine) | np.isnan(self.right))
        masks = {ALL: np.ones(len(queries), bool), **queries.slices}
        chosen = {name: mask[self.asked] & known for name, mask in masks.items()}
        return tuple(
            Rival(
                slice=name,
                queries=int(rows.sum()),
                leaf_precision=round(float(mine[rows].mean()), 4),
                champion=round(float(self.right[rows].mean()), 4),
                gain_at_most=round(0 - lower_bound((self.right - mine)[rows], rounds), 4),
            )
            for name, rows in chosen.items()
            if rows.any()
        )


def ask_champion(
    settings: Settings, ds: date, catalogue: Catalogue, queries: Queries
) -> Champion | None:
    """None where nothing served, or what did cannot be asked with these photos."""
    now = champion_before(settings.root, ds)
    if now is None or not len(queries):
        return None
    try:
        engine = Engine(verify(settings.root / "bundles" / now.bundle, now.bundle))
    except (LookalikeError, OSError) as error:  # its loss must not block its successor
        log.warning("champion.unreadable", bundle=now.bundle, error=str(error))
        return None
    if str(engine.bundle.pixel_spec) != settings.preprocess.pixel_spec:
        return None
    asked = np.linspace(0, len(queries) - 1, min(len(queries), MAX_QUERIES)).astype(np.int64)
    items = queries.items.take(asked)
    photos = catalogue.pixels.view(catalogue.shards, items["pixel_key"].to_pylist())[:]
    ids = _ids(engine, photos, items["item_id"].to_pylist(), settings.gate.k)
    return Champion(asked, ids, _right(engine, ids, catalogue, items["category"].to_pylist()))


def churn(ours: Ids, theirs: Ids) -> float:
    """Mean share of each row of `ours` that is not in the same row of `theirs`."""
    if not ours.size:
        return 0.0
    pairs = zip(ours, theirs, strict=True)
    return float(np.mean([~np.isin(one, other) for one, other in pairs]))


def _ids(engine: Engine, photos: npt.NDArray[np.uint8], own: list[str], k: int) -> Ids:
    """The champion's first k answers, without the item asked with, which may be in its index."""
    rows, _ = engine.index.base.search(engine.embedder.embed(photos)[0], k + 1)
    names = engine.items.table["item_id"].to_pylist()
    ids = np.array([*names, ""])[rows]  # the last for MISSING, -1
    others = np.argsort(ids == np.array(own)[:, None], axis=1, kind="stable")[:, :k]
    return np.asarray(np.take_along_axis(ids, others, axis=1))


def _right(engine: Engine, ids: Ids, catalogue: Catalogue, wanted: list[str]) -> Values:
    """Categories are today's: they may have moved since the champion was made."""
    columns = (engine.items.table[name].to_pylist() for name in ("item_id", "category"))
    leaf_of: dict[str, Any] = dict(zip(*columns, strict=True))
    leaf_of |= dict(
        zip(
            catalogue.items["item_id"].to_pylist(),
            catalogue.items["category"].to_pylist(),
            strict=True,
        )
    )
    there = {leaf_of[item] for item in engine.items.table["item_id"].to_pylist()}
    shares = [
        np.mean([leaf_of.get(item) == leaf for item in row]) if leaf in there else np.nan
        for row, leaf in zip(ids.tolist(), wanted, strict=True)
    ]
    return np.array(shares, np.float64)
