"""What Prometheus sees. One set of metrics for each server, in its own registry.

BentoML's own request metrics are off: they keep a series for every path, so for every item id.
"""

import os
from collections.abc import Callable, Mapping
from functools import partial
from itertools import product

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    values,
)

from model.pixels import REASONS
from serving.ledger import Entry
from serving.limits import SHED_CODES
from serving.tally import OUTCOMES

METRICS_TYPE = CONTENT_TYPE_LATEST
STAGES = ("decode", "embed", "search", "total")
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)

# BentoML asks for values in files, in a folder that the user's next `bentoml serve` wipes. A server
# is one process: its values stay in memory.
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Counters and gauges, each from its first scrape on, so that a rate never starts late."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        counter = partial(Counter, namespace="lookalike", registry=registry)
        gauge = partial(Gauge, namespace="lookalike", registry=registry)
        histogram = partial(Histogram, namespace="lookalike", registry=registry)

        self.requests = counter("requests", "Answers by route and status.", ["route", "status"])
        stages = "Seconds of each stage of a search; `total` is the whole request."
        self.stages = histogram("stage_seconds", stages, ["stage"], buckets=BUCKETS)
        self.shed = counter("shed_requests", "Requests turned away or given up.", ["code"])
        self.sign_ins = counter("sign_ins", "Keys shown to begin a session.", ["outcome"])
        self.rejected_images = counter("rejected_images", "Query photos refused.", ["reason"])

        self.failed_loads = counter("failed_bundle_loads", "Bundles that could not be loaded.")
        self.refused = gauge("bundle_refused", "1 while the promoted bundle cannot serve.")
        self.ready = gauge("ready", "1 while a bundle serves.")
        self.bundle = gauge("bundle_info", "The bundle that serves.", ["digest", "version"])
        self.items = gauge("items", "Items in the bundle that serves.")
        self.index_age = gauge("index_age_seconds", "Since the serving bundle was made.")

        rollout = "Answers while a candidate is beside the champion, by bundle and outcome."
        self.rollout = counter("rollout_answers", rollout, ["bundle", "outcome"])
        overlap = "Share of the champion's answers that the candidate in shadow gives too."
        self.overlap = histogram("rollout_overlap", overlap, buckets=SHARES)
        self.candidate = gauge("candidate_info", "The candidate.", ["digest", "version", "mode"])

        batches = "Questions that were answered together."
        self.batches = histogram("batch_size", batches, ["stage"], buckets=SIZES)
        self.queued = gauge("queued", "Questions that wait before a stage.", ["stage"])
        self.empty = counter("empty_answers", "Answers without a single item.")

        freshness = "From the commit of a change of an item until it is found."
        self.freshness = histogram("change_seconds", freshness, buckets=BUCKETS)
        self.delta = gauge("delta_rows", "Rows that came or went since the bundle.")
        self.lost_changes = counter("lost_changes", "Changes that could not be applied.")

        self._requests: dict[tuple[str, int], Counter] = {}
        self._stage = {stage: self.stages.labels(stage) for stage in STAGES}
        for reason in REASONS:
            self.rejected_images.labels(reason)
        for code in SHED_CODES:
            self.shed.labels(code)
        for outcome in ("accepted", "refused"):
            self.sign_ins.labels(outcome)
        for bundle, outcome in product(("champion", "candidate"), OUTCOMES):
            self.rollout.labels(bundle, outcome)

    def queue(self, stage: str, length: Callable[[], float]) -> None:
        self.queued.labels(stage).set_function(length)

    def answered(self, route: str, status: int) -> None:
        key = (route, status)
        if key not in self._requests:  # finding a series by its labels takes four times as long
            self._requests[key] = self.requests.labels(route, str(status))
        self._requests[key].inc()

    def took(self, seconds: Mapping[str, float]) -> None:
        """Of one request, in each stage."""
        for stage, spent in seconds.items():
            self._stage[stage].observe(spent)

    def changed(self, seconds: float, rows: int) -> None:
        """A change of an item is found now; so many rows came or went."""
        self.freshness.observe(seconds)
        self.delta.set(rows)

    def serving(self, digest: str, version: str, items: int, age: Callable[[], float]) -> None:
        self.bundle.clear()
        self.bundle.labels(digest, version).set(1)
        self.items.set(items)
        self.index_age.set_function(age)
        self.ready.set(1)

    def beside(self, entry: Entry | None) -> None:
        """The candidate from now on; None: there is none."""
        self.candidate.clear()
        if entry is not None:
            self.candidate.labels(entry.bundle, entry.version, entry.action).set(1)

    def text(self) -> bytes:
        return generate_latest(self._registry)
