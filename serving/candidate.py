"""A candidate beside the champion: it answers a share of the traffic, and both are counted.

In shadow nobody sees its answers: a share of what the champion has answered is asked again, in one
thread and with no more than WAITING questions before it, as shoppers come first. In canary it
answers a share of the shoppers itself; what fails there, the champion answers instead.
"""

import random
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import structlog

from model.errors import LookalikeError
from serving.engine import Engine, Found
from serving.items import UnknownItem
from serving.loaded import Loaded
from serving.metrics import Metrics
from serving.tally import Outcome, Tally

WAITING = 32  # questions in shadow; more are passed by
SHOPPER = b"x-lookalike-shopper"  # a header: requests with one value get one bundle's answers

Again = Callable[[Engine], Found]
Headers = Sequence[tuple[bytes, bytes]]

log = structlog.get_logger()


class Candidate:
    """A loaded bundle in shadow or canary, from the decision that made it so."""

    def __init__(self, loaded: Loaded, metrics: Metrics) -> None:
        self.loaded = loaded
        self.champion, self.own = Tally(), Tally()
        self._metrics = metrics
        self._shadow = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._lock = Lock()
        self._waiting = self._passed_by = self._compared = 0
        self._overlap = 0.0

    @property
    def in_canary(self) -> bool:
        return self.loaded.entry.action == "canary"

    def close(self) -> None:
        self._shadow.shutdown(wait=False, cancel_futures=True)

    def takes(self, headers: Headers) -> bool:
        """Does the candidate answer this request? Always the same for one shopper."""
        if not self.in_canary:
            return False
        return self._drawn(next((value for name, value in headers if name == SHOPPER), None))

    def answered(self, seconds: float, found: Found) -> None:
        """By the candidate, for a shopper."""
        self._count("candidate", self.own, "answered" if found else "empty", seconds)

    def failed(self, error: Exception) -> None:
        """For a shopper, whom the champion answers now."""
        unknown = isinstance(error, UnknownItem)
        if not unknown:
            log.error("candidate.failed", bundle=self.loaded.digest, error=repr(error))
        self._count("candidate", self.own, "unknown" if unknown else "failed")

    def compare(self, by: Engine, found: Found, seconds: float, again: Again) -> None:
        """The champion `by` has answered; in shadow the candidate is asked `again` some time."""
        self._count("champion", self.champion, "answered" if found else "empty", seconds)
        if self.in_canary or not self._drawn(None):
            return
        with self._lock:
            if self._waiting >= WAITING:
                self._passed_by += 1
                return
            self._waiting += 1
        try:
            self._shadow.submit(self._ask_again, [by.items.id_of(row) for row, _ in found], again)
        except RuntimeError:  # closed meanwhile
            return

    def facts(self) -> dict[str, Any]:
        """What a rollout decides by."""
        with self._lock:
            compared, overlap, passed_by = self._compared, self._overlap, self._passed_by
        return {
            "champion": self.champion.facts(),
            "candidate": self.own.facts(),
            "compared": compared,
            "overlap": round(overlap / compared, 4) if compared else None,
            "passed_by": passed_by,
        }

    def _drawn(self, shopper: bytes | None) -> bool:
        share = self.loaded.entry.share
        if shopper is None:
            return random.random() < share
        return zlib.crc32(self.loaded.digest.encode() + shopper) < share * 2**32

    def _ask_again(self, ids: list[str], again: Again) -> None:
        started = time.perf_counter()
        engine, found = self.loaded.engine, []
        try:
            found = again(engine)
        except LookalikeError as error:
            known: Outcome = "unknown" if isinstance(error, UnknownItem) else "empty"
            self._count("candidate", self.own, known)
        except Exception as error:  # whatever it is, it must be counted and not end the thread
            self.failed(error)
        else:
            outcome: Outcome = "answered" if found else "empty"
            self._count("candidate", self.own, outcome, time.perf_counter() - started)
        same = {engine.items.id_of(row) for row, _ in found} & set(ids)
        overlap = len(same) / len(ids) if ids else float(not found)
        self._metrics.overlap.observe(overlap)
        with self._lock:
            self._waiting -= 1
            self._compared += 1
            self._overlap += overlap

    def _count(
        self, bundle: str, tally: Tally, outcome: Outcome, seconds: float | None = None
    ) -> None:
        tally.add(outcome, seconds)
        self._metrics.rollout.labels(bundle, outcome).inc()
