"""The same queries asked of two bundles, and those that are answered most differently.

Photos that nothing was trained on, and items that both bundles have, each asked the whole way that
a shopper's query takes. One bundle is in memory at a time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.errors import BadImage
from pipelines.answer_row import Shown
from pipelines.catalogue import read_catalogue
from pipelines.evidence_record import AnswerFacts
from pipelines.golden import SPARE, spread, unseen
from pipelines.progress import progress
from pipelines.settings import Settings
from serving.bundle import Bundle
from serving.engine import Engine, Hit
from serving.photo_file import read_photo

SHOWN = 50  # queries at most
KINDS = ("photos", "items")
FACTS = ["item_id", "title", "category", "image"]  # of a query


@dataclass(frozen=True)
class Query:
    """An item's photo, or the item itself; `image`: where its photo is."""

    kind: str
    item_id: str
    title: str
    category: str
    image: str


@dataclass(frozen=True)
class Changed:
    """A query that is answered otherwise; what is marked only one of the bundles gave."""

    query: Query
    overlap: float  # share of the answers that both give
    rank: int  # of the first answer that is another, from 1
    was: tuple[Shown, ...]  # by where their photos are
    now: tuple[Shown, ...]

    @property
    def rows(self) -> tuple[tuple[Shown, ...], tuple[Shown, ...]]:
        """The champion's answers, and the candidate's."""
        return self.was, self.now


Given = Mapping[str, Shown]  # answers by `item_id`, best first
Answers = dict[Query, Given]


def drawn_photos(settings: Settings, ds: date) -> list[Query]:
    """More than are asked, as some cannot be read; those from the wild first."""
    items = read_catalogue(settings, ds).items
    return [_query("photos", row) for row in unseen(items, SPARE * settings.evidence.photos)]


def drawn_items(settings: Settings, now: pa.Table, was: pa.Table) -> list[Query]:
    """Items that both have, from all over; the same every time."""
    ids = was["item_id"].combine_chunks()
    shared = now.select(FACTS).filter(pc.is_in(now["item_id"], value_set=ids))
    rows = spread(range(len(shared)), settings.evidence.items)
    return [_query("items", row) for row in shared.take(rows).to_pylist()]


def ask(settings: Settings, bundle: Bundle, queries: Iterable[Query]) -> Answers:
    """The first queries of each kind that can be asked, as many as the settings say.

    A photo that cannot be read any more is no query.
    """
    engine = Engine(bundle)
    left = {"photos": settings.evidence.photos, "items": settings.evidence.items}
    found: Answers = {}
    with progress("evidence", sum(left.values())) as advance:
        for query in queries:
            if not left[query.kind]:
                continue
            try:
                hits = _hits(engine, query, settings.root, settings.gate.k)
            except (BadImage, OSError):
                continue
            found[query] = {hit["item_id"]: _shown(engine, hit) for hit in hits}
            left[query.kind] -= 1
            advance()
    return found


def compare(was: Answers, now: Answers) -> tuple[AnswerFacts, list[Changed]]:
    """Of the queries that both answered; what changed most first."""
    pairs = [_changed(query, was[query], now[query]) for query in now if query in was]
    if not pairs:
        return AnswerFacts(), []
    by_kind = {kind: [each for each in pairs if each.query.kind == kind] for kind in KINDS}
    other = [each for each in pairs if [*was[each.query]] != [*now[each.query]]]
    facts = AnswerFacts(
        asked={kind: len(some) for kind, some in by_kind.items()},
        overlap=_mean_overlap(pairs),
        overlaps={kind: _mean_overlap(some) for kind, some in by_kind.items() if some},
        queries_changed=len(other),
    )
    return facts, sorted(other, key=lambda each: (each.overlap, each.rank))[:SHOWN]


def _query(kind: str, row: Mapping[str, Any]) -> Query:
    return Query(kind, **{name: row[name] or "" for name in FACTS})


def _hits(engine: Engine, query: Query, root: Path, k: int) -> list[Hit]:
    if query.kind == "items":
        return engine.similar(query.item_id, k).hits
    return engine.search(read_photo(query.image, root), k).hits


def _shown(engine: Engine, hit: Hit) -> Shown:
    item_id = hit["item_id"]
    image = engine.items.image_of(item_id) or ""
    return Shown(image, hit["title"] or item_id, hit["category"], hit["score"])


def _changed(query: Query, was: Given, now: Given) -> Changed:
    longest = max(len(was), len(now))
    same = [one == other for one, other in zip(was, now, strict=False)]
    return Changed(
        query=query,
        overlap=len(was.keys() & now.keys()) / longest if longest else 1.0,
        rank=1 + (same.index(False) if False in same else len(same)),
        was=_marked(was, now),
        now=_marked(now, was),
    )


def _marked(row: Given, others: Given) -> tuple[Shown, ...]:
    return tuple(replace(shown, marked=item not in others) for item, shown in row.items())


def _mean_overlap(pairs: Sequence[Changed]) -> float:
    return round(float(np.mean([each.overlap for each in pairs])), 4)
