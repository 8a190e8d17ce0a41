"""The index under test, its queries, and both spaces: what the gate measures, and how.

Every search is asked three times: in the reduced space exactly, once with float32's queries and
once with those of the precision, and then of the engine. So each loss has its own figure.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from model.errors import BadInput, SpaceMismatch
from model.evaluators import Values, lower_bound, recall_by_query
from model.reducer import Reducer
from pipelines.catalogue import Catalogue, read_catalogue
from pipelines.champion_answers import Champion, ask_champion, churn
from pipelines.content_store import View
from pipelines.embed import embedding_store
from pipelines.forms import Form, embed_again, read_forms
from pipelines.index import read_arrow
from pipelines.integrity import (
    differing,
    missing_items,
    own_photos,
    repeated_items,
    self_match,
    unknown_items,
    wrong_vectors,
)
from pipelines.queries import Queries, read_filters, read_queries
from pipelines.reduce import read_reducer, space_id
from pipelines.right_answers import RightAnswers
from pipelines.settings import Settings
from pipelines.step import Partition
from pipelines.truth import Photos, Truth, full_truth
from pipelines.verdict import ALL, Answers, Health, Slice
from serving.engines import load_index, rebuilt
from serving.exact import ExactIndex
from serving.filtered import Filtered, Mask
from serving.graph import Precision
from serving.index import MISSING, Index, Rows, Vectors

LATENCY_QUERIES, LATENCY_ROUNDS = 300, 3
SAMPLED_PHOTOS = 256  # embedded again
NOISE_QUERIES = 1000


@dataclass(frozen=True)
class Asked:
    """The answers to all queries in one form, and the recall [3, q] after each stage."""

    form: Form
    rows: Rows  # [q, k] of the base
    recalls: Values  # after the reducer, then the precision, then the engine
    answers: Answers


@dataclass(frozen=True)
class Bench:
    """One day's index beside everything that it is judged by."""

    settings: Settings
    ds: date
    catalogue: Catalogue
    queries: Queries
    items: pa.Table  # all items, base first
    keys: list[str]  # of the photos of `items`, as the catalogue has them
    index: Index  # over the base
    vectors: Vectors  # reduced, of `items`, [items, d]
    full: Vectors  # of their photos, [items, D]
    full_asked: Vectors  # of the queries, in float32, [q, D]
    reducer: Reducer
    forms: list[Form]  # float32 first
    absent: dict[Precision, str]  # precisions that were asked for, and why there are none

    @classmethod
    def open(cls, settings: Settings, ds: date) -> "Bench":
        """Load what `index` wrote for `ds`, as the server will.

        Raises SpaceMismatch for an index of another space, BadInput for one of other rows.
        """
        output = Partition(settings, "index", ds).output
        facts = json.loads((output / "index.json").read_bytes())
        built = Partition(settings, "index", ds).done().details["space_id"]
        if built != space_id(settings, ds):
            raise SpaceMismatch(
                f"The index was built in space {built}, the embedder of {ds} is of "
                f"{space_id(settings, ds)}. Run `python -m pipelines.index --ds {ds}` first."
            )
        items = read_arrow(output / "items.arrow")
        index = load_index(output / "index", facts["description"])
        vectors = np.load(output / "vectors.npy", mmap_mode="r", allow_pickle=False)
        if (len(index), len(vectors)) != (facts["base"], len(items)):
            raise BadInput(
                f"The index of {ds} is of other rows than its items. Expected {facts['base']} in "
                f"the index and {len(items)} vectors. Received {len(index)} and {len(vectors)}. "
                f"Run `python -m pipelines.index --ds {ds}` again."
            )
        catalogue = read_catalogue(settings, ds)
        queries = read_queries(catalogue, items.slice(facts["base"]), ds)
        keys = own_photos(catalogue.items, items)
        store, shards = embedding_store(settings, ds)
        asked_keys = queries.items["pixel_key"].to_pylist()
        full_asked = store.view(shards, asked_keys)[:]
        photos = catalogue.pixels.view(catalogue.shards, asked_keys)
        forms, absent = read_forms(settings, ds, photos, full_asked)
        return cls(
            settings=settings,
            ds=ds,
            catalogue=catalogue,
            queries=queries,
            items=items,
            keys=keys,
            index=index,
            vectors=vectors,
            full=store.view(shards, keys)[:],
            full_asked=full_asked,
            reducer=read_reducer(settings, ds),
            forms=forms,
            absent=absent,
        )

    @property
    def base(self) -> Vectors:
        return self.vectors[: len(self.index)]

    @property
    def full_base(self) -> Vectors:
        return self.full[: len(self.index)]

    def health(self) -> Health:
        """The figures that the queries' precision does not touch."""
        leaves = self.items["category"].to_pylist()[: len(self.index)]
        coverage, own, lost = self_match(self.index, self.base, leaves, self.settings.gate.k)
        sampled = np.linspace(0, len(self.items) - 1, min(len(self.items), SAMPLED_PHOTOS))
        return Health(
            k=self.settings.gate.k,
            items=len(self.index),
            missing=missing_items(self.catalogue.items, self.items),
            unknown_items=unknown_items(self.catalogue.items, self.items),
            repeated_items=repeated_items(self.items),
            wrong_vectors=wrong_vectors(self.vectors, self.full, self.reducer),
            stale_photos=self._stale(sampled.astype(np.int64)),
            sampled_photos=len(sampled),
            coverage=coverage,
            self_match=own,
            lost=lost,
            latency_ms=self._latency(),
        )

    def ask(self, form: Form) -> Asked:
        """The figures of the answers to queries in this form of the embedder."""
        k, asked = self.settings.gate.k, self.reducer(form.full)
        rows, _ = self.index.search(asked, k)
        precise, _ = ExactIndex(self.base).search(asked, k)
        recalls = np.stack([self._reduced, self._recall(precise), self._recall(rows)])
        labels = RightAnswers(self.items.slice(0, len(self.index)), self.queries)
        right = labels.of_leaf(rows)
        known = ~np.isnan(right)
        rounds = self.settings.gate.bootstrap_rounds
        answers = Answers(
            precision=form.precision,
            photos_per_second=form.photos_per_second,
            cosine=_least_cosine(form.full, self.full_asked),
            slices=(*self._slices(recalls), *self._filtered(asked)),
            rivals=self.champion.rivals(self.queries, right, rounds) if self.champion else (),
            leaf_precision=round(float(right[known].mean()), 4) if known.any() else 1.0,
            leaf_chance=round(labels.chance(known), 4) if known.any() else 1.0,
            wild_photos=dict(labels.wild_hits(rows)),
        )
        return Asked(form, rows, recalls, answers)

    def churn(self, asked: Asked) -> dict[str, float | None]:
        """Share of the champion's answers that are others now, and what of it is the build's luck.

        `noise` is the same share between two builds of this day's index, `net` what is left of the
        change without it; `recall` and `recall_again` are the two builds' on the same queries.
        """
        k, some = self.settings.gate.k, slice(NOISE_QUERIES)
        again = rebuilt(self.index, self.base)
        rows = asked.rows[some]
        second, _ = again.search(self.reducer(asked.form.full[some]), k)
        noise = churn(rows.astype(str), second.astype(str))
        figures: dict[str, float | None] = {
            "against_champion": None,
            "noise": round(noise, 4),
            "net": None,
            "recall": _mean(asked.recalls[-1][some]),
            "recall_again": _mean(self._recall(second)),
        }
        if self.champion is not None:
            ours = self._ids(asked.rows[self.champion.asked])
            changed = churn(ours, self.champion.ids)
            figures |= {
                "against_champion": round(changed, 4),
                "net": round(max(0.0, changed - noise), 4),
            }
        return figures

    @cached_property
    def truth(self) -> Truth:
        """The nearest there are in the full space."""
        return self._truth(np.ones(len(self.index), bool))

    @cached_property
    def champion(self) -> Champion | None:
        return ask_champion(self.settings, self.ds, self.catalogue, self.queries)

    def _truth(self, allowed: Mask) -> Truth:
        """Among the allowed rows of the base; its own rows count these alone."""
        embedder = str(Partition(self.settings, "embed", self.ds).done().details["embedder"])
        return full_truth(
            self.settings.root,
            f"{self.settings.preprocess.pixel_spec} {embedder}",
            Photos(self.queries.items["pixel_key"].to_pylist(), self.full_asked),
            Photos([self.keys[row] for row in np.flatnonzero(allowed)], self.full_base[allowed]),
            self.settings.gate.k,
        )

    @cached_property
    def _reduced(self) -> Values:
        """Recall of each query where only the reducer loses."""
        asked = self.reducer(self.full_asked)
        return self._recall(ExactIndex(self.base).search(asked, self.settings.gate.k)[0])

    def _recall(self, rows: Rows, truth: Truth | None = None) -> Values:
        """Of each of the first queries, by the full-space cosines of the rows found [<= q, k]."""
        asked, nearest = self.full_asked[: len(rows)], (truth or self.truth).scores[: len(rows)]
        scores = np.einsum("qd,qkd->qk", asked, self.full_base[rows])
        found = np.where(rows == MISSING, -np.inf, scores).astype(np.float32)
        return recall_by_query(found, nearest, self.settings.gate.k)

    def _slices(self, recalls: Values) -> Iterator[Slice]:
        masks = {ALL: np.ones(len(self.queries), bool), **self.queries.slices}
        for name, mask in masks.items():
            if mask.any():
                yield self._slice(name, recalls[:, mask])

    def _filtered(self, asked: Vectors) -> Iterator[Slice]:
        """All queries again, among few items: the engine must not run out of answers."""
        if not len(asked):
            return
        k, exact = self.settings.gate.k, self.reducer(self.full_asked)
        for name, (allowed, truth) in self._filters.items():
            rows = np.flatnonzero(allowed).astype(np.int32)
            among = ExactIndex(np.ascontiguousarray(self.base[rows]))
            stages = (
                rows[among.search(exact, k)[0]],
                rows[among.search(asked, k)[0]],
                Filtered(self.index, self.base, allowed).search(asked, k)[0],
            )
            yield self._slice(name, np.stack([self._recall(found, truth) for found in stages]))

    @cached_property
    def _filters(self) -> dict[str, tuple[Mask, Truth]]:
        ids = self.items["item_id"].to_pylist()[: len(self.index)]
        masks = read_filters(ids, self.settings.gate.k)
        return {name: (mask, self._truth(mask)) for name, mask in masks.items()}

    def _slice(self, name: str, recalls: Values) -> Slice:
        """`recalls` [3, queries]: after the reducer, then the precision, then the engine."""
        reduced, precise, recall = recalls.mean(axis=1)
        return Slice(
            slice=name,
            queries=recalls.shape[1],
            recall=round(float(recall), 4),
            lower_bound=round(lower_bound(recalls[-1], self.settings.gate.bootstrap_rounds), 4),
            reducer_loss=round(float(1 - reduced), 4),
            precision_loss=round(float(reduced - precise), 4),
            engine_loss=round(float(precise - recall), 4),
        )

    def _latency(self) -> dict[str, float]:
        """Milliseconds of one search for one query, engine alone."""
        asked = self.reducer(self.full_asked) if len(self.queries) else self.base
        rounds = []
        for _ in range(LATENCY_ROUNDS):
            times = []
            for query in asked[np.arange(LATENCY_QUERIES) % len(asked)]:
                started = time.perf_counter()
                self.index.search(query[None], self.settings.gate.k)
                times.append(1000 * (time.perf_counter() - started))
            rounds.append((float(np.quantile(times, 0.99)), float(np.median(times))))
        p99, p50 = min(rounds)  # a busy neighbour must not refuse a day
        return {"p50": round(p50, 3), "p99": round(p99, 3)}

    def photos(self, keys: Sequence[str]) -> npt.NDArray[np.uint8]:
        """Canonical pixels [keys, side, side, 3]."""
        return self._photos(keys)[:]

    def _photos(self, keys: Sequence[str]) -> View:
        return self.catalogue.pixels.view(self.catalogue.shards, keys)

    def _stale(self, rows: npt.NDArray[np.int64]) -> int:
        """Photos of these items whose stored embedding is not what the embedder makes of them."""
        photos = self._photos([self.keys[row] for row in rows])
        return differing(embed_again(self.settings, self.ds, photos), self.full[rows])

    def _ids(self, rows: Rows) -> npt.NDArray[np.str_]:
        return np.array([*self.items["item_id"].to_pylist()[: len(self.index)], ""])[rows]


def _least_cosine(first: Vectors, second: Vectors) -> float | None:
    """Over the rows of two arrays of unit vectors."""
    if not len(first):
        return None
    return round(float(np.einsum("nd,nd->n", first, second).min()), 5)


def _mean(values: Values) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None
