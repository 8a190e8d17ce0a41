"""Which live changes belong to a day: those made until the day that follows it is over."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from pipelines.settings import Settings
from serving.live_change import Change

if TYPE_CHECKING:
    from serving.live_store import LiveStore

OPEN_FOR = timedelta(days=2)  # from the beginning of a day, until which it takes in changes


def beginning(ds: date) -> datetime:
    return datetime.combine(ds, time(), UTC)


def changes_of(settings: Settings, ds: date, *, after: int = 0) -> list[Change]:
    """Those that are kept with a sequence above `after`, in the order in which they were made."""
    with _store(settings) as store:
        newest = store.newest() if store else 0
        if store is None or newest <= after:
            return []
        end = beginning(ds) + OPEN_FOR
        changes = (change for change in store.all(after) if change.sequence <= newest)
        return [change for change in changes if change.at < end]


def newest_of_all(settings: Settings) -> int:
    """The sequence of the last change, of whatever day; 0 where nothing has changed yet."""
    with _store(settings) as store:
        return store.newest() if store else 0


@contextmanager
def _store(settings: Settings) -> Iterator["LiveStore | None"]:
    if not settings.live_place.exists:
        yield None
        return
    from serving.live_store import LiveStore  # takes a second to import

    with closing(LiveStore.open(settings.live_place.url, settings.live_place.folder)) as store:
        yield store
