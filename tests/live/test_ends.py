"""Processes that write at once, are killed, or may not write."""

import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np

from live.sent import digest, item
from serving.live_change import Change
from serving.live_store import LiveStore

HERE = Path(__file__).parents[2]
CHILD = """
import os, resource, signal, sys
from contextlib import closing
from pathlib import Path
from serving.item import Item
from serving.live_store import LiveStore

url, folder, name = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
store = LiveStore.open(url, folder)

def put(number, photo):
    item = Item(item_id=f"{name}{number % 7}", category="Home > Lamps", price=float(number))
    return store.put(item, photo)
"""
FOREVER = """
print("ready", flush=True)
sys.stdin.readline()
number = 0
while True:
    change = put(number, b"%s %d" % (name.encode(), number) * 500)
    os.write(1, b"%d %s %d\\n" % (change.sequence, change.item_id.encode(), number))
    number += 1
"""
MANY = """
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    os.write(1, b"%d\\n" % put(number, b"%d" % number if number % 2 else None).sequence)
"""


def start(url: str, folder: Path, name: str, script: str) -> "subprocess.Popen[bytes]":
    """A process that has opened the store and waits for a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD + script, url, str(folder), name],
        cwd=HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    return process


def go(*processes: "subprocess.Popen[bytes]") -> None:
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()


def test_a_kill_loses_nothing_that_was_acknowledged(url: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"round{n}-" for n in range(5)]
    processes = [start(url, tmp_path / "live", name, FOREVER) for name in names]
    acknowledged: dict[str, tuple[int, int]] = {}
    for process in processes:
        go(process)
        time.sleep(rng.uniform(0.1, 0.4))
        process.send_signal(signal.SIGKILL)
        out, _ = process.communicate()
        for line in out.splitlines():  # os.write gives whole lines
            sequence, name, number = line.split()
            acknowledged[name.decode()] = (int(sequence), int(number))
    assert len(acknowledged) >= 5
    with closing(LiveStore.open(url, tmp_path / "live")) as store:
        found = {change.item_id: change for change in store.since(0)}
        for name, (sequence, number) in acknowledged.items():
            change = found[name]
            if change.sequence != sequence:  # committed, and killed before it could say so
                assert change.sequence > sequence
                number += 7
            assert change.item == item(name, price=float(number))
            assert change.photo is not None
            photo = b"%s %d" % (name.rstrip("0123456").encode(), number) * 500
            assert store.photo(change.photo) == photo
        assert store.put(item("after"), b"x").sequence > max(
            each[0] for each in acknowledged.values()
        )


def test_processes_that_write_at_once_and_a_reader_that_sees_everything(
    url: str, tmp_path: Path
) -> None:
    """All open the store together, so that they also make it together."""
    names = ["ada", "bob", "cy"]
    processes = [start(url, tmp_path / "live", name, MANY) for name in names]
    go(*processes)
    seen: list[Change] = []
    with closing(LiveStore.open(url, tmp_path / "live")) as store:
        while not seen or seen[-1].sequence < 120:
            assert all(process.poll() in (None, 0) for process in processes)
            page = store.since(seen[-1].sequence if seen else 0, limit=5)
            numbers = [change.sequence for change in page]
            assert numbers == sorted(numbers)
            seen += page
        newest = store.since(0)
    taken = [int(line) for p in processes for line in p.communicate()[0].splitlines()]
    assert sorted(taken) == list(range(1, 121))
    state = {change.item_id: change for change in seen}
    assert sorted(state.values(), key=lambda change: change.sequence) == newest
    assert len(newest) == 21


def test_threads_write_and_read_at_once(store: LiveStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: store.put(item(f"i{n % 5}"), b"%d" % n), range(80)))
    assert sorted(change.sequence for change in made) == list(range(1, 81))
    newest = {change.item_id: change for change in sorted(made, key=lambda each: each.sequence)}
    assert {change.item_id: change for change in store.since(0)} == newest


# A full disk, and a folder that must not be written.

REFUSED = """
put(0, b"before")
{fault}
for number, photo in ((1, None), (2, b"p" * {size})):
    try:
        while True:
            put(number, photo)
            number += 7
    except OSError as error:
        print(error, flush=True)
"""
FULL = "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))"
# Root may write anywhere, so it becomes somebody who may not.
READ_ONLY = """
store.close()  # what is open stays writable
for path in (folder.parent, *folder.parent.rglob("*")):
    os.chmod(path, 0o555 if path.is_dir() else 0o444)
if os.geteuid() == 0:
    os.seteuid(65534)
"""


def refused(tmp_path: Path, fault: str, size: int) -> list[str]:
    script = REFUSED.format(fault=fault, size=size)
    url = f"sqlite:///{tmp_path}/shop/live.db"
    out, _ = start(url, tmp_path / "shop" / "live", "a", script).communicate(timeout=60)
    return out.decode().splitlines()


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path) -> None:
    lines = refused(tmp_path, FULL, 300_000)
    assert re.sub("database or disk is full|disk I/O error", "FULL", lines[0]) == (
        f"Cannot write the live store sqlite:///{tmp_path}/shop/live.db: FULL. Nothing was "
        f"acknowledged. See to its disk, its rights or its server, and try again."
    )
    assert lines[1:] == [
        f"Cannot keep a photo of 300000 bytes in {tmp_path}/shop/live/photos: File too large. "
        f"Nothing was acknowledged. See to its disk or its rights, and try again.",
    ]
    with closing(LiveStore.open(f"sqlite:///{tmp_path}/shop/live.db", tmp_path / "shop/live")) as s:
        assert s.photo(digest(b"before")) == b"before"
        assert {change.item_id for change in s.since(0)} >= {"a0", "a1"}
        s.put(item(), b"p" * 300_000)
    assert list((tmp_path / "shop" / "live").rglob(".*")) == []


def test_a_folder_that_must_not_be_written(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith(("test_", "popen-", "pytest-")):
            folder.chmod(0o755)  # for whom the child becomes
    try:
        lines = refused(tmp_path, READ_ONLY, 10)
        why = "attempt to write a readonly database|unable to open database file"
        assert [re.sub(why, "READ ONLY", line) for line in lines] == [
            f"Cannot write the live store sqlite:///{tmp_path}/shop/live.db: READ ONLY. Nothing "
            f"was acknowledged. See to its disk, its rights or its server, and try again.",
            f"Cannot keep a photo of 10 bytes in {tmp_path}/shop/live/photos: Permission denied. "
            f"Nothing was acknowledged. See to its disk or its rights, and try again.",
        ]
    finally:
        for path in (tmp_path, *tmp_path.rglob("*")):
            path.chmod(0o755)
    with closing(LiveStore.open(f"sqlite:///{tmp_path}/shop/live.db", tmp_path / "shop/live")) as s:
        assert [change.item for change in s.since(0)] == [item("a0", price=0.0)]
        assert s.photo(digest(b"before")) == b"before"
