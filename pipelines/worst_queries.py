"""The queries that lost most: what was nearest to them in the full space, and what they got."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model.evaluators import TIE
from pipelines.answer_row import Shown
from pipelines.gate_bench import Asked, Bench
from serving.index import MISSING

SHOWN = 12
KINDS = ("wild", "new", "held-out")


@dataclass(frozen=True)
class Worst:
    """One query: its photo, the true neighbours, and those that the index gave."""

    asked: Shown
    kind: str
    recalls: tuple[float, float, float]  # after the reducer, then the precision, then the engine
    nearest: tuple[Shown, ...]
    given: tuple[Shown, ...]


def worst_queries(bench: Bench, asked: Asked, count: int = SHOWN) -> list[Worst]:
    """Those of least recall, the least first; without those that got all they should."""
    recall = asked.recalls[-1]
    order = np.argsort(recall, kind="stable")[:count]
    named = {row["item_id"]: row for row in _named(bench)}
    return [_worst(bench, asked, int(query), named) for query in order if recall[query] < 1]


def _named(bench: Bench) -> list[dict[str, Any]]:
    columns = bench.catalogue.items.select(["item_id", "title", "category"])
    return [dict(row) for row in columns.to_pylist()]


def _worst(bench: Bench, asked: Asked, query: int, named: Mapping[str, Mapping[str, Any]]) -> Worst:
    rows, truth = asked.rows[query], bench.truth.rows[query]
    rows = rows[rows != MISSING]
    cosines = bench.full_base[rows] @ bench.full_asked[query]
    far = cosines < bench.truth.scores[query, -1] - TIE
    item = bench.queries.items.slice(query, 1).to_pylist()[0]
    after = asked.recalls[:, query].tolist()
    return Worst(
        asked=_shown(item["item_id"], item["pixel_key"], 1.0, named),
        kind=next((kind for kind in KINDS if _is(bench, kind, query)), ""),
        recalls=(after[0], after[1], after[2]),
        nearest=_row(bench, truth, bench.truth.scores[query], _missed(truth, rows, far), named),
        given=_row(bench, rows, cosines, far, named),
    )


def _is(bench: Bench, kind: str, query: int) -> bool:
    mask = bench.queries.slices.get(kind)
    return mask is not None and bool(mask[query])


def _missed(
    truth: npt.NDArray[np.int32], rows: npt.NDArray[np.int32], far: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Of the true neighbours those not given; one for which an equal came is not missed."""
    missed = ~np.isin(truth, rows)
    misses = len(truth) - int((~far).sum())
    return missed & (np.cumsum(missed) <= misses)


def _row(
    bench: Bench,
    rows: npt.NDArray[np.int32],
    cosines: npt.NDArray[np.float32],
    marked: npt.NDArray[np.bool_],
    named: Mapping[str, Mapping[str, Any]],
) -> tuple[Shown, ...]:
    ids = bench.items["item_id"].take(rows).to_pylist()
    return tuple(
        _shown(item, bench.keys[row], float(cosine), named, marked=bool(mark))
        for item, row, cosine, mark in zip(ids, rows, cosines, marked, strict=True)
    )


def _shown(
    item_id: str,
    key: str,
    cosine: float,
    named: Mapping[str, Mapping[str, Any]],
    *,
    marked: bool = False,
) -> Shown:
    facts = named.get(item_id, {})
    return Shown(
        key, facts.get("title") or item_id, facts.get("category") or "", round(cosine, 3), marked
    )
