"""Steps that are killed at any moment and disks that fill: the old state or the new one, always."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import CopyShop
from kills import Kill
from test_registry import aliases, stages
from tiny_shop import (
    DAY_1,
    DAY_2,
    command,
    copy_shop,
    finish,
    forget,
    run_step_of,
    run_steps,
    start_step,
)

from pipelines.bundle import bundle_digest
from pipelines.catalogue import pixel_store
from pipelines.content_store import ContentStore
from pipelines.localise_exam import FACTS
from pipelines.settings import Settings
from pipelines.step import STEPS, Partition, Report, digest_of, file_digests
from serving.bundle import verify
from serving.ledger import LEDGER, champion, read_ledger

pytestmark = pytest.mark.filterwarnings("ignore:.*[Ss]tage.*:FutureWarning")  # MLflow's, on stages

MADE_BY = {"preprocess": ("pixels", "transform_cache"), "embed": ("embeddings",)}
COUNTS = ("served", "boxes", "boxed", "cut_out", "photos")  # of the localiser's exam
REPEATABLE = ("ingest", "embed", "reduce")  # the same bytes again
BALLAST = "ballast"


def moments(seed: int) -> list[Kill]:
    """Two in each of the long steps, one in the others."""
    rng = random.Random(seed)
    steps = ("ingest", "preprocess", "preprocess", "train", "embed", "index", "gate", "bundle")
    return [
        Kill(step, rng.random())
        for step in (*steps, "register", "promote", "localise", "bless", "evidence", "review")
    ]


FAST = ("ingest", "bundle")
KILLS = [
    pytest.param(kill, id=str(kill), marks=[] if kill.name in FAST else pytest.mark.slow)
    for kill in moments(20261119)
]


def before_the_step(settings: Settings, step: str) -> None:
    """As the day was when `step` began; whatever ran after it knows nothing of it yet."""
    later = STEPS[STEPS.index(step) :]
    forget(settings, DAY_1, *later)
    for folder in MADE_BY.get(step, ()):
        shutil.rmtree(settings.root / folder)
    if step in STEPS[: STEPS.index("bundle") + 1]:
        shutil.rmtree(settings.root / "bundles", ignore_errors=True)
    if step in STEPS[: STEPS.index("register") + 1]:
        (settings.root / "mlflow.db").unlink()
        (settings.root / "registry.json").unlink()
    if step in STEPS[: STEPS.index("bless") + 1]:
        shutil.rmtree(settings.root / "blessings")
    ledger = settings.root / LEDGER
    decided = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(decided[: 1 if step == "promote" else 0]))  # the policy's yes


def kill_during(settings: Settings, kill: Kill, seconds: float) -> None:
    """Start the step, wait for its work to begin, kill it after the share of `seconds`."""
    process = start_step(settings, kill.name, DAY_1)
    begun = settings.root / "staging" / f"{kill.name}-{DAY_1}"
    while process.poll() is None and not begun.exists():
        time.sleep(0.0005)
    time.sleep(kill.share * seconds)
    process.send_signal(signal.SIGKILL)
    assert finish(process).returncode in (-signal.SIGKILL, 0)  # 0: it was faster this time


def check_nothing_partial(settings: Settings) -> None:
    """Every report names a whole output, every bundle verifies, every shard and line reads."""
    for path in settings.root.glob("*/ds=*/report.json"):
        report = Report.model_validate_json(path.read_bytes())
        output = path.parent / report.fingerprint
        assert digest_of(file_digests(output)) == report.digest
    for folder in (settings.root / "bundles").glob("*"):
        verify(folder, folder.name)
    stores = [pixel_store(settings.root, settings.pixel_spec)]
    for folder in (settings.root / "embeddings").glob("*"):
        stores.append(ContentStore(folder, (12,), "float32"))
    for store in stores:
        for path in store.folder.glob("[!.]*"):
            keys, values = store.read(path.stem)
            assert values.shape == (len(keys), *store.shape)
    assert all(entry.bundle for entry in read_ledger(settings.root))


def check_like(found: Settings, wanted: Settings, step: str) -> None:
    """The step's output is that of an uninterrupted run, but for times and random numbers."""
    mine, its = (Partition(settings, step, DAY_1) for settings in (found, wanted))
    if step != "embed":  # it counts what was left to do
        assert mine.done().rows == its.done().rows
    if step in REPEATABLE:
        assert mine.done().digest == its.done().digest
    elif step == "preprocess":
        assert without_graph(mine) == without_graph(its)
    elif step == "train":
        for level in ("level_1", "level_2", "leaf"):
            name = f"test_{level}"
            assert abs(mine.done().details[name] - its.done().details[name]) <= 0.002
    elif step == "localise":
        ours, theirs = (json.loads((p.output / FACTS).read_bytes()) for p in (mine, its))
        assert {name: ours[name] for name in COUNTS} == {name: theirs[name] for name in COUNTS}
        (iou, *_), (its_iou, *_) = (p["overlap"]["found box"]["iou"] for p in (ours, theirs))
        assert iou == pytest.approx(its_iou, abs=0.02)
    elif step == "index":
        ours, theirs = file_digests(mine.output), file_digests(its.output)
        for name in ("items.arrow", "vectors.npy"):
            assert ours[name] == theirs[name]
    elif step == "gate":
        ours, theirs = (json.loads((p.output / "verdict.json").read_bytes()) for p in (mine, its))
        assert ours["slices"] == theirs["slices"]
    elif step == "bundle":
        assert without_times(found) == without_times(wanted)
    elif step == "register":
        assert mine.done().details["version"] == "1"
        assert stages(found) == {"1": "Staging"}
        assert aliases(found) == {"challenger": "1"}
    elif step == "promote":
        _, entry = read_ledger(found.root)
        assert (entry.version, entry.bundle) == ("1", bundle_digest(found, DAY_1))
        assert aliases(found) == {"champion": "1"}


