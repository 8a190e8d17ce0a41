"""The live store: what it acknowledged is there, whoever else writes and however it ends."""

import hashlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from setuptools import find_namespace_packages
from sqlalchemy import create_engine, inspect, make_url, text
from sqlalchemy.types import String
from tiny_postgres import is_missing, postgres

from model.errors import BadInput, Damaged
from serving.item import Item
from serving.ledger import now
from serving.live_change import Change
from serving.live_database import connect, metadata
from serving.live_photos import LivePhotos, photo_path
from serving.live_store import LiveStore

HERE = Path(__file__).parents[1]


def item(name: str = "a", **given: object) -> Item:
    return Item.model_validate({"item_id": name, "category": "Home > Lamps", **given})


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if is_missing():
        pytest.skip(f"no PostgreSQL here: {is_missing()}")
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/live.db"
    server: str = request.getfixturevalue("server")
    name = f"t{uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(server).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[LiveStore]:
    with closing(LiveStore.open(url, tmp_path / "live")) as store:
        yield store


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[LiveStore]:
    with closing(LiveStore.open(f"sqlite:///{tmp_path}/live.db", tmp_path / "live")) as store:
        yield store


# What it holds.


def test_a_new_store_is_empty(store: LiveStore) -> None:
    assert (store.newest(), store.since(0), store.vector("a" * 64, "s")) == (0, [], None)


def test_a_change_is_what_was_sent(store: LiveStore) -> None:
    before = now()
    lamp = item(title='Lämp \u2028 "x"', price=9.5, attributes={"colour": "red"}, in_stock=False)
    change = store.put(lamp, b"photo")
    assert before <= change.at <= now()
    assert change.at.tzinfo is UTC
    assert change == Change(
        1, "a", change.at, lamp, photo=digest(b"photo"), photo_sequence=1, photo_at=change.at
    )
    assert (store.since(0), store.since(1), store.newest()) == ([change], [], 1)
    assert store.photo(digest(b"photo")) == b"photo"


def test_facts_alone_keep_the_photo_that_was_sent(store: LiveStore) -> None:
    first = store.put(item(), b"photo")
    second = store.put(item(price=5.0), None)
    assert second == replace(first, sequence=2, at=second.at, item=item(price=5.0))
    third = store.put(item(), b"other")
    assert (third.photo, third.photo_sequence) == (digest(b"other"), 3)
    assert third.photo_at == third.at
    assert store.since(0) == [third]


def test_a_deletion_forgets_the_photo(store: LiveStore) -> None:
    store.put(item(), b"photo")
    gone = store.delete("a")
    assert gone == Change(2, "a", gone.at, None)
    back = store.put(item(), None)
    assert back == Change(3, "a", back.at, item())
    unknown = store.delete("only in the bundle")
    assert store.since(0) == [back, unknown]


def test_changes_are_read_in_parts(store: LiveStore) -> None:
    made = [store.put(item(f"i{n}"), None) for n in range(5)]
    assert store.since(0, limit=2) == made[:2]
    assert store.since(2, limit=2) == made[2:4]
    assert store.since(4, limit=2) == made[4:]


def test_a_store_that_was_made_anew_goes_on_after_the_bundle(store: LiveStore) -> None:
    store.begin_after(500)
    assert (store.newest(), store.put(item(), None).sequence) == (500, 501)
    store.begin_after(7)
    assert store.put(item(), None).sequence == 502


