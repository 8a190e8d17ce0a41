"""What the ledger says, kept loaded: the bundle in Production, and a candidate beside it."""

import io
import threading
import time
from dataclasses import dataclass

import numpy as np
import structlog
from PIL import Image

from model.errors import Damaged, LookalikeError
from model.pixels import PADDING
from serving import ledger
from serving.bundle import verify
from serving.candidate import Candidate
from serving.engine import Engine
from serving.ledger import Entry
from serving.limits import EMBED_BATCH, EMBED_THREADS
from serving.live_catalogue import POLL_SECONDS, LiveCatalogue
from serving.live_store import LiveStore
from serving.loaded import Loaded
from serving.memory import settle_down
from serving.metrics import Metrics
from serving.settings import ServeSettings

SELF_TEST_ITEMS = 20
SELF_TEST_SHARE = 0.9  # an approximate index may miss a few; the gate has measured how many
EQUAL_SCORE = 1e-3  # two views with one vector share rank 1

log = structlog.get_logger()


@dataclass(frozen=True)
class Pending:
    """A decision that could not be followed, and why."""

    bundle: str | None
    error: str


class Champion:
    """Take `current` once a request and use nothing else of it: a swap replaces it as a whole.

    The bundle before stays loaded, so that the way back to it is as short; a candidate takes its
    place, as three bundles may be more than the memory.
    """

    def __init__(self, settings: ServeSettings, metrics: Metrics | None = None) -> None:
        self.settings = settings
        self.metrics = metrics or Metrics()
        place = settings.live_place
        self.live = LiveCatalogue(LiveStore.open(place.url, place.folder), self.metrics)
        self.current: Loaded | None = None
        self.previous: Loaded | None = None
        self.candidate: Candidate | None = None
        self.unfit: Pending | None = None  # a candidate that could not be loaded
        self._tried: Entry | None = None
        self._tried_beside: Entry | None = None
        self._refused: Pending | None = None
        self._unreadable: Pending | None = None
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="champion", daemon=True)

    @property
    def pending(self) -> Pending | None:
        return self._unreadable or self._refused

    def start(self) -> None:
        self._watcher.start()

    def stop(self) -> None:
        self._stopped.set()
        self._watcher.join()
        if self.candidate is not None:
            self.candidate.close()
        self.live.store.close()

    def poll(self) -> None:
        """Follow the last decisions; what fails is tried again when the ledger changes."""
        try:
            standing = ledger.read_standing(self.settings.root)
        except (OSError, ValueError) as error:
            self._unreadable = self._failure(None, error, self._unreadable)
        else:
            self._unreadable = None
            self._follow(standing.champion)
            self._follow_beside(standing.candidate)
        self.metrics.refused.set(self.pending is not None)

    def _follow(self, entry: Entry | None) -> None:
        if entry is None or entry == self._tried:
            return
        try:
            loaded = self._load(entry)
        except (OSError, MemoryError) as error:  # of the moment: the next poll tries again
            self._refused = self._failure(entry.bundle, error, self._refused)
            return
        except Exception as error:  # each engine has its own exceptions; the old bundle serves on
            self._tried = entry
            self._refused = self._failure(entry.bundle, error)
            return
        self._tried = entry
        if self.current is not None and self.current.digest != loaded.digest:
            self.previous = self.current
        self.current = loaded
        self._refused = None
        settle_down()
        self.metrics.serving(loaded.digest, entry.version, len(loaded.engine), loaded.age_seconds)
        log.info("bundle.serving", bundle=loaded.digest, version=entry.version, ds=str(entry.ds))

    def _follow_beside(self, entry: Entry | None) -> None:
        if entry == self._tried_beside or self.current is None:
            return
        if entry is None:
            self._put_beside(None)
            self.unfit, self._tried_beside = None, None
            return
        try:
            loaded = self._load(entry)
        except (OSError, MemoryError) as error:
            self.unfit = self._failure(entry.bundle, error, self.unfit)
            return
        except Exception as error:  # shoppers have the champion
            self._put_beside(None)
            self.unfit, self._tried_beside = self._failure(entry.bundle, error), entry
            return
        self._put_beside(Candidate(loaded, self.metrics))
        self.unfit, self._tried_beside = None, entry
        settle_down()
        log.info("candidate.ready", bundle=loaded.digest, mode=entry.action, share=entry.share)

    def _put_beside(self, candidate: Candidate | None) -> None:
        former, self.candidate = self.candidate, candidate
        if former is not None:
            former.close()
        entry = None if candidate is None else candidate.loaded.entry
        self.metrics.beside(entry)

    def _load(self, entry: Entry) -> Loaded:
        for ready in (*self.loaded(), self.previous):
            if ready is not None and ready.digest == entry.bundle:
                self.live.catch_up(ready.engine)
                return Loaded(ready.engine, entry, ready.created)
        self.previous = None  # two bundles in memory, not three
        bundle = verify(self.settings.root / "bundles" / entry.bundle, entry.bundle)
        engine = Engine(bundle, threads=EMBED_THREADS)
        self_test(engine)
        self.live.follow(engine)
        return Loaded.of(engine, entry)

    def _failure(
        self, bundle: str | None, error: Exception, known: Pending | None = None
    ) -> Pending:
        own = isinstance(error, LookalikeError)
        failure = Pending(bundle, str(error) if own else f"{type(error).__name__}: {error}")
        if failure != known:
            self.metrics.failed_loads.inc()
            log.error("bundle.refused", bundle=bundle, error=failure.error)
        return failure

    def _watch(self) -> None:
        """The ledger every `poll_seconds`, changes of items more often."""
        due = 0.0
        pause = min(POLL_SECONDS, self.settings.serve.poll_seconds)
        while not self._stopped.is_set():
            if time.monotonic() >= due:
                self.poll()
                due = time.monotonic() + self.settings.serve.poll_seconds
            self._catch_up()
            self._stopped.wait(pause)

    def _catch_up(self) -> None:
        try:
            for loaded in self.loaded():
                self.live.catch_up(loaded.engine)
        except OSError as error:  # the store is away: what is known serves on
            log.error("live_store.away", error=str(error))

    def loaded(self) -> list[Loaded]:
        """What answers now, or may at any moment: the champion, then the candidate."""
        beside = [] if self.candidate is None else [self.candidate.loaded]
        return beside if self.current is None else [self.current, *beside]


