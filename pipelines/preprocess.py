"""Photos to canonical pixels (Beam) and full-pass statistics (TF-Transform).

    python -m pipelines.preprocess --ds 2026-11-20

Pixels are kept by the content of the photo and the pixel spec, TF-Transform's analyzer cache by
day: a day decodes and analyses only what it brought. A day that is done again keeps its shards and
decodes what has come since. Cost: 10 to 40 s to start (TensorFlow, Beam and the analysis graph;
nothing on a day without news), then about 1 ms a photo on one core. Runs on any Beam runner through
`preprocess.beam_args`; the default is the in-process FnApiRunner.
"""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model.errors import BadInput
from model.pixels import Box
from pipelines.catalogue import pixel_store, read_items, read_shards, read_taxonomy
from pipelines.content_store import ContentStore, shard_name
from pipelines.decode import CHANGED, MISSING, DeadLetter, Photo
from pipelines.progress import progress
from pipelines.settings import Settings, Tolerance
from pipelines.step import Outcome, Partition, Report, command, previous_day, run_step

DEAD_LETTERS = pa.schema([(name, pa.string()) for name in ("pixel_key", "uri", "reason", "detail")])

WATCH_SECONDS = 0.5


def run(settings: Settings, ds: date) -> Report:
    """Decode what is new in the catalogue of `ds` and update the statistics."""
    before = previous_day(settings, "preprocess", ds)
    if before and before.done().inputs["spec"] != settings.preprocess.pixel_spec:
        before = None  # another spec: every photo is new
    inputs = {
        "ingest": Partition(settings, "ingest", ds).done().digest,
        "before": before.done().digest if before else "",
        "spec": settings.preprocess.pixel_spec,
        "shard_images": str(settings.preprocess.shard_images),
    }
    return run_step(
        settings,
        "preprocess",
        ds,
        inputs=inputs,
        body=lambda folder: _preprocess(settings, ds, before, folder),
        intact=lambda output: _intact(settings, output),
    )


def _intact(settings: Settings, output: Path) -> bool:
    store = pixel_store(settings.root, settings.pixel_spec)
    return all(store.path(shard).is_file() for shard in read_shards(output))


def _preprocess(settings: Settings, ds: date, before: Partition | None, folder: Path) -> Outcome:
    photos = _photos(settings, ds)
    shards = read_shards(before.output) if before else []
    dead = pq.read_table(before.output / "dead.parquet").to_pylist() if before else []
    dead = [fault for fault in dead if fault["reason"] not in (MISSING, CHANGED)]
    known = {fault["pixel_key"] for fault in dead}
    store = pixel_store(settings.root, settings.pixel_spec)
    for shard in shards:
        known.update(store.read(shard)[0])
    new = [photo for photo in photos if photo.key not in known]
    made = _made(Partition(settings, "preprocess", ds), store, shards)
    batches = _batches(new, made, settings.preprocess.shard_images)
    names = [shard_name([photo.key for photo in batch]) for batch in batches]
    shards += names

    fresh: list[DeadLetter] = []
    if batches:
        from pipelines.analysis import read_statistics, run_beam  # only a day with news pays it

        days = [*_days(before), ds.isoformat()]
        with _shown(store, shards[-len(batches) :]):
            fresh = run_beam(settings, batches, days, folder)
        _check_dead(fresh, len(new), settings.preprocess, first=before is None)
        (folder / "days.json").write_text(json.dumps(days))
        statistics = read_statistics(folder / "transform")
        (folder / "statistics.json").write_text(json.dumps(statistics, indent=1))
    elif before:
        shutil.copytree(before.output, folder, dirs_exist_ok=True)
    statistics = json.loads((folder / "statistics.json").read_bytes())
    _check_categories(statistics["category"], settings, ds)

    dead += [vars(fault) for fault in sorted(fresh, key=lambda fault: fault.pixel_key)]
    pq.write_table(pa.Table.from_pylist(dead, DEAD_LETTERS), folder / "dead.parquet")
    (folder / "shards.json").write_text(json.dumps({"shards": shards}, indent=1))
    lost = {fault.pixel_key for fault in fresh}
    there = {key for name in names for key in made.get(name, ())}
    decoded = len({photo.key for photo in new} - lost - there)
    return Outcome(
        rows=len(photos),
        details={
            "decoded": decoded,
            "kept": len(photos) - decoded - len(fresh),
            "dead": len(fresh),
            "dead_by_reason": _count(fault.reason for fault in fresh),
            "brands": len(statistics["brand"]),
            "channel_mean": statistics["mean"],
        },
    )


