"""Servers asked over HTTP: what they tell, why one tells nothing, and their figures as one."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from plain_server import plain_server
from pydantic import SecretStr
from tiny_bundle import OPERATOR, OPERATOR_SECRET, add_bundle, decide, make_root, site

from pipelines.operator_key import make_operator_key
from pipelines.replicas import NO_KEY, Comparison, Replica, Tally, ask_replicas, compare
from pipelines.server_process import free_port
from pipelines.settings import Rollout, Serve, Settings
from serving.ledger import champion

OTHER = SecretStr(f"{OPERATOR}:{OPERATOR_SECRET[::-1]}")
ELSE = "something else listens there: no answer of /v1/rollout"
PARTS = ("champion", "pending", "candidate", "unfit", "figures")


def settings_of(root: Path, *urls: str, keys: SecretStr | None = None) -> Settings:
    own = SecretStr(f"{OPERATOR}:{OPERATOR_SECRET}")
    return Settings(
        root=root, serve=Serve(operator_keys=keys or own), rollout=Rollout(replicas=urls)
    )


def told(**given: Any) -> dict[str, Any]:
    return {**dict.fromkeys(PARTS), **given}


def test_real_servers_in_the_order_of_the_settings(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    entry, new = champion(root), add_bundle(root, items=70)
    assert entry is not None
    decide(root, new, "2", "canary", share=0.5)
    with site(root) as one, site(root) as other:
        found = ask_replicas(settings_of(root, other, f"{one}/"))
    assert [each.url for each in found] == [other, f"{one}/"]
    for replica in found:
        assert (replica.champion, replica.candidate) == (entry.bundle, new)
        assert (replica.refused, replica.fault) == ([], None)
        assert replica.serves(entry.bundle)
        assert replica.tries(new, "canary")
        assert not replica.tries(new, "shadow")
        assert not replica.tries(entry.bundle, "canary")
        assert replica.refusal(new) is None
    assert compare(found, new) == Comparison()
    assert compare(found, entry.bundle) == Comparison()


def test_by_default_the_server_of_the_settings(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    with site(root) as url:
        port = httpx.URL(url).port
        assert port is not None
        settings = settings_of(root)
        serve = settings.serve.model_copy(update={"port": port})
        (found,) = ask_replicas(settings.model_copy(update={"serve": serve}))
    assert (found.url, found.fault) == (url, None)


def test_one_that_cannot_load_what_it_should_says_so(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    new = add_bundle(root, items=70)
    path = root / "bundles" / new / "vectors.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    decide(root, new, "2", "shadow", share=0.5)
    with site(root) as url:
        (found,) = ask_replicas(settings_of(root, url))
    (refused,) = found.refused
    assert refused["bundle"] == new
    assert found.refusal(new) == f"{url} cannot load it: {refused['error']}"
    assert found.refusal("0" * 16) is None
    assert not found.tries(new, "shadow")


def test_one_that_is_silent_does_not_keep_the_others(tmp_path: Path) -> None:
    root, nowhere = make_root(tmp_path), f"http://127.0.0.1:{free_port()}"
    with site(root) as url:
        silent, found = ask_replicas(settings_of(root, nowhere, url))
    assert (silent.told, found.fault) == (None, None)
    assert (silent.fault or "").startswith("no answer, ")
    assert (silent.champion, silent.candidate, silent.refused) == (None, None, [])


def test_a_key_that_is_no_operators_there(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    with site(root) as url:
        found = ask_replicas(settings_of(root, url, keys=OTHER))
    assert found == [Replica(url, None, "status 401: the key here is no operator's there")]


def test_no_key_at_all_or_the_one_of_the_root(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path, rollout=Rollout(replicas=("http://127.0.0.1:1",)))
    assert ask_replicas(settings) == [Replica("http://127.0.0.1:1", None, NO_KEY)]
    make_operator_key(tmp_path)
    (found,) = ask_replicas(settings)
    assert (found.fault or "").startswith("no answer, ")


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (200, b"", ELSE),
        (200, b"<html>", ELSE),
        (200, b"[1]", ELSE),
        (200, b"{}", ELSE),
        (200, b'{"champion": null}', ELSE),
        (404, b"{}", "status 404 for /v1/rollout"),
        (403, b"{}", "status 403: the key here is no operator's there"),
        (500, b"oh", "status 500 for /v1/rollout"),
    ],
)
def test_something_else_listens_there(tmp_path: Path, status: int, body: bytes, fault: str) -> None:
    with plain_server(lambda path: (status, body)) as url:
        assert ask_replicas(settings_of(tmp_path, url)) == [Replica(url, None, fault)]


def test_an_address_that_is_none(tmp_path: Path) -> None:
    (found,) = ask_replicas(settings_of(tmp_path, "replica-1:3000"))
    assert (found.fault or "").startswith("no answer, ")


def tally(answered: int, p99_ms: float | None, **others: int) -> dict[str, Any]:
    none = {"empty": 0, "unknown": 0, "failed": 0}
    return {**none, "answered": answered, "p50_ms": None, "p99_ms": p99_ms, **others}


def replica(name: str, digest: str, **figures: Any) -> Replica:
    return Replica(name, told(candidate={"digest": digest, "action": "shadow"}, figures=figures))


def test_figures_are_joined_by_how_much_each_was_asked() -> None:
    found = [
        replica(
            "a", "new",
            champion=tally(300, 10.0, failed=1), candidate=tally(100, 20.0, empty=2, unknown=3),
            compared=90, overlap=0.9,
        ),
        replica(
            "b", "new",
            champion=tally(100, 30.0, empty=4), candidate=tally(0, None, failed=5),
            compared=10, overlap=0.4,
        ),
        replica(
            "c", "new",
            champion=tally(0, None), candidate=tally(0, None), compared=0, overlap=None,
        ),
        replica(
            "d", "another",
            champion=tally(9, 9.0), candidate=tally(9, 9.0), compared=9, overlap=0.0,
        ),
        Replica("e", told()),
        Replica("f", None, "no answer"),
    ]  # fmt: skip
    assert compare(found, "new") == Comparison(
        champion=Tally(answered=400, empty=4, failed=1, p99_ms=15.0),
        candidate=Tally(answered=100, empty=2, unknown=3, failed=5, p99_ms=20.0),
        compared=100,
        overlap=pytest.approx(0.85),
    )
