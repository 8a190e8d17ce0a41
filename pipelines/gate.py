"""Say yes or no to the day's index, and name the slice that failed.

    python -m pipelines.gate --ds 2026-11-20

Truth is the exact neighbours in the full embedding, before any reduction, for queries that are
not in the base index: a gate that asks with indexed vectors, or takes its truth after PCA, reads
up to 30 points too high. What the reducer, the embedder's precision and the engine lose are told
apart. Every precision of `embed.precisions` is asked, and the fastest that passes every bound is to
serve; without float32 passing there is none. The verdict is written either way; a no ends with
exit code 3. Cost: 3 s to start, then a matrix product of queries x items.
"""

import json
import time
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import structlog

from model.errors import LookalikeError, Refused, SpaceMismatch
from model.evaluators import Values, hit_rates, lower_bound, recall_by_query
from model.reducer import Reducer
from pipelines.catalogue import Catalogue, read_catalogue
from pipelines.embed import embedding_store
from pipelines.forms import Form, read_forms
from pipelines.index import read_arrow
from pipelines.queries import Queries, read_queries
from pipelines.reduce import read_reducer, space_id
from pipelines.settings import Gate, Settings
from pipelines.step import Outcome, Partition, Report, command, run_step
from serving.bundle import verify
from serving.engine import Engine
from serving.engines import load_index, rebuilt
from serving.exact import ExactIndex
from serving.graph import Precision
from serving.index import MISSING, Index, Rows, Vectors
from serving.ledger import Entry, read_ledger

VERDICT = "verdict.json"

log = structlog.get_logger()
LATENCY_QUERIES, LATENCY_ROUNDS = 300, 3
SELF_MATCH_ITEMS = 20_000
CHURN_QUERIES = 500
MAX_LEAF_CHANCE = 0.3  # where most items are of one category, being right by chance is easy
MAX_LEAF_PRECISION = 0.9
MIN_GAIN = 1.1  # of speed: fewer bits than float32 must earn what they lose
SELF_SCORE_SLACK = 1e-3  # an item's own score is 1 up to quantisation


def run(settings: Settings, ds: date) -> Report:
    """Measure, write the verdict, and raise Refused when it is no."""
    now = _champion_before(settings.root, ds)
    inputs = {
        "index": Partition(settings, "index", ds).done().digest,
        "ingest": Partition(settings, "ingest", ds).done().digest,  # the wild photos
        "space": space_id(settings, ds),
        "champion": now.bundle if now else "",
        "embed": Partition(settings, "embed", ds).done().digest,
        "settings": settings.gate.model_dump_json(),
        "precisions": settings.embed.model_dump_json(),
    }
    report = run_step(
        settings, "gate", ds, inputs=inputs, body=lambda folder: _gate(settings, ds, folder)
    )
    if not report.details["passed"]:
        raise Refused(
            f"The gate refused the index of {ds}: {'; '.join(report.details['failures'])}. "
            f"Production is unchanged. Look at {Partition(settings, 'gate', ds).output / VERDICT}."
        )
    return report


def _gate(settings: Settings, ds: date, folder: Path) -> Outcome:
    bench = Bench.open(settings, ds)
    measured = bench.measure()
    verdicts = [judge({**measured, **bench.ask(form)}, settings.gate) for form in bench.forms]
    verdict = choose(verdicts, bench.absent)
    served = next(form for form in bench.forms if form.precision == verdict["precision"])
    verdict["bytes_per_item"] = Partition(settings, "index", ds).done().details["bytes_per_item"]
    verdict["space_id"] = space_id(settings, ds)
    verdict["churn"] = bench.churn(ds, served)
    (folder / VERDICT).write_text(json.dumps(verdict, indent=1))
    from pipelines.gate_run import log_gate  # MLflow takes seconds to import

    log_gate(settings, ds, verdict)
    overall = verdict["slices"][0] if verdict["slices"] else {}
    return Outcome(
        rows=len(bench.queries),
        details={
            "passed": verdict["passed"],
            "recall": overall.get("recall"),
            "lower_bound": overall.get("lower_bound"),
            "precision": verdict["precision"],
            "p99_ms": verdict["latency_ms"]["p99"],
            "coverage": verdict["coverage"],
            "failures": verdict["failures"],
        },
    )


