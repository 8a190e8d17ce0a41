"""A refresh: what changed live is in the next bundle, and nothing of the space has moved."""

import json
import subprocess
import sys
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import CopyShop
from sqlalchemy import update
from tiny_feed import photo
from tiny_shop import (
    DAY_1,
    DAY_2,
    HERE,
    copy_shop,
    environment,
    finish,
    run_step_of,
    run_steps,
    start_lookalike,
)

from model.errors import BadInput
from pipelines import train
from pipelines.bundle import bundle_digest
from pipelines.catalogue import pixel_store, read_items, read_shards
from pipelines.champion_embedder import champion_training
from pipelines.cycle import REFRESHED
from pipelines.embed import embedder_path
from pipelines.freshness import Freshness, log_freshness
from pipelines.index import read_arrow
from pipelines.live_day import beginning
from pipelines.reduce import space_id
from pipelines.refresh import News, read_news
from pipelines.server_process import free_port
from pipelines.settings import Preprocess, Registry, Settings
from pipelines.step import STEPS, Outcome, Partition, file_digests, run_step
from pipelines.tracking import client, experiment_id
from serving.item import Item
from serving.ledger import LEDGER, Entry, append, champion, now
from serving.live_change import Change
from serving.live_database import connect, items, writing
from serving.live_store import LiveStore

UNTIL_BUNDLE = STEPS[: STEPS.index("bundle") + 1]
KEPT = ("train", "localise", "reduce")  # the same bytes, whatever the day's catalogue is
NOON = beginning(DAY_1) + timedelta(hours=12)


def keeping(settings: Settings) -> Settings:
    """As the DAG sets it for its commands."""
    option = settings.train.model_copy(update={"keep": "champion"})
    return settings.model_copy(update={"train": option})


def store_of(settings: Settings) -> LiveStore:
    return LiveStore.open(settings.live_place.url, settings.live_place.folder)


def put(settings: Settings, at: datetime, item: Item, sent: bytes | None = None) -> Change:
    with closing(store_of(settings)) as store:
        return made(settings, store.put(item, sent), at)


def delete(settings: Settings, at: datetime, item_id: str) -> Change:
    with closing(store_of(settings)) as store:
        return made(settings, store.delete(item_id), at)


def made(settings: Settings, change: Change, at: datetime) -> Change:
    """As if it had been made at that time."""
    times = {"at": at} | ({"photo_at": at} if change.photo_sequence == change.sequence else {})
    engine = connect(settings.live_place.url)
    with writing(engine) as connection:
        connection.execute(update(items).filter_by(item_id=change.item_id).values(**times))
    engine.dispose()
    return change


def three_changes(settings: Settings) -> tuple[str, str]:
    """A new item with a photo, another price, a deletion; ids of the latter two."""
    rows = read_items(settings, DAY_1).filter(
        read_items(settings, DAY_1)["kind"].to_numpy(zero_copy_only=False) == "catalogue"
    )
    cheaper, gone = rows.slice(0, 2).to_pylist()
    leaf = cheaper["category"]
    put(settings, NOON, Item(item_id="fresh", category=leaf, title="Fresh"), photo(5))
    put(settings, NOON + timedelta(hours=1), Item(
        item_id=cheaper["item_id"], product_id=cheaper["product_id"], category=leaf, price=0.5
    ))  # fmt: skip
    delete(settings, NOON + timedelta(hours=2), gone["item_id"])
    return cheaper["item_id"], gone["item_id"]


def bundled(settings: Settings, ds: date) -> dict[str, dict[str, Any]]:
    folder = settings.root / "bundles" / bundle_digest(settings, ds)
    return {row["item_id"]: row for row in read_arrow(folder / "items.arrow").to_pylist()}


def shard_of(settings: Settings, item_id: str) -> list[str]:
    """The keys of the shard that holds the item's photo."""
    rows = read_items(settings, DAY_1).to_pylist()
    (key,) = (row["pixel_key"] for row in rows if row["item_id"] == item_id)
    pixels = pixel_store(settings.root, settings.pixel_spec)
    shards = read_shards(Partition(settings, "preprocess", DAY_1).output)
    return next(keys for keys in map(pixels.keys, shards) if key in keys)


def training_runs(settings: Settings) -> int:
    runs = client(settings).search_runs([experiment_id(settings)], "tags.step = 'train'")
    return len(runs)


