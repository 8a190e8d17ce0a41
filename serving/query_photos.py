"""A share of the photos that are searched by, kept to learn from, if the shop switches that on.

    queries/2026-11-20/3f2a..c1.jpg     the upright photo, without what the camera wrote beside it
    queries/2026-11-20/3f2a..c1.json    its time, bundle, box and the items that were found

Nothing is kept by default. An answer never waits for this: a thread writes, and what comes while it
is busy is not kept.
"""

import io
import random
import re
import shutil
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from queue import Full, Queue

import orjson
import structlog

from model.errors import LookalikeError
from model.pixels import Box, upright
from serving.limits import QUERY_PHOTO_DAYS, QUERY_PHOTOS_A_DAY

FOLDER = "queries"
WAITING = 8  # photos of at most 10 MB
QUALITY = 95
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

log = structlog.get_logger()


@dataclass(frozen=True)
class Query:
    """A photo that was searched by, and what was answered."""

    photo: bytes
    bundle: str
    box: Box
    item_ids: list[str]


class QueryPhotos:
    """Keeps `share` of what is offered, 0 to 1."""

    def __init__(self, root: Path, share: float) -> None:
        self.share = share
        self._folder = root / FOLDER
        self._waiting: Queue[Query] = Queue(WAITING)
        if share:
            threading.Thread(target=self._work, name="query-photos", daemon=True).start()

    def offer(self, query: Callable[[], Query]) -> None:
        """Keep it, or not; returns at once."""
        if self.share and random.random() < self.share:
            try:
                self._waiting.put_nowait(query())
            except Full:
                log.info("query_photo.skipped", waiting=WAITING)

    def _work(self) -> None:
        while True:
            query = self._waiting.get()
            try:
                keep(self._folder, query, datetime.now(UTC))
            except (OSError, LookalikeError) as error:
                log.error("query_photo.failed", error=str(error))


def keep(folder: Path, query: Query, now: datetime) -> bool:
    """Write a query below `folder` unless the day has enough. Raises OSError."""
    day = folder / now.date().isoformat()
    if not day.exists():
        day.mkdir(parents=True, mode=0o700)
        forget(folder, now.date())
    if sum(path.suffix == ".json" for path in day.iterdir()) >= QUERY_PHOTOS_A_DAY:
        return False
    name = day / uuid.uuid4().hex
    facts = {
        "at": now,
        "bundle": query.bundle,
        "box": list(query.box),
        "item_ids": query.item_ids,
    }
    name.with_suffix(".jpg").write_bytes(_bare(query.photo))
    name.with_suffix(".json").write_bytes(orjson.dumps(facts))
    return True


def forget(folder: Path, today: date) -> None:
    """Delete the days that are older than QUERY_PHOTO_DAYS."""
    oldest = (today - timedelta(days=QUERY_PHOTO_DAYS)).isoformat()
    for day in folder.iterdir():
        if DAY.fullmatch(day.name) and day.name < oldest:
            shutil.rmtree(day)


def _bare(photo: bytes) -> bytes:
    """The pixels alone: a phone writes where and when, and its owner's name."""
    image = upright(photo)
    image.info.clear()
    data = io.BytesIO()
    image.save(data, "JPEG", quality=QUALITY)
    return data.getvalue()
