"""Is there something for a refresh to fold into a new bundle, and into which day's?

    python -m pipelines.refresh

A refresh does the newest day again that was ingested, with what changed live since its bundle was
made, and with the champion's embedder (`train.keep = "champion"`); everything else a day's steps do
by themselves. It has nothing to do

    where nothing serves yet
    after a rollback: the catalogue that was rolled back must not come back by itself
    where every change that the day takes in is in its newest bundle, or was refused by its gate;
    a day takes in what changes until the next one is over

The last line of standard output is the answer as JSON. Cost: 0.4 s, and 0.5 s where there is a
live store.
"""

import sys
from datetime import date, datetime

from pydantic import BaseModel, ConfigDict

from pipelines.live_day import changes_of, newest_of_all
from pipelines.settings import Settings, load_settings
from pipelines.step import Partition, days_of, exit_codes
from serving.bundle import LIVE_SEQUENCE
from serving.ledger import champion


class News(BaseModel):
    """What changed since the newest bundle of a day."""

    model_config = ConfigDict(frozen=True)

    ds: date | None = None  # the newest day that was ingested; None: there is none
    changes: int = 0  # items; an item that was changed twice counts once
    oldest: datetime | None = None  # UTC, when the first of them was changed
    newest: datetime | None = None
    why: str = ""  # there is nothing to do


def read_news(settings: Settings) -> News:
    """What a refresh would fold in now."""
    now = champion(settings.root)
    days = days_of(settings, "ingest")
    if now is None or not days:
        return News(why="nothing serves yet")
    ds = days[-1]
    if now.action == "rollback":
        return News(ds=ds, why=f"version {now.version} serves after a rollback, and stays")
    settled = _settled(settings, ds)
    changes = changes_of(settings, ds, after=settled)
    if not changes and newest_of_all(settings) > settled:
        return News(ds=ds, why=f"what changed is of a later day than {ds}: import its feed")
    if not changes:
        return News(ds=ds, why=f"no live change is newer than the bundle of {ds}")
    times = [change.at for change in changes]
    return News(ds=ds, changes=len(changes), oldest=min(times), newest=max(times))


def _settled(settings: Settings, ds: date) -> int:
    """The newest live change that the day's bundle has, or its gate refused; 0 without either."""
    ingest, gate, bundle, register = (
        Partition(settings, step, ds).report() for step in ("ingest", "gate", "bundle", "register")
    )
    settled = 0
    if bundle and register and bundle.details["bundle"] == register.details["bundle"]:
        settled = int(bundle.inputs[LIVE_SEQUENCE])
    refused = gate is not None and not gate.details["passed"]
    if ingest and gate and refused and gate.inputs["ingest"] == ingest.digest:
        settled = max(settled, int(ingest.details[LIVE_SEQUENCE]))
    return settled


def main() -> None:
    with exit_codes():
        news = read_news(load_settings())
        sys.stdout.write(news.model_dump_json() + "\n")


if __name__ == "__main__":
    main()