def test_vectors_of_a_photo_by_space(store: LiveStore) -> None:
    first, second = np.array([0.1, -1, 3], np.float32), np.array([7], np.float32)
    store.keep_vector("a" * 64, "s1", np.zeros(3, np.float32))
    store.keep_vector("a" * 64, "s1", first)
    store.keep_vector("a" * 64, "s2", second)
    found = [store.vector("a" * 64, space) for space in ("s1", "s2", "s3")]
    assert [None if each is None else each.tolist() for each in found] == [
        first.tolist(),
        [7.0],
        None,
    ]
    assert found[0] is not None
    assert (found[0].dtype, found[0].flags.writeable) == (np.float32, True)
    with pytest.raises(BadInput) as caught:
        store.keep_vector("a" * 64, "s1", np.zeros((1, 3), np.float64))  # type: ignore[arg-type]
    assert str(caught.value) == (
        "Cannot keep this vector. Expected float32 [d]. Received: float64 [1, 3]."
    )


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from(["put", "photo", "delete"]), st.integers(0, 3)
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(actions=ACTIONS)
def test_the_newest_state_of_each_item(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, str, int]]
) -> None:
    root = tmp_path_factory.mktemp("live")
    expected: dict[str, tuple[int, Item | None, bytes | None]] = {}
    with closing(LiveStore.open(f"sqlite:///{root}/live.db", root / "live")) as store:
        for sequence, (name, action, number) in enumerate(actions, start=1):
            new = item(name, price=float(number))
            if action == "delete":
                store.delete(name)
                expected[name] = (sequence, None, None)
            else:
                sent = b"%d" % number if action == "photo" else None
                store.put(new, sent)
                expected[name] = (sequence, new, sent or expected.get(name, (0, None, None))[2])
        found = store.since(0)
        assert [change.sequence for change in found] == sorted(
            each[0] for each in expected.values()
        )
        assert {
            change.item_id: (
                change.sequence,
                change.item,
                None if change.photo is None else store.photo(change.photo),
            )
            for change in found
        } == expected
        assert store.newest() == len(actions)


# Its photos.


def test_a_photo_lies_where_its_path_says(lite: LiveStore, tmp_path: Path) -> None:
    lite.put(item(), b"photo")
    (path,) = (path for path in (tmp_path / "live").rglob("*") if path.is_file())
    assert path == tmp_path / "live" / photo_path(digest(b"photo"))
    assert path.relative_to(tmp_path / "live" / "photos").parts == (path.name[:2], path.name)


def test_a_damaged_photo_is_not_given_out_and_heals_when_it_is_sent_again(
    lite: LiveStore, tmp_path: Path
) -> None:
    lite.put(item(), b"photo")
    path = tmp_path / "live" / photo_path(digest(b"photo"))
    path.write_bytes(b"phoTo")
    with pytest.raises(Damaged) as caught:
        lite.photo(digest(b"photo"))
    assert str(caught.value) == (
        f"A photo of the live store is damaged: {path}. Expected sha256 {digest(b'photo')[:12]}. "
        f"Found: {digest(b'phoTo')[:12]}. Send the item with its photo again."
    )
    lite.put(item(), b"photo")
    assert lite.photo(digest(b"photo")) == b"photo"
    path.unlink()
    with pytest.raises(Damaged, match=r"^A photo of the live store is gone\. Expected it at "):
        lite.photo(digest(b"photo"))


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "a" * 63])
def test_only_a_digest_names_a_photo(lite: LiveStore, name: str) -> None:
    with pytest.raises(BadInput, match="^Expected the SHA-256 of a photo in hex. Received: "):
        lite.photo(name)


# What it forgets.


def test_pruning_forgets_what_bundles_took_in_and_what_nothing_refers_to(
    store: LiveStore, tmp_path: Path
) -> None:
    vector = np.ones(2, np.float32)
    for name in ("old", "new", "of a catalogue"):
        store.put(item(name), name.encode())
        store.keep_vector(digest(name.encode()), "s", vector)
    newer = store.put(item("new"), None)
    assert store.prune([1, 2, 3], {digest(b"of a catalogue")}) == 2  # the second is past
    assert (store.since(0), store.newest()) == ([newer], 4)
    photos = LivePhotos(tmp_path / "live" / "photos")
    assert set(photos.digests()) == {digest(b"new"), digest(b"of a catalogue")}
    kept = [store.vector(digest(name), "s") is not None for name in (b"old", b"new")]
    assert kept == [False, True]
    assert store.prune([4], ()) == 1
    assert list(photos.digests()) == []


def test_pruning_removes_what_killed_writers_left_but_not_what_is_being_written(
    lite: LiveStore, tmp_path: Path
) -> None:
    lite.put(item(), b"photo")
    folder = (tmp_path / "live" / photo_path(digest(b"photo"))).parent
    for name in (".abandoned", ".written"):
        (folder / name).touch()
    hours_ago = time.time() - 2 * 3600
    os.utime(folder / ".abandoned", (hours_ago, hours_ago))
    lite.prune((), ())
    assert sorted(path.name for path in folder.iterdir()) == [".written", digest(b"photo")]


