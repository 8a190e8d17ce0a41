"""Clients that ask all the time: what they hear, what they count as a fault, and when."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from plain_server import plain_server
from tiny_bundle import add_bundle, make_root, promote, site

from model.errors import LookalikeError
from pipelines.clients import CLIENTS, POLL_SECONDS, Clients
from pipelines.server_process import free_port
from serving.ledger import champion

SLOW_SECONDS = 0.5


@contextmanager
def slow(serves: list[str]) -> Iterator[str]:
    """A server that answers /slow late, by the bundle that served when it was asked."""

    def answer(path: str) -> tuple[int, bytes]:
        digest = serves[-1]
        if path == "/slow":
            time.sleep(SLOW_SECONDS)
        return 200, json.dumps({"bundle": {"digest": digest}, "hits": [1]}).encode()

    with plain_server(answer) as url:
        yield url


def test_a_swap_is_heard_and_harms_nobody(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    old, new = champion(root), add_bundle(root, items=70)
    assert old is not None
    before = {*threading.enumerate()}
    with site(root) as url, Clients(url, {}, ["/v1/items/item-008/similar"]) as clients:
        assert clients.wait_for(old.bundle, since=time.monotonic(), patience=20) > 0
        since = time.monotonic()
        promote(root, new, "2")
        assert 0 < clients.wait_for(new, since=since, patience=20) < 20
    assert {each.bundle for each in clients.heard} == {old.bundle, new}
    assert clients.faults == []
    asked = [thread for thread in {*threading.enumerate()} - before if "_ask" in thread.name]
    assert asked == []


def test_what_was_asked_before_says_nothing_of_what_serves_now() -> None:
    serves = ["old"]
    with slow(serves) as url, Clients(url, {}, ["/slow", "/fast", "/fast"]) as clients:
        clients.wait_for("old", since=time.monotonic(), patience=5)
        since = time.monotonic()
        serves.append("new")
        assert clients.wait_for("new", since=since, patience=5) < SLOW_SECONDS
        with pytest.raises(LookalikeError, match="gave no answer of bundle old within 1 s"):
            clients.wait_for("old", since=time.monotonic(), patience=1)


def test_errors_and_empty_answers_are_faults_by_name(tmp_path: Path) -> None:
    paths = ["/v1/items/none/similar", "/v1/items/item-008/similar?min_price=1e9"]
    with site(make_root(tmp_path)) as url, Clients(url, {}, paths) as clients:
        while len(clients.heard) < 2 * CLIENTS:
            time.sleep(POLL_SECONDS)
    missing, empty = (sorted(f for f in clients.faults if f.startswith(path)) for path in paths)
    assert missing[0].startswith('/v1/items/none/similar: status 404, {"error":')
    assert empty[0] == f"{paths[1]}: nothing was found"
    assert len(missing) + len(empty) == len(clients.faults) == len(clients.heard)


def test_nobody_answers() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Clients(url, {}, ["/any"]) as clients, pytest.raises(LookalikeError) as caught:
        clients.wait_for("x", since=time.monotonic(), patience=3)
    assert str(caught.value).startswith(
        f"The server at {url} gave no answer of bundle x within 3 s."
    )
    assert set(clients.faults) == {"/any: no answer, ConnectError"}