@dataclass(frozen=True)
class Bench:
    """The index under test, its queries, and both spaces."""

    settings: Settings
    queries: Queries
    catalogue: Catalogue
    index: Index
    base: Vectors  # reduced, [n, d]
    full_base: Vectors  # [n, D]
    full_asked: Vectors  # in float32, [q, D]
    reducer: Reducer
    forms: list[Form]  # float32 first
    absent: dict[Precision, str]  # precisions that were asked for, and why there are none
    items: Any  # Arrow table of all items, base first

    @classmethod
    def open(cls, settings: Settings, ds: date) -> "Bench":
        """Load what `index` wrote for `ds`, as the server will."""
        output = Partition(settings, "index", ds).output
        facts = json.loads((output / "index.json").read_bytes())
        built = Partition(settings, "index", ds).done().details["space_id"]
        if built != space_id(settings, ds):
            raise SpaceMismatch(
                f"The index was built in space {built}, the embedder of {ds} is of "
                f"{space_id(settings, ds)}. Run `python -m pipelines.index --ds {ds}` first."
            )
        items = read_arrow(output / "items.arrow")
        catalogue = read_catalogue(settings, ds)
        queries = read_queries(catalogue, items.slice(facts["base"]), ds)
        store, shards = embedding_store(settings, ds)
        full_base = store.view(shards, items["pixel_key"][: facts["base"]].to_pylist())[:]
        asked_keys = queries.items["pixel_key"].to_pylist()
        full_asked = store.view(shards, asked_keys)[:]
        photos = catalogue.pixels.view(catalogue.shards, asked_keys)
        forms, absent = read_forms(settings, ds, photos, full_asked)
        vectors = np.load(output / "vectors.npy", mmap_mode="r", allow_pickle=False)
        return cls(
            settings=settings,
            queries=queries,
            catalogue=catalogue,
            index=load_index(output / "index", facts["description"]),
            base=vectors[: facts["base"]],
            full_base=full_base,
            full_asked=full_asked,
            reducer=read_reducer(settings, ds),
            forms=forms,
            absent=absent,
            items=items,
        )

    def measure(self) -> dict[str, Any]:
        """The figures that the queries' precision does not touch."""
        return {
            "k": self.settings.gate.k,
            "items": len(self.base),
            "missing_items": self._missing(),
            "latency_ms": self._latency(),
            **self._self_match(),
        }

    def ask(self, form: Form) -> dict[str, Any]:
        """The figures of the answers to queries in this form of the embedder."""
        k, asked = self.settings.gate.k, self.reducer(form.full)
        found, _ = self.index.search(asked, k)
        precise, _ = ExactIndex(self.base).search(asked, k)
        recalls = np.stack([self._reduced, self._recall(precise), self._recall(found)])
        masks = {"all": np.ones(len(self.queries), bool), **self.queries.slices}
        return {
            "precision": form.precision,
            "photos_per_second": form.photos_per_second,
            "cosine": _least_cosine(form.full, self.full_asked),
            "slices": [
                self._slice(name, recalls[:, mask]) for name, mask in masks.items() if mask.any()
            ],
            **self._leaf_precision(found),
            "wild_photos": self._wild_hits(found),
        }

    def churn(self, ds: date, form: Form) -> dict[str, float | None]:
        """Share of the champion's ten answers that are others now, beside that of two builds."""
        k, asked = self.settings.gate.k, self.reducer(form.full[:CHURN_QUERIES])
        found, _ = self.index.search(asked, k)
        again = rebuilt(self.index, self.base)
        noise = 1 - _overlap(found, again.search(asked, k)[0]) if len(asked) else 0.0
        now = _champion_before(self.settings.root, ds)
        if now is None or not len(asked):
            return {"against_champion": None, "noise": round(noise, 4)}
        try:
            engine = Engine(verify(self.settings.root / "bundles" / now.bundle, now.bundle))
        except (LookalikeError, OSError) as error:  # its loss must not block its successor
            log.warning("champion.unreadable", bundle=now.bundle, error=str(error))
            return {"against_champion": None, "noise": round(noise, 4)}
        if str(engine.bundle.pixel_spec) != self.settings.preprocess.pixel_spec:
            return {"against_champion": None, "noise": round(noise, 4)}
        keys = self.queries.items["pixel_key"].to_pylist()[:CHURN_QUERIES]
        photos = self.catalogue.pixels.view(self.catalogue.shards, keys)[:]
        rows, _ = engine.base.search(engine.embedder.embed(photos)[0], k)
        ours, theirs = self._ids(found, self.items), self._ids(rows, engine.items)
        return {"against_champion": round(1 - _overlap(ours, theirs), 4), "noise": round(noise, 4)}

    def _slice(self, name: str, recalls: Values) -> dict[str, Any]:
        """`recalls` [3, queries]: after the reducer, then the precision, then the engine."""
        reduced, precise, recall = recalls.mean(axis=1)
        rounds = self.settings.gate.bootstrap_rounds
        return {
            "slice": name,
            "queries": recalls.shape[1],
            "recall": round(float(recall), 4),
            "lower_bound": round(lower_bound(recalls[-1], rounds), 4),
            "reducer_loss": round(float(1 - reduced), 4),
            "precision_loss": round(float(reduced - precise), 4),
            "engine_loss": round(float(precise - recall), 4),
        }

    @cached_property
    def _truth(self) -> Vectors:
        """Full-space cosines [q, k] of the nearest there are."""
        return ExactIndex(self.full_base).search(self.full_asked, self.settings.gate.k)[1]

    @cached_property
    def _reduced(self) -> Values:
        """Recall of each query where only the reducer loses."""
        asked = self.reducer(self.full_asked)
        return self._recall(ExactIndex(self.base).search(asked, self.settings.gate.k)[0])

    def _recall(self, rows: Rows) -> Values:
        """Of each query, by the full-space cosines of the rows found [q, k]."""
        scores = np.einsum("qd,qkd->qk", self.full_asked, self.full_base[rows])
        found = np.where(rows == MISSING, -np.inf, scores).astype(np.float32)
        return recall_by_query(found, self._truth, self.settings.gate.k)

    def _missing(self) -> int:
        """Items of the day's catalogue that are in neither part of the index."""
        items = self.catalogue.items
        wanted = items.filter(pc.equal(items["kind"], "catalogue"))["item_id"]
        return len(set(wanted.to_pylist()) - set(self.items["item_id"].to_pylist()))

    def _leaf_precision(self, found: Rows) -> dict[str, float]:
        """Share of the answers in the query's own leaf, and what drawing items would give.

        The other figures compare a space with itself: one that learned nothing passes them.
        """
        leaf = np.array(self.items["category"].to_pylist())[: len(self.base)]
        wanted = np.array(self.queries.items["category"].to_pylist())
        known = np.isin(wanted, leaf)
        if not known.any() or not found.shape[1]:
            return {"leaf_precision": 1.0, "leaf_chance": 1.0}
        hit = (leaf[found[known]] == wanted[known, None]) & (found[known] != MISSING)
        share = dict(zip(*np.unique(leaf, return_counts=True), strict=True))
        chance = np.mean([share[name] / len(leaf) for name in wanted[known]])
        return {
            "leaf_precision": round(float(hit.mean()), 4),
            "leaf_chance": round(float(chance), 4),
        }

    def _wild_hits(self, found: Rows) -> dict[str, float]:
        """Is the right product, or at least its leaf, among the first answers to a wild photo?"""
        wild = self.queries.slices.get("wild")
        if wild is None:
            return {}
        rows, hits = found[wild], {}
        for name, column in (("product", "product_id"), ("leaf", "category")):
            indexed = np.array(self.items[column].to_pylist()[: len(self.base)])
            wanted = np.array(self.queries.items[column].to_pylist())[wild]
            known = np.isin(wanted, indexed)
            if known.any():
                hits[f"{name}_queries"] = float(known.sum())
                names = np.where(rows[known] == MISSING, "", indexed[rows[known]])
                for measure, value in hit_rates(names, wanted[known]):
                    hits[f"{name}_{measure}"] = round(value, 4)
        return hits

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

    def _self_match(self) -> dict[str, float]:
        """Coverage: an item is among its own ten nearest, or something equal is. Rank 1 alike."""
        step = max(1, len(self.base) // SELF_MATCH_ITEMS)
        own = np.ascontiguousarray(self.base[::step])
        asked = own.any(axis=1)  # a vector of zeros has no direction: nobody finds it
        rows, _ = self.index.search(own[asked], self.settings.gate.k)
        scores = np.einsum("qd,qkd->qk", own[asked], self.base[rows])
        same = (scores > 1 - SELF_SCORE_SLACK) & (rows != MISSING)
        return {
            "coverage": round(float(same.any(axis=1).sum() / len(own)), 5),
            "self_match": round(float(same[:, 0].sum() / len(own)), 5),
        }

    def _ids(self, rows: Rows, items: Any) -> npt.NDArray[np.str_]:
        return np.asarray(np.array(items["item_id"].to_pylist())[rows])


def judge(measured: dict[str, Any], gate: Gate) -> dict[str, Any]:
    """Add `passed`, and `failures` as sentences that name the slice, the figure and the bound."""
    failures = []
    for row in measured["slices"]:
        bound = gate.min_recall if row["slice"] == "all" else gate.min_slice_recall
        judged = row["slice"] == "all" or row["queries"] >= gate.slice_queries
        row |= {"bound": bound, "judged": judged}
        if judged and row["lower_bound"] < bound:
            failures.append(
                f"slice `{row['slice']}`: recall@{measured['k']} is at least "
                f"{row['lower_bound']:.3f}, expected {bound:.2f} (reducer loses "
                f"{row['reducer_loss']:.3f}, {measured['precision']} {row['precision_loss']:.3f}, "
                f"engine {row['engine_loss']:.3f})"
            )
    asked = sum(row["queries"] for row in measured["slices"] if row["slice"] == "all")
    if asked < gate.min_queries and measured["items"] >= gate.judge_from_items:
        failures.append(
            f"{asked} queries for {measured['items']} items, expected at least {gate.min_queries}: "
            f"give some products the split `test`, or raise `index.held_out_share`"
        )
    if measured["missing_items"]:
        failures.append(f"{measured['missing_items']} items of the catalogue are not in the index")
    needed = min(gate.min_leaf_lift * measured["leaf_chance"], MAX_LEAF_PRECISION)
    easy = measured["leaf_chance"] >= MAX_LEAF_CHANCE
    if asked >= gate.slice_queries and not easy and measured["leaf_precision"] < needed:
        failures.append(
            f"{measured['leaf_precision']:.3f} of the answers are of the query's category, "
            f"expected {needed:.3f}: the embedder knows little more than chance"
        )
    for name in ("coverage", "self_match"):
        if measured[name] < gate.min_self_match:
            failures.append(f"{name} is {measured[name]:.4f}, expected {gate.min_self_match}")
    if measured["latency_ms"]["p99"] > gate.max_p99_ms:
        failures.append(
            f"p99 of one search is {measured['latency_ms']['p99']} ms, expected at most "
            f"{gate.max_p99_ms}"
        )
    return {"passed": not failures, "failures": failures, **measured}


def choose(verdicts: list[dict[str, Any]], absent: dict[Precision, str]) -> dict[str, Any]:
    """The verdict on the fastest precision that passes, and `precisions`: every one beside it.

    The first is that on float32: where it fails, the day does, as the others only come near it,
    and it stays where another is hardly faster.
    """
    exact, *others = verdicts
    enough = MIN_GAIN * exact["photos_per_second"]
    good = [each for each in others if each["passed"] and each["photos_per_second"] >= enough]
    fastest = max(good, key=lambda each: float(each["photos_per_second"]), default=exact)
    chosen = fastest if exact["passed"] else exact
    columns = ("precision", "passed", "failures", "photos_per_second", "cosine", "slices")
    tried = [{name: verdict[name] for name in columns} for verdict in verdicts]
    tried += [
        {"precision": precision, "passed": False, "failures": [why], "photos_per_second": None,
         "cosine": None, "slices": []}
        for precision, why in absent.items()
    ]  # fmt: skip
    return {**chosen, "precisions": tried}


def _champion_before(root: Path, ds: date) -> Entry | None:
    """What served when no bundle of this day or a later one had: the same before and after it."""
    earlier = list(takewhile(lambda entry: entry.ds < ds, read_ledger(root)))
    return earlier[-1] if earlier else None


def _least_cosine(first: Vectors, second: Vectors) -> float | None:
    """Over the rows of two arrays of unit vectors."""
    if not len(first):
        return None
    return round(float(np.einsum("nd,nd->n", first, second).min()), 5)


def _overlap(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Mean share of each row of `first` that is in the same row of `second`."""
    pairs = zip(first, second, strict=True)
    return float(np.mean([np.isin(one, other).mean() for one, other in pairs]))


if __name__ == "__main__":
    command(run)