def _made(own: Partition, store: ContentStore, former: list[str]) -> dict[str, set[str]]:
    """The day's own shards from when it was done before, and the keys that each was made for.

    Photos that could not be decoded are in none; by their key they belong to the shard around them.
    """
    if own.report() is None or not own.output.is_dir():
        return {}
    dead = pq.read_table(own.output / "dead.parquet")["pixel_key"].to_pylist()
    names = [name for name in read_shards(own.output) if name not in former]
    made = {name: store.read(name)[0] for name in names if store.path(name).is_file()}
    return {
        name: {*keys, *(key for key in dead if min(keys) < key < max(keys))}
        for name, keys in made.items()
        if keys
    }


def _batches(photos: list[Photo], made: dict[str, set[str]], size: int) -> list[list[Photo]]:
    """Photos by shard. What is in a shard already stays there, so that it is not made again."""
    batches = []
    for name, keys in made.items():
        batch = [photo for photo in photos if photo.key in keys]
        if shard_name([photo.key for photo in batch]) == name:
            batches.append(batch)
    placed = {photo.key for batch in batches for photo in batch}
    left = [photo for photo in photos if photo.key not in placed]
    return batches + [left[start : start + size] for start in range(0, len(left), size)]


@contextmanager
def _shown(store: ContentStore, shards: list[str]) -> Iterator[None]:
    """A bar of the shards on disk: Beam's workers may be other processes, or other machines."""
    done = threading.Event()

    def watch() -> None:
        with progress("preprocess", len(shards)) as advance:
            seen = 0
            while not done.wait(WATCH_SECONDS):
                now = sum(store.path(shard).is_file() for shard in shards)
                advance(now - seen)
                seen = now

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _photos(settings: Settings, ds: date) -> list[Photo]:
    """One photo a pixel key, in the order of the keys."""
    photos: dict[str, Photo] = {}
    columns = ["pixel_key", "image", "box", "category", "brand", "price", "image_digest"]
    for row in read_items(settings, ds).select(columns).to_pylist():
        box = Box(*row["box"]) if row["box"] else None
        photos.setdefault(
            row["pixel_key"],
            Photo(
                row["pixel_key"], row["image"], box, row["category"], row["brand"] or "",
                row["price"], row["image_digest"],
            ),
        )  # fmt: skip
    return [photos[key] for key in sorted(photos)]


def _days(before: Partition | None) -> list[str]:
    return list(json.loads((before.output / "days.json").read_bytes())) if before else []


def _check_dead(dead: list[DeadLetter], photos: int, limit: Tolerance, *, first: bool) -> None:
    if not limit.allows(len(dead), photos) or (first and len(dead) == photos):
        raise BadInput(
            f"{len(dead)} of {photos} new photos cannot be decoded. Expected at most "
            f"{limit.max_bad_share:.2%}. "
            f"Received: {_count(fault.reason for fault in dead)}. First: {dead[0].uri}. "
            f"Repair the photos or raise `preprocess.max_bad_share`."
        )


def _check_categories(vocabulary: list[str], settings: Settings, ds: date) -> None:
    taxonomy = read_taxonomy(settings, ds)
    # Days before a move were counted under the former names.
    unknown = set(vocabulary) - set(taxonomy.leaves) - taxonomy.moved.keys()
    if unknown:
        raise BadInput(
            f"TF-Transform counted categories that the taxonomy lacks: {sorted(unknown)[:5]}. "
            f"The taxonomy of an earlier day was replaced; run `ingest` for every day again."
        )


def _count(reasons: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items()))


if __name__ == "__main__":
    command(run)
