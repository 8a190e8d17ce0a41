"""Keeps engines in step with the live store, whichever process the changes came through.

    live = LiveCatalogue(store, metrics)
    live.follow(engine)      # before the engine serves: all that came since its bundle was built
    live.catch_up(engine)    # after a change of our own, and every POLL_SECONDS for those of others

There is one way for every change: it is committed to the store, then read from it in the order of
commits. So what was acknowledged is what is served, also after a crash, also by other replicas.
"""

import threading
from weakref import WeakKeyDictionary

import structlog

from model.errors import LookalikeError
from serving.bundle import LIVE_SEQUENCE
from serving.engine import Engine
from serving.index import Vectors
from serving.ledger import now
from serving.live_change import Change
from serving.live_photos import photo_path
from serving.live_place import LIVE
from serving.live_store import LiveStore
from serving.metrics import Metrics

POLL_SECONDS = 0.25  # how late a change of another replica may be seen
PAGE = 1000  # changes read at a time

log = structlog.get_logger()


class LiveCatalogue:
    """The changes of one store, for each engine that is loaded."""

    def __init__(self, store: LiveStore, metrics: Metrics) -> None:
        self.store = store
        self._metrics = metrics
        self._last: WeakKeyDictionary[Engine, int] = WeakKeyDictionary()
        self._vectors: dict[tuple[str, str], Vectors] = {}
        self._lock = threading.Lock()

    def follow(self, engine: Engine) -> None:
        """Bring an engine that was just loaded up to date; from then on `catch_up` keeps it so."""
        taken_in = _taken_in(engine)
        self.store.begin_after(taken_in)
        with self._lock:
            self._last.setdefault(engine, taken_in)
        self.catch_up(engine)

    def catch_up(self, engine: Engine) -> None:
        """Apply what was committed since the last time. One that cannot be applied is passed by."""
        with self._lock:
            while changes := self.store.since(self._last[engine], PAGE):
                for change in changes:
                    self._apply(engine, change)
                    self._last[engine] = change.sequence
            self._forget(engine.space_id)

    def remember(self, digest: str, engine: Engine, vector: Vectors) -> None:
        """The vector [d] of a photo that is about to be taken in: it need not be computed again."""
        self._vectors[digest, engine.space_id] = vector

    def vector_of(self, digest: str, engine: Engine) -> Vectors:
        """float32 [d] of a photo in the store, computed once for each space."""
        kept = self.store.vector(digest, engine.space_id)
        if kept is not None:
            return kept
        vector = self._vectors.pop((digest, engine.space_id), None)
        if vector is None:
            look = engine.look(self.store.photo(digest), "whole")
            vector = engine.embed([look])[0][0]
        self.store.keep_vector(digest, engine.space_id, vector)
        return vector

    def _forget(self, space_id: str) -> None:
        """What was remembered and not asked for, as where the item has that photo already."""
        for key in list(self._vectors):  # others remember meanwhile
            if key[1] == space_id:
                self._vectors.pop(key, None)

    def _apply(self, engine: Engine, change: Change) -> None:
        try:
            self._take(engine, change)
        except (LookalikeError, OSError) as error:
            self._metrics.lost_changes.inc()
            log.error("change.lost", item_id=change.item_id, error=str(error))
        else:
            self._metrics.changed((now() - change.at).total_seconds(), engine.index.changes)

    def _take(self, engine: Engine, change: Change) -> None:
        if change.item is None:
            engine.remove(change.item_id)
        elif change.photo is None or (change.photo_sequence or 0) <= _taken_in(engine):
            engine.put(change.item)  # the bundle has the photo, or a newer one
        else:
            image = f"{LIVE}/{photo_path(change.photo)}"
            known = engine.items.image_of(change.item_id) == image
            vector = None if known else self.vector_of(change.photo, engine)
            engine.put(change.item, vector, image)


def _taken_in(engine: Engine) -> int:
    """The last change that the bundle was built with; 0: none."""
    return int(engine.bundle.manifest.get(LIVE_SEQUENCE, 0))