def test_a_refresh_folds_changes_in_and_moves_nothing_of_the_space(shop_copy: CopyShop) -> None:
    """On the very day that trained the champion, whose own training would be due again."""
    settings = shop_copy()
    before = {step: Partition(settings, step, DAY_1).done() for step in UNTIL_BUNDLE}
    former = bundle_digest(settings, DAY_1)
    space, int8 = space_id(settings, DAY_1), embedder_path(settings, DAY_1, "int8").read_bytes()
    cheaper, gone = three_changes(settings)
    others = len(shard_of(settings, gone)) - 1
    assert read_news(settings) == News(
        ds=DAY_1, changes=3, oldest=NOON, newest=NOON + timedelta(hours=2)
    )
    started = now()
    reports = run_steps(keeping(settings), DAY_1, UNTIL_BUNDLE)
    ended = now()

    assert {step: reports[step].digest for step in KEPT} == {s: before[s].digest for s in KEPT}
    assert (reports["train"].details["kept"], training_runs(settings)) == (True, 1)
    assert embedder_path(settings, DAY_1, "int8").read_bytes() == int8
    assert space_id(settings, DAY_1) == space
    # The new photo, and those that shared a shard with the photo that is gone.
    assert {
        "decoded": reports["preprocess"].details["decoded"],
        "embedded": reports["embed"].rows,
        "kept_shards": reports["embed"].details["kept_shards"],
    } == {
        "decoded": 1 + others,
        "embedded": 1 + others,
        "kept_shards": before["embed"].details["new_shards"] - 1,
    }

    found = bundled(settings, DAY_1)
    assert bundle_digest(settings, DAY_1) != former
    facts_of_items = (found["fresh"]["title"], found[cheaper]["price"], gone in found)
    assert facts_of_items == ("Fresh", 0.5, False)
    facts = reports["bundle"].details
    assert (facts["live_folded"], facts["live_left_out"]) == (3, 0)
    oldest = facts["freshness_seconds"]["oldest"]
    assert (started - NOON).total_seconds() < oldest < (ended - NOON).total_seconds()
    assert facts["freshness_seconds"]["newest"] == pytest.approx(oldest - 7200, abs=0.01)
    (run,) = client(settings).search_runs([experiment_id(settings)], "tags.step = 'bundle'")
    assert run.data.metrics == {
        "live_folded": 3,
        "live_left_out": 0,
        "freshness_seconds_oldest": oldest,
        "freshness_seconds_newest": facts["freshness_seconds"]["newest"],
    }
    # Sealed and not registered: were it the end of this run, the next one would go on.
    assert read_news(settings).changes == 3
    again = run_steps(keeping(settings), DAY_1, UNTIL_BUNDLE)
    assert [step for step, report in again.items() if not report.reused] == []


def test_the_embedder_is_the_champions_and_not_the_newest(
    retrained: Settings, tmp_path: Path
) -> None:
    """The second day trained another one, which is in its partition and never served."""
    settings = copy_shop(retrained, tmp_path / "root")
    ledger = settings.root / LEDGER
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(lines[:2]))  # the first day was approved, and serves
    assert champion_training(settings, DAY_2) == Partition(settings, "train", DAY_1)
    for step in ("train", "embed", "localise", "reduce"):
        run_step_of(keeping(settings), step, DAY_2)
    assert space_id(settings, DAY_2) == space_id(settings, DAY_1)
    digests = {
        step: [file_digests(Partition(settings, step, ds).output) for ds in (DAY_1, DAY_2)]
        for step in KEPT
    }
    assert [step for step, (one, other) in digests.items() if one != other] == []
    forms = [embedder_path(settings, ds, "int8").read_bytes() for ds in (DAY_1, DAY_2)]
    assert forms[0] == forms[1]
    # The policy sees by which recipe it was made, and would train again tomorrow.
    recipes = [Partition(settings, "train", ds).done().inputs["recipe"] for ds in (DAY_1, DAY_2)]
    assert recipes[0] == recipes[1] != settings.train.recipe


def test_a_champion_whose_embedder_is_not_here(shop_copy: CopyShop) -> None:
    settings = keeping(shop_copy())
    serves = champion(settings.root)
    assert serves is not None
    other = settings.model_copy(
        update={"preprocess": Preprocess(pixel_spec="decode|orient|resize(48)|pad")}
    )
    with pytest.raises(BadInput) as caught:
        train.run(other, DAY_1)
    assert str(caught.value) == (
        "The champion's embedder takes other pixels. Expected `decode|orient|resize(32)|pad`. "
        "Received `decode|orient|resize(48)|pad` (preprocess.pixel_spec). Only `daily_retrain` "
        "can change them."
    )
    earlier = DAY_1 - timedelta(days=1)
    embedder = Partition(settings, "train", DAY_1).done().details["embedder"]
    with pytest.raises(BadInput) as caught:
        champion_training(settings, earlier)
    assert str(caught.value) == (
        f"The embedder {embedder} of the champion {serves.bundle} is in no output of `train` up to "
        f"{earlier}: its day was done again with another. `daily_retrain` makes the next bundle."
    )
    bundles = settings.root / "bundles"
    (bundles / serves.bundle).rename(settings.root / "elsewhere")
    with pytest.raises(BadInput) as caught:
        champion_training(settings, DAY_1)
    assert str(caught.value) == (
        f"The champion {serves.bundle} is not below {bundles}, so its embedder is not known. "
        f"`lookalike rollback --to VERSION` brings it from the registry."
    )
    (settings.root / LEDGER).unlink()
    with pytest.raises(BadInput, match=r"^Nothing serves, so there is no embedder to keep\."):
        champion_training(settings, DAY_1)