def test_a_photo_that_is_sent_while_it_is_pruned_stays(store: LiveStore) -> None:
    """The same few photos again and again, by items that are forgotten at once."""

    def send(writer: int) -> None:
        for n in range(25):
            store.put(item(f"{writer}"), b"%d" % (n % 3))
            change = next(each for each in store.since(0) if each.item_id == f"{writer}")
            assert change.photo is not None
            assert store.photo(change.photo)

    def prune() -> None:
        while not all(sender.done() for sender in senders):
            store.prune((), ())

    with ThreadPoolExecutor(3) as pool:
        senders = [pool.submit(send, writer) for writer in range(2)]
        pruner = pool.submit(prune)
    for done in (*senders, pruner):
        done.result()


# Its schema.


def test_the_migrations_make_the_tables_that_the_code_uses(url: str) -> None:
    engine = connect(url)
    found = inspect(engine)
    for table in metadata.sorted_tables:
        columns = {column["name"]: column for column in found.get_columns(table.name)}
        assert set(columns) == set(table.columns.keys())
        for column in table.columns:
            made = columns[column.name]
            assert made["nullable"] == column.nullable
            if isinstance(column.type, String):
                assert getattr(made["type"], "length", None) == column.type.length
        indexes = {each["name"]: bool(each["unique"]) for each in found.get_indexes(table.name)}
        assert indexes == {index.name: index.unique for index in table.indexes}
        assert found.get_pk_constraint(table.name)["constrained_columns"] == [
            column.name for column in table.primary_key
        ]
    engine.dispose()


def test_opening_again_keeps_everything(url: str, tmp_path: Path) -> None:
    with closing(LiveStore.open(url, tmp_path / "live")) as store:
        change = store.put(item(), b"photo")
    with closing(LiveStore.open(url, tmp_path / "live")) as store:
        assert (store.since(0), store.photo(digest(b"photo"))) == ([change], b"photo")


def test_a_store_of_a_newer_version_is_refused(url: str, tmp_path: Path) -> None:
    LiveStore.open(url, tmp_path / "live").close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    engine.dispose()
    with pytest.raises(BadInput) as caught:
        LiveStore.open(url, tmp_path / "live")
    assert str(caught.value) == (
        f"The live store {url} was written by a newer version. Expected a schema of at most 0001. "
        f"Received: 0999. Update this installation, or name another store (live.url)."
    )


def test_the_migrations_are_installed() -> None:
    assert "serving.migrations.versions" in find_namespace_packages(str(HERE), include=["serving*"])
    assert (HERE / "serving" / "migrations" / "env.py").is_file()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://a:b@c/d", "Cannot use this live.url"),
        (
            "sqlite://",
            "Cannot use this live.url. Expected sqlite:///PATH or .* Received: sqlite://",
        ),
        ("live.db", "Cannot use this live.url: Could not parse SQLAlchemy URL"),
    ],
)
def test_other_databases_are_refused(url: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=message):
        LiveStore.open(url, tmp_path)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "live.db").write_bytes(b"not a database" * 100)
    with pytest.raises(Damaged, match=re.escape(
        f"Cannot open the live store sqlite:///{tmp_path}/live.db: file is not a database. "
        f"Expected a sound database of this project."
    )):  # fmt: skip
        LiveStore.open(f"sqlite:///{tmp_path}/live.db", tmp_path / "live")


# Other processes, and its end.

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


def test_a_database_without_a_server_is_said(tmp_path: Path) -> None:
    if is_missing():
        pytest.skip(f"no PostgreSQL here: {is_missing()}")
    with pytest.raises(OSError, match="^Cannot open the live store postgresql") as caught:
        LiveStore.open(f"postgresql+psycopg://u:secret@/x?host={tmp_path}", tmp_path / "live")
    assert "secret" not in str(caught.value)


def test_rows_that_others_wrote_are_read_alike(lite: LiveStore, tmp_path: Path) -> None:
    """A time in SQLite has no zone: it is UTC, whatever the zone of the machine."""
    change = lite.put(item(), None)
    with closing(sqlite3.connect(tmp_path / "live.db")) as database:
        (written,) = database.execute("SELECT at FROM items").fetchone()
    assert datetime.fromisoformat(written).replace(tzinfo=UTC) == change.at
    assert timedelta(0) <= now() - change.at < timedelta(minutes=1)
