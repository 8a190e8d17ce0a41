"""The catalogues that benchmarks run on, made once below `build/bench` and kept.

`sample` is the generated shop; `grocery` the real photos below LOOKALIKE_DATA, if that is set.
"""

import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pipelines import ingest, preprocess
from pipelines.catalogue import Catalogue, read_catalogue
from pipelines.importers import import_feed
from pipelines.sample import write_sample
from pipelines.settings import Preprocess, Settings, Train
from tests.bench.figures import BUILD
from tests.grocery_feed import write_feed

DAY = date(2026, 11, 20)


@dataclass(frozen=True)
class Shop:
    """A root with one day, ingested and decoded."""

    settings: Settings
    ds: date = DAY

    @property
    def catalogue(self) -> Catalogue:
        return read_catalogue(self.settings, self.ds)

    def with_train(self, **options: object) -> Settings:
        """The settings with other options of training."""
        return self.settings.model_copy(update={"train": Train.model_validate(options)})


def sample(items: int, side: int) -> Shop:
    """`items` photos of 74 categories, as `make demo` has them."""
    root = BUILD / f"sample-{items}-{side}"
    settings = _settings(root, side)
    if not (root / "sample" / "day1.parquet").is_file():
        write_sample(root / "sample", items=items)
    return _prepared(settings, root / "sample" / "day1.parquet")


def grocery(side: int) -> Shop | None:
    """The real photos with their official splits; None without them."""
    store = Path(os.environ.get("LOOKALIKE_DATA", "nowhere"), "grocery_store").resolve()
    if not store.is_dir():
        return None
    root = BUILD / f"grocery-{side}"
    root.mkdir(parents=True, exist_ok=True)
    return _prepared(_settings(root, side), write_feed(store, root / "grocery.parquet"))


def _settings(root: Path, side: int) -> Settings:
    spec = f"decode|orient|resize({side})|pad"
    return Settings(root=root.resolve(), preprocess=Preprocess(pixel_spec=spec))


def _prepared(settings: Settings, feed: Path) -> Shop:
    """A step whose inputs did not change returns at once."""
    import_feed(settings, DAY, feed)
    ingest.run(settings, DAY)
    preprocess.run(settings, DAY)
    return Shop(settings)
