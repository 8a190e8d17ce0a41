"""A candidate in shadow or canary: who answers, what is counted, and how it ends."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tiny_bundle import (
    AS_OPERATOR,
    add_bundle,
    add_variant,
    decide,
    draw_photo,
    listening,
    make_root,
    promote,
    serve_settings,
)

from serving.candidate import SHOPPER, Candidate
from serving.champion import Champion
from serving.engine import Engine
from serving.ledger import champion as champion_of
from serving.metrics import Metrics
from serving.routes import create_app

PHOTO = draw_photo(8)
SIMILAR = "/v1/items/item-008/similar"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path, items=40)


@pytest.fixture
def new(root: Path) -> str:
    return add_bundle(root, items=60)


@contextmanager
def replica(root: Path) -> Iterator[tuple[Champion, httpx.Client]]:
    """A server of these routes, and what it keeps."""
    champion = Champion(serve_settings(root))
    champion.poll()
    app = create_app(champion)
    with listening(app) as url, httpx.Client(base_url=url, headers=AS_OPERATOR) as client:
        try:
            yield champion, client
        finally:
            app.state.close()
            champion.start()
            champion.stop()


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def told(client: httpx.Client) -> dict[str, Any]:
    answer = client.get("/v1/rollout")
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


def served_by(answer: httpx.Response) -> str:
    assert answer.status_code == 200
    digest: str = answer.json()["bundle"]["digest"]
    assert digest == answer.headers["X-Lookalike-Bundle"]
    return digest


def counts(tally: dict[str, Any]) -> tuple[int, int, int, int]:
    return tally["answered"], tally["empty"], tally["unknown"], tally["failed"]


def test_without_a_candidate_nothing_is_compared(root: Path) -> None:
    with replica(root) as (_, client):
        client.get(SIMILAR)
        body = told(client)
    entry = champion_of(root)
    assert entry is not None
    assert body == {
        "champion": {
            "digest": entry.bundle,
            "version": "1",
            "action": "promote",
            "at": entry.at.isoformat(),
            "share": 0.0,
        },
        "pending": None,
        "candidate": None,
        "unfit": None,
        "figures": None,
    }


def test_only_operators_are_told(root: Path) -> None:
    with replica(root) as (_, client):
        answer = httpx.get(f"{client.base_url}/v1/rollout")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "no_key")


def test_in_shadow_the_champion_answers_and_the_candidate_is_asked_again(
    root: Path, new: str
) -> None:
    old = champion_of(root)
    assert old is not None
    decide(root, new, "2", "shadow", share=1)
    with replica(root) as (_, client):
        answers = [client.post("/v1/search", content=PHOTO) for _ in range(5)]
        answers += [client.get(SIMILAR), client.get("/v1/items/item-008/substitutes")]
        assert {served_by(answer) for answer in answers} == {old.bundle}
        wait_for(lambda: told(client)["figures"]["compared"] == 7)
        body = told(client)
        text = client.get("/metrics").text
    figures = body["figures"]
    assert body["candidate"] | {"at": ""} == {
        "digest": new, "version": "2", "action": "shadow", "at": "", "share": 1.0,
    }  # fmt: skip
    assert counts(figures["champion"]) == counts(figures["candidate"]) == (7, 0, 0, 0)
    assert 0 < figures["overlap"] < 1  # twenty more items push some out
    assert 0 < figures["candidate"]["p50_ms"] <= figures["candidate"]["p99_ms"] < 10_000
    assert f'lookalike_candidate_info{{digest="{new}",mode="shadow",version="2"}} 1.0' in text
    assert "lookalike_rollout_overlap_count 7.0" in text


def test_the_same_bundle_gives_the_same_answers(root: Path) -> None:
    """So an overlap below 1 is one of the bundles."""
    old = champion_of(root)
    assert old is not None
    same = add_variant(root, old.bundle, lambda folder: None)
    decide(root, same, "2", "shadow", share=1)
    with replica(root) as (_, client):
        for _ in range(3):
            client.get(SIMILAR)
            client.post("/v1/search", content=PHOTO)
        wait_for(lambda: told(client)["figures"]["compared"] == 6)
        assert told(client)["figures"]["overlap"] == 1


def test_in_shadow_only_the_share_is_asked_again(root: Path, new: str) -> None:
    decide(root, new, "2", "shadow", share=0)
    with replica(root) as (_, client):
        for _ in range(5):
            client.get(SIMILAR)
        figures = told(client)["figures"]
    assert (figures["compared"], figures["overlap"]) == (0, None)
    assert counts(figures["champion"]) == (5, 0, 0, 0)


def test_in_canary_a_shopper_stays_with_one_bundle(root: Path, new: str) -> None:
    old = champion_of(root)
    assert old is not None
    decide(root, new, "2", "canary", share=0.5)
    with replica(root) as (_, client):
        by_shopper = {
            shopper: {
                served_by(client.get(SIMILAR, headers={SHOPPER.decode(): shopper}))
                for _ in range(3)
            }
            for shopper in map(str, range(40))
        }
        figures = told(client)["figures"]
    assert all(len(digests) == 1 for digests in by_shopper.values())
    mine = sum(digests == {new} for digests in by_shopper.values())
    assert 8 <= mine <= 32
    assert counts(figures["candidate"]) == (3 * mine, 0, 0, 0)
    assert counts(figures["champion"]) == (3 * (40 - mine), 0, 0, 0)
    assert figures["compared"] == 0


def test_a_larger_share_keeps_the_shoppers_it_had(root: Path, new: str) -> None:
    def takers(share: float) -> set[bytes]:
        decide(root, new, "2", "canary", share=share)
        champion.poll()
        assert champion.candidate is not None
        return {name for name in names if champion.candidate.takes([(SHOPPER, name)])}

    names = [b"%d" % number for number in range(500)]
    champion = Champion(serve_settings(root))
    champion.poll()
    few, many = takers(0.05), takers(0.4)
    assert few < many
    assert (5 < len(few) < 60, 150 < len(many) < 250) == (True, True)
    assert takers(0) == set()
    assert takers(1) == set(names)


def test_requests_without_a_shopper_are_drawn_each_for_itself(root: Path, new: str) -> None:
    decide(root, new, "2", "canary", share=0.5)
    with replica(root) as (_, client):
        digests = [served_by(client.get(SIMILAR)) for _ in range(60)]
    assert 10 < digests.count(new) < 50


def test_what_fails_in_canary_the_champion_answers(root: Path, new: str) -> None:
    old = champion_of(root)
    assert old is not None
    decide(root, new, "2", "canary", share=1)
    with replica(root) as (champion, client):
        assert champion.candidate is not None
        engine = champion.candidate.loaded.engine
        engine.find = _broken  # type: ignore[method-assign]
        assert served_by(client.get(SIMILAR)) == old.bundle
        assert served_by(client.post("/v1/search", content=PHOTO)) == old.bundle
        figures = told(client)["figures"]
    assert counts(figures["candidate"]) == (0, 0, 0, 2)
    assert counts(figures["champion"]) == (2, 0, 0, 0)


def _broken(asks: object) -> Any:
    raise RuntimeError(f"cannot answer {asks}")


def test_a_failure_in_shadow_is_counted_and_the_next_question_asked(root: Path, new: str) -> None:
    decide(root, new, "2", "shadow", share=1)
    with replica(root) as (champion, client):
        assert champion.candidate is not None
        engine = champion.candidate.loaded.engine
        engine.find = _broken  # type: ignore[method-assign]
        client.get(SIMILAR)
        wait_for(lambda: told(client)["figures"]["compared"] == 1)
        del engine.find  # type: ignore[method-assign]
        client.get(SIMILAR)
        wait_for(lambda: told(client)["figures"]["compared"] == 2)
        assert counts(told(client)["figures"]["candidate"]) == (1, 0, 0, 1)


def test_a_photo_that_is_none_is_no_fault_of_the_candidate(root: Path, new: str) -> None:
    decide(root, new, "2", "canary", share=1)
    with replica(root) as (_, client):
        assert client.post("/v1/search", content=b"no photo").status_code == 415
        assert client.get(SIMILAR, params={"k": 0}).status_code == 422
        figures = told(client)["figures"]
    assert counts(figures["candidate"]) == counts(figures["champion"]) == (0, 0, 0, 0)


def test_an_item_that_only_one_of_them_has(root: Path, new: str) -> None:
    """A shopper sees an item of the canary and opens it, or comes with one that it lacks."""
    decide(root, new, "2", "canary", share=1)
    with replica(root) as (_, client):
        only_new = "/v1/items/item-055"
        assert served_by(client.get(f"{only_new}/similar")) == new
        assert served_by(client.get(only_new)) == new
        assert client.get(f"{only_new}/image").status_code == 200
        assert client.get("/v1/items/none/similar").status_code == 404
        assert client.get("/v1/items/none").status_code == 404
        assert counts(told(client)["figures"]["candidate"]) == (1, 0, 1, 0)
    decide(root, new, "2", "shadow", share=1)
    with replica(root) as (_, client):
        assert client.get(only_new).status_code == 404  # nobody has seen it yet
        assert client.get(f"{only_new}/similar").status_code == 404


def test_vectors_batches_and_listings_are_the_champions(root: Path, new: str) -> None:
    old = champion_of(root)
    assert old is not None
    decide(root, new, "2", "canary", share=1)
    with replica(root) as (champion, client):
        assert champion.current is not None
        vector = champion.current.engine.vectors[0].tolist()
        answers = [
            client.post(
                "/v1/search/vector",
                json={"vector": vector, "space_id": champion.current.engine.space_id},
            ),
            client.post("/v1/search/batch", json={"item_ids": ["item-008"]}),
            client.post("/v1/listing", content=PHOTO),
            client.get("/v1/facets"),
        ]
    assert {served_by(answer) for answer in answers} == {old.bundle}


def test_a_promoted_candidate_is_loaded_already(root: Path, new: str) -> None:
    decide(root, new, "2", "canary", share=1)
    champion = Champion(serve_settings(root))
    champion.poll()
    beside, before = champion.candidate, champion.current
    assert beside is not None
    assert before is not None
    promote(root, new, "2")
    champion.poll()
    assert champion.current is not None
    assert champion.current.engine is beside.loaded.engine
    assert (champion.candidate, champion.previous) == (None, before)


def test_an_abort_leaves_the_champion_alone(root: Path, new: str) -> None:
    old = champion_of(root)
    assert old is not None
    decide(root, new, "2", "canary", share=1)
    with replica(root) as (champion, client):
        assert served_by(client.get(SIMILAR)) == new
        decide(root, new, "2", "abort")
        champion.poll()
        assert served_by(client.get(SIMILAR)) == old.bundle
        assert told(client)["candidate"] is None
        assert "lookalike_candidate_info{" not in client.get("/metrics").text


def test_from_shadow_to_canary_it_is_counted_anew_and_not_loaded_again(
    root: Path, new: str
) -> None:
    decide(root, new, "2", "shadow", share=1)
    with replica(root) as (champion, client):
        client.get(SIMILAR)
        wait_for(lambda: told(client)["figures"]["compared"] == 1)
        assert champion.candidate is not None
        engine = champion.candidate.loaded.engine
        decide(root, new, "2", "canary", share=1)
        champion.poll()
        assert champion.candidate.loaded.engine is engine
        figures = told(client)["figures"]
    assert counts(figures["champion"]) == counts(figures["candidate"]) == (0, 0, 0, 0)


def test_a_candidate_that_cannot_be_loaded_is_named_and_shoppers_keep_the_champion(
    root: Path, new: str
) -> None:
    old = champion_of(root)
    assert old is not None
    path = root / "bundles" / new / "vectors.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    decide(root, new, "2", "canary", share=1)
    with replica(root) as (champion, client):
        assert served_by(client.get(SIMILAR)) == old.bundle
        body = told(client)
        assert (body["candidate"], body["figures"], body["unfit"]["bundle"]) == (None, None, new)
        assert body["unfit"]["error"].startswith(f"The file vectors.npy of bundle {new} is damaged")
        assert "lookalike_bundle_refused 0.0" in client.get("/metrics").text
        decide(root, new, "2", "abort")
        champion.poll()
        assert told(client)["unfit"] is None


def test_a_change_is_found_by_both(root: Path, new: str) -> None:
    decide(root, new, "2", "canary", share=0.5)
    facts = {"category": "Fashion > Hats > Beanies", "title": "Bobble hat"}
    with replica(root) as (_, client):
        form = {"item": (None, str(facts).replace("'", '"')), "image": ("a.jpg", draw_photo(999))}
        assert client.put("/v1/items/bobble", files=form).status_code == 200
        digests = set()
        for number in range(20):
            answer = client.get("/v1/items/bobble/similar", headers={SHOPPER.decode(): str(number)})
            digests.add(served_by(answer))
    assert len(digests) == 2


def test_more_than_can_wait_is_passed_by(root: Path, new: str) -> None:
    entry = decide(root, new, "2", "shadow", share=1)
    champion = Champion(serve_settings(root))
    champion.poll()
    assert champion.candidate is not None
    assert champion.current is not None
    loaded = champion.candidate.loaded
    assert loaded.entry == entry
    candidate = Candidate(loaded, Metrics())
    slow: list[float] = []

    def again(engine: Engine) -> list[tuple[int, float]]:
        slow.append(0)
        time.sleep(0.01)
        return [(0, 1.0)]

    for _ in range(100):
        candidate.compare(champion.current.engine, [(0, 1.0)], 0.001, again)
    passed_by = candidate.facts()["passed_by"]
    assert passed_by >= 60
    wait_for(lambda: candidate.facts()["compared"] == 100 - passed_by)
    assert candidate.facts()["overlap"] == 1
    candidate.close()
    candidate.compare(champion.current.engine, [(0, 1.0)], 0.001, again)
    assert len(slow) == 100 - passed_by