def test_nothing_to_do(shop: Settings, shop_copy: CopyShop, tmp_path: Path) -> None:
    assert read_news(Settings(root=tmp_path / "empty")) == News(why="nothing serves yet")
    quiet = News(ds=DAY_1, why=f"no live change is newer than the bundle of {DAY_1}")
    assert read_news(shop) == quiet
    settings = shop_copy()
    put(settings, NOON + timedelta(days=2), Item(item_id="later", category="Home > Lamps"))
    assert read_news(settings) == News(
        ds=DAY_1, why=f"what changed is of a later day than {DAY_1}: import its feed"
    )
    put(settings, NOON, Item(item_id="now", category="Home > Lamps"))
    assert read_news(settings).changes == 1
    serves = champion(settings.root)
    assert serves is not None
    rolled_back = {"action": "rollback", "version": "7", "at": datetime(2026, 11, 19, tzinfo=UTC)}
    append(settings.root, Entry.model_validate(serves.model_dump() | rolled_back))
    assert read_news(settings) == News(ds=DAY_1, why="version 7 serves after a rollback, and stays")


def test_changes_that_the_gate_refused_wait_for_newer_ones(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    put(settings, NOON, Item(item_id="fresh", category="Home > Lamps"), photo(5))
    ingested = run_step_of(settings, "ingest", DAY_1)
    assert (ingested.details["live_sequence"], read_news(settings).changes) == (1, 1)

    def refused(folder: Path) -> Outcome:
        return Outcome(1, {"passed": False})

    run_step(settings, "gate", DAY_1, inputs={"ingest": ingested.digest}, body=refused)
    assert read_news(settings).why == f"no live change is newer than the bundle of {DAY_1}"
    delete(settings, NOON, "another")
    assert read_news(settings).changes == 1


def test_the_question_is_asked_without_the_heavy_libraries(shop: Settings) -> None:
    code = (
        "import json, sys; from pipelines.refresh import main; main(); "
        "heavy = {'tensorflow', 'apache_beam', 'mlflow', 'pandas', 'pyarrow', 'scann', 'keras'}; "
        "print(json.dumps(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=HERE, env=environment(shop), capture_output=True, text=True, check=True,
    )  # fmt: skip
    news, loaded = done.stdout.splitlines()[-2:]
    assert News.model_validate_json(news) == read_news(shop)
    assert json.loads(loaded) == []


def test_freshness_counts_what_the_bundle_has() -> None:
    def change(item_id: str, minute: int, *, there: bool) -> Change:
        item = Item(item_id=item_id, category="Home > Lamps") if there else None
        return Change(minute, item_id, NOON + timedelta(minutes=minute), item)

    changes = [
        change("refused", 0, there=True),  # put, and not in the bundle
        change("put", 1, there=True),
        change("gone", 3, there=False),
        change("back", 4, there=False),  # deleted, and the feed brought it again
    ]
    sealed = NOON + timedelta(minutes=10)
    found = Freshness.of(changes, frozenset({"put", "back", "other"}), sealed)
    assert found == Freshness(2, 2, oldest_seconds=540.0, newest_seconds=420.0)
    assert found.details == {
        "live_folded": 2,
        "live_left_out": 2,
        "freshness_seconds": {"oldest": 540.0, "newest": 420.0},
    }
    assert Freshness.of([], frozenset(), sealed).details == {}


def test_a_figure_that_nobody_takes_down_harms_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = Registry(tracking_uri=f"http://127.0.0.1:{free_port()}")
    figures = Freshness(2, 1, oldest_seconds=60.0, newest_seconds=5.0)
    log_freshness(Settings(root=tmp_path, registry=away), DAY_1, "promote", "a1b2", figures)
    said = capsys.readouterr().out
    assert "freshness.not_logged" in said
    assert "freshness_seconds_oldest=60.0" in said


@pytest.mark.slow
def test_a_refresh_by_command_serves(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    three_changes(settings)
    done = finish(start_lookalike(settings, "refresh"))
    assert done.returncode == 0, done.stderr
    digest = bundle_digest(settings, DAY_1)
    sealed, served = (
        Partition(settings, step, DAY_1).done().details["freshness_seconds"]["oldest"]
        for step in ("bundle", "promote")
    )
    assert sealed < served
    assert done.stdout.splitlines() == [
        f"Bundle {digest} of {DAY_1} has 3 changes.",
        f"The oldest was {sealed:.0f} s old when it was sealed.",
        f"The oldest was {served:.0f} s old when it served.",
    ]
    now_serving = champion(settings.root)
    assert now_serving is not None
    assert (now_serving.bundle, now_serving.version, now_serving.ds) == (digest, "2", DAY_1)
    assert "prune" not in REFRESHED
    again = finish(start_lookalike(settings, "refresh"))
    assert again.stdout == (f"Nothing to do: no live change is newer than the bundle of {DAY_1}.\n")
    taken = pq.read_table(Partition(settings, "ingest", DAY_1).output / "items.parquet")
    assert "fresh" in taken["item_id"].to_pylist()
