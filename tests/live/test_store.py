"""What the store holds, and what it forgets."""

import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live.sent import digest, item
from model.errors import BadInput
from serving.item import Item
from serving.ledger import now
from serving.live_change import Change
from serving.live_photos import LivePhotos, photo_path
from serving.live_store import LiveStore


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


def test_rows_that_others_wrote_are_read_alike(lite: LiveStore, tmp_path: Path) -> None:
    """A time in SQLite has no zone: it is UTC, whatever the zone of the machine."""
    change = lite.put(item(), None)
    with closing(sqlite3.connect(tmp_path / "live.db")) as database:
        (written,) = database.execute("SELECT at FROM items").fetchone()
    assert datetime.fromisoformat(written).replace(tzinfo=UTC) == change.at
    assert timedelta(0) <= now() - change.at < timedelta(minutes=1)


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
