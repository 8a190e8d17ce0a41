"""A new embedder fills the catalogue again, hottest first; past days cost no other training."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import CopyShop
from tiny_shop import DAY_1, DAY_2, HERE, copy_shop, environment, run_step_of

from pipelines.catalogue import pixel_store, read_items, read_shards
from pipelines.cycle import run_day
from pipelines.embed import HOT_SHARE, embedding_store, hot_first
from pipelines.importers import import_feed
from pipelines.settings import Settings
from pipelines.step import STEPS, Partition
from pipelines.tracking import client, experiment_id

UNTIL_BUNDLE = STEPS[: STEPS.index("bundle") + 1]
WRITTEN = 2  # shards, before the process dies
DIE = """
import os, signal
from datetime import date
from pipelines import embed
from pipelines.content_store import ContentStore
from pipelines.settings import load_settings

write, left = ContentStore.write, {left}
def write_and_die(self, shard, keys, values):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    write(self, shard, keys, values)
ContentStore.write = write_and_die
embed.run(load_settings(), date.fromisoformat("{ds}"))
"""


def shards_of(settings: Settings, ds: date) -> list[str]:
    return read_shards(Partition(settings, "preprocess", ds).output)


def by_heat(settings: Settings, ds: date) -> list[str]:
    """The day's shards by how many of their photos are of the items that were updated last."""
    rows = [row for row in read_items(settings, ds).to_pylist() if row["in_stock"]]
    rows.sort(key=lambda row: (-row["updated_at"].timestamp(), row["item_id"]))
    hot = {row["pixel_key"] for row in rows[: int(len(rows) * HOT_SHARE)]}
    pixels = pixel_store(settings.root, settings.pixel_spec)
    counts = {name: len(hot.intersection(pixels.read(name)[0])) for name in shards_of(settings, ds)}
    assert len(set(counts.values())) > 1
    return sorted(counts, key=lambda name: -counts[name])


def written(settings: Settings, embedder: str) -> set[str]:
    return {path.stem for path in (settings.root / "embeddings" / embedder).glob("*.arrow")}


def test_a_new_embedder_fills_the_hottest_shards_first_and_goes_on_after_a_kill(
    retrained: Settings, tmp_path: Path
) -> None:
    settings = copy_shop(retrained, tmp_path / "root")
    embedder = str(Partition(settings, "train", DAY_2).done().details["embedder"])
    folder = embedding_store(settings, DAY_2)[0].folder
    for path in folder.iterdir():
        path.unlink()
    (Partition(settings, "embed", DAY_2).folder / "report.json").unlink()
    order = by_heat(settings, DAY_2)
    code = DIE.format(left=WRITTEN, ds=DAY_2)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=HERE, env=environment(settings), check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert written(settings, embedder) == set(order[:WRITTEN])
    inodes = {path.name: path.stat().st_ino for path in folder.glob("*.arrow")}
    report = run_step_of(settings, "embed", DAY_2)
    rest = len(order) - WRITTEN
    assert (report.details["new_shards"], report.details["kept_shards"]) == (rest, WRITTEN)
    assert written(settings, embedder) == set(order)
    assert {name: (folder / name).stat().st_ino for name in inodes} == inodes
    assert report.digest == Partition(retrained, "embed", DAY_2).done().digest


def test_shards_as_hot_as_each_other_stay_in_order() -> None:
    shards = {"a": ["1", "2"], "b": ["3", "4"], "c": ["5"], "d": ["6", "7"]}
    assert hot_first(shards, {"4", "5", "6", "7"}) == ["d", "b", "c", "a"]
    assert hot_first(shards, set()) == ["a", "b", "c", "d"]


@contextmanager
def configured(settings: Settings) -> Iterator[None]:
    """The child processes read the settings of the shop from the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(settings).items():
            patch.setenv(name, value)
        yield


def give_next_day(settings: Settings, ds: date, number: int) -> None:
    """A feed of a few new prices, each day's of other items."""
    columns = ["item_id", "product_id", "image", "category", "title", "updated_at", "in_stock"]
    rows = read_items(settings, DAY_1).select(columns).slice(3 * number, 3)
    prices = pa.array([float(10 * number + row) for row in range(len(rows))])
    table = settings.root / f"feed-{ds}.parquet"
    pq.write_table(rows.append_column("price", prices), table)
    import_feed(settings, ds, table)


@pytest.mark.slow
def test_five_past_days_are_five_data_sets_and_one_training(shop_copy: CopyShop) -> None:
    """The first of them trained; the others are run by the commands that the DAG runs."""
    settings = shop_copy()
    days = [DAY_1 + timedelta(days=number) for number in range(5)]
    with configured(settings):
        for number, ds in enumerate(days[1:], 1):
            give_next_day(settings, ds, number)
            run_day(settings, ds, UNTIL_BUNDLE)
    trained = [Partition(settings, "train", ds).done().details for ds in days]
    assert [facts["kept"] for facts in trained] == [False, True, True, True, True]
    assert len({facts["embedder"] for facts in trained}) == 1
    for step in ("ingest", "bundle"):
        assert len({Partition(settings, step, ds).done().digest for ds in days}) == len(days)
    assert len({Partition(settings, "reduce", ds).done().digest for ds in days}) == 1
    runs = client(settings).search_runs([experiment_id(settings)], "tags.step = 'train'")
    assert len(list(runs)) == 1
