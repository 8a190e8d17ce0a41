"""Reading the day's catalogue: ingest's items that have pixels, and its taxonomy."""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.pixel_spec import PixelSpec
from model.taxonomy import Taxonomy
from pipelines.content_store import ContentStore
from pipelines.settings import Settings
from pipelines.step import Partition, digest_of

COUNTED = "live_changes.json"  # of ingest: items whose live changes counted that day; none: no file


@dataclass(frozen=True)
class Catalogue:
    """Items of one day in the order of their ids, and the pixel shards that hold their photos."""

    items: pa.Table
    taxonomy: Taxonomy
    shards: list[str]
    pixels: ContentStore


def read_items(settings: Settings, ds: date) -> pa.Table:
    return pq.read_table(Partition(settings, "ingest", ds).output / "items.parquet")


def read_taxonomy(settings: Settings, ds: date) -> Taxonomy:
    path = Partition(settings, "ingest", ds).output / "taxonomy.json"
    return Taxonomy.from_json(path.read_bytes())


def read_catalogue(settings: Settings, ds: date) -> Catalogue:
    """Items whose photo could be decoded. Raises BadInput before `preprocess` has run."""
    output = Partition(settings, "preprocess", ds).output
    dead = pq.read_table(output / "dead.parquet")["pixel_key"]
    items = read_items(settings, ds)
    alive = pc.invert(pc.is_in(items["pixel_key"], value_set=dead.combine_chunks()))
    return Catalogue(
        items.filter(alive),
        read_taxonomy(settings, ds),
        read_shards(output),
        pixel_store(settings.root, settings.pixel_spec),
    )


def read_shards(output: Path) -> list[str]:
    return list(json.loads((output / "shards.json").read_bytes())["shards"])


def pixel_store(root: Path, spec: PixelSpec) -> ContentStore:
    folder = root / "pixels" / digest_of(str(spec))
    return ContentStore(folder, (spec.side, spec.side, 3), "uint8")