def without_graph(partition: Partition) -> dict[str, str]:
    """The graph numbers its functions through a process; two processes agree, see preprocess."""
    digests = file_digests(partition.output)
    return {name: value for name, value in digests.items() if not name.endswith("saved_model.pb")}


def without_times(settings: Settings) -> dict[str, Any]:
    """The manifest but for when it was made and how fast the machine was."""
    digest = bundle_digest(settings, DAY_1)
    manifest = dict(verify(settings.root / "bundles" / digest, digest).manifest)
    del manifest["created"]
    return manifest


@pytest.mark.parametrize("kill", KILLS)
def test_a_killed_step_ends_like_one_that_was_not(
    shop: Settings, shop_copy: CopyShop, kill: Kill
) -> None:
    settings = shop_copy()
    before_the_step(settings, kill.name)
    kill_during(settings, kill, Partition(shop, kill.name, DAY_1).done().seconds)
    check_nothing_partial(settings)
    run_step_of(settings, kill.name, DAY_1)
    check_nothing_partial(settings)
    check_like(settings, shop, kill.name)
    assert list((settings.root / "staging").iterdir()) == []


@pytest.mark.slow
def test_a_day_killed_ten_times_ends_in_production(shop: Settings, shop_copy: CopyShop) -> None:
    """From the feed alone, one root, a kill in each step, and what serves is as good."""
    settings = shop_copy()
    before_the_step(settings, "ingest")
    for folder in ("pixels", "transform_cache", "embeddings", "mlflow-artifacts"):
        shutil.rmtree(settings.root / folder)
    for kill in moments(7):
        until = STEPS.index(kill.name)
        run_steps(settings, DAY_1, STEPS[:until])
        kill_during(settings, kill, Partition(shop, kill.name, DAY_1).done().seconds)
        check_nothing_partial(settings)
        run_steps(settings, DAY_1, STEPS[: until + 1])
    check_nothing_partial(settings)
    now = champion(settings.root)
    assert now is not None
    assert (now.version, now.bundle) == ("1", bundle_digest(settings, DAY_1))
    mine, its = (Partition(s, "gate", DAY_1).done().details for s in (settings, shop))
    assert mine["recall"] == pytest.approx(its["recall"], abs=0.03)
    assert stages(settings) == {"1": "Production"}


@pytest.mark.slow
def test_a_kill_on_the_second_day_leaves_the_first_in_production(
    two_days: Settings, two_days_copy: CopyShop
) -> None:
    settings = two_days_copy()
    forget(settings, DAY_2, "promote")
    lines = settings.root.joinpath("ledger.jsonl").read_bytes().splitlines(keepends=True)
    settings.root.joinpath("ledger.jsonl").write_bytes(b"".join(lines[:3]))  # 2 is approved
    process = start_step(settings, "promote", DAY_2)
    while process.poll() is None and not (settings.root / "staging").glob("promote-*"):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    finish(process)
    now = champion(settings.root)
    assert now is not None
    assert now.bundle in {bundle_digest(settings, ds) for ds in (DAY_1, DAY_2)}
    run_step_of(settings, "promote", DAY_2)
    assert aliases(settings) == aliases(two_days)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk of its own, which only root can mount."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(["mount", *options], check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, leave_kb: int) -> None:
    """Leave so little room."""
    free = os.statvfs(disk)
    size = free.f_bavail * free.f_frsize - leave_kb * 1024
    with (disk / BALLAST).open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def check_disk_full(done: "subprocess.CompletedProcess[str]", text: str) -> None:
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, last) == (75, last)
    assert text in last
    assert last.startswith("OSError: ")


@pytest.mark.parametrize(
    ("step", "leave_kb"),
    [
        ("ingest", 24),
        pytest.param("preprocess", 300, marks=pytest.mark.slow),
        pytest.param("preprocess", 1150, marks=pytest.mark.slow),
        ("embed", 16),
        pytest.param("bundle", 48, marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_is_a_clean_failure(
    shop: Settings, tmp_path: Path, step: str, leave_kb: int
) -> None:
    with small_disk(tmp_path / "disk", 64) as disk:
        settings = copy_shop(shop, disk / "root")
        before_the_step(settings, step)
        before = {s: Partition(settings, s, DAY_1).report() for s in STEPS}
        fill(disk, leave_kb)
        check_disk_full(command(settings, step, DAY_1), "No space left on device")
        (disk / BALLAST).unlink()
        check_nothing_partial(settings)
        assert {s: Partition(settings, s, DAY_1).report() for s in STEPS} == before
        assert list((settings.root / "staging").iterdir()) == []
        run_step_of(settings, step, DAY_1)
        check_like(settings, shop, step)


@pytest.mark.parametrize("step", ["embed", pytest.param("bundle", marks=pytest.mark.slow)])
def test_files_that_may_not_grow_are_a_clean_failure(shop_copy: CopyShop, step: str) -> None:
    """The same without root: a limit on the size of a file, as of a quota."""
    settings = shop_copy()
    before_the_step(settings, step)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
    try:
        process = start_step(settings, step, DAY_1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    check_disk_full(finish(process), "File too large")
    check_nothing_partial(settings)
    assert Partition(settings, step, DAY_1).report() is None
    run_step_of(settings, step, DAY_1)


def test_a_lock_is_let_go_by_a_process_that_dies(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    before_the_step(settings, "index")
    kill_during(settings, Kill("index", 0), 0)
    assert (settings.root / "locks" / f"index-{DAY_1}.lock").is_file()
    assert run_step_of(settings, "index", DAY_1).rows > 0