def self_test(engine: Engine) -> None:
    """Run every part once, so that the first shopper does not wait. Raises Damaged."""
    side = engine.embedder.side
    if side != engine.bundle.pixel_spec.side:
        raise Damaged(
            f"The embedder is not of this pixel spec. Expected images of side "
            f"{engine.bundle.pixel_spec.side}. Found: {side}. Build the bundle again."
        )
    _, odds = engine.embedder.embed(np.full((1, side, side, 3), PADDING, np.uint8))
    if odds.shape[1] != len(engine.leaves):
        raise Damaged(
            f"The embedder is not of this taxonomy. Expected {len(engine.leaves)} leaves. "
            f"Found: {odds.shape[1]}. Build the bundle again."
        )
    engine.search(_blank_photo(side), 1)
    for count in range(2, EMBED_BATCH + 1):  # each size of batch is compiled when it is needed
        engine.embedder.embed(np.full((count, side, side, 3), PADDING, np.uint8))
    own = np.unique(np.linspace(0, len(engine) - 1, SELF_TEST_ITEMS).astype(np.int32))
    rows, scores = engine.nearest(engine.vectors[own], 1)
    own_scores = np.einsum("nd,nd->n", engine.vectors[own], engine.vectors[own])
    found = (rows[:, 0] == own) | (np.abs(scores[:, 0] - own_scores) <= EQUAL_SCORE)
    if found.mean() < SELF_TEST_SHARE:
        raise Damaged(
            f"The index does not find its own items. Expected {SELF_TEST_SHARE:.0%} of "
            f"{len(own)} at rank 1. Found: {int(found.sum())}. Build the bundle again."
        )


def _blank_photo(side: int) -> bytes:
    photo = io.BytesIO()
    Image.new("RGB", (side, side), PADDING).save(photo, "JPEG")
    return photo.getvalue()
