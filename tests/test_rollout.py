"""A candidate's way to the shoppers, over real replicas that are asked all the time."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import CopyShop
from released import (
    add_candidate,
    approve,
    champion_version,
    damage,
    history,
    notes,
    replicas,
    shoppers,
)
from test_registry import stages
from tiny_bundle import site
from tiny_shop import DAY_2

from model.errors import Refused
from pipelines import promote
from pipelines.release import roll_back, try_beside
from pipelines.replicas import ask_replicas
from pipelines.rollout import roll_out
from pipelines.settings import Rollout, Settings
from serving.bundle import MANIFEST
from serving.ledger import read_ledger, read_standing

pytestmark = pytest.mark.filterwarnings("ignore:.*[Ss]tage.*:FutureWarning")  # MLflow's, on stages


def items_of(url: str) -> list[str]:
    return [item["item_id"] for item in httpx.get(f"{url}/v1/items?limit=4").json()["items"]]


def served_by(answers: list[httpx.Response]) -> set[str]:
    assert {answer.status_code for answer in answers} == {200}
    return {answer.json()["bundle"]["version"] for answer in answers}


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def reversed_rows(folder: Path) -> None:
    """Right vectors under wrong ids: it answers, and quite another thing."""
    import pyarrow as pa

    path = str(folder / "items.arrow")
    table = pa.ipc.open_file(pa.OSFile(path)).read_all()
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.take(list(range(len(table)))[::-1]))


def test_shadow_then_canary_then_all_on_every_replica(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    candidate = add_candidate(settings)
    approve(settings, candidate)
    with replicas(settings, 2) as shop:
        urls = shop.rollout.replicas
        with shoppers(urls, items_of(urls[0])) as answers:
            way = roll_out(shop, candidate)
        assert served_by(answers) == {"2", "3"}
        assert way.confirmed == urls
    assert way.silent == ()
    assert [part.split(",")[0] for part in way.parts] == ["shadow passed", "canary passed"]
    assert history(settings)[2:] == [
        ("shadow", "3", "2"),
        ("canary", "3", "2"),
        ("promote", "3", "2"),
    ]
    shadow, canary, entry = read_ledger(settings.root)[-3:]
    assert [(each.who, each.share) for each in (shadow, canary, entry)] == [
        ("ada", 1.0), ("ada", 0.5), ("ada", 0.0),
    ]  # fmt: skip
    assert entry.why.startswith("looks good; shadow passed, ")
    assert "1.000 of the champion's answers" in entry.why  # it is the same bundle but for its time
    assert notes(settings, "3")[0] == "serves"


def test_a_wrong_bundle_is_aborted_in_shadow_and_no_shopper_sees_it(
    two_days_copy: CopyShop,
) -> None:
    settings = two_days_copy()
    candidate = add_candidate(settings, edit=reversed_rows)
    approve(settings, candidate)
    with replicas(settings, 1, min_overlap=0.5, shadow_seconds=30) as shop:
        urls = shop.rollout.replicas
        with (
            shoppers(urls, items_of(urls[0])) as answers,
            pytest.raises(Refused) as caught,
        ):
            roll_out(shop, candidate)
        assert served_by(answers) == {"2"}
    assert "is aborted, in shadow: " in str(caught.value)
    assert str(caught.value).endswith("are needed. Production is version 2, as before.")
    assert history(settings)[2:] == [("shadow", "3", "2"), ("abort", "3", "2")]
    assert (stages(settings)["3"], notes(settings, "3")[:2]) == ("Archived", ("aborted", "rollout"))
    # It stays out until a person says otherwise.
    with pytest.raises(Refused, match=r"^Version 3 was aborted by rollout: in shadow: "):
        roll_out(settings, candidate)


def test_a_slow_bundle_is_aborted_in_canary(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    candidate = add_candidate(settings)
    approve(settings, candidate)
    given = {"shadow_seconds": 0, "canary_seconds": 30, "max_slowdown": 0.0001}
    with replicas(settings, 1, **given) as shop:
        urls = shop.rollout.replicas
        with (
            shoppers(urls, items_of(urls[0])) as answers,
            pytest.raises(Refused, match=r"is aborted, in canary: p99 "),
        ):
            roll_out(shop, candidate)
        wait_for(lambda: read_standing(settings.root).candidate is None)
        assert served_by(answers) == {"2", "3"}
        time.sleep(0.5)  # two polls of the servers
        assert {httpx.get(f"{urls[0]}/v1/bundle").json()["version"]} == {"2"}
    assert history(settings)[2:] == [("canary", "3", "2"), ("abort", "3", "2")]


def test_a_person_ends_it_in_canary(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    candidate = add_candidate(settings)
    approve(settings, candidate)
    raised: list[BaseException] = []
    with replicas(settings, 1, shadow_seconds=0, canary_seconds=60) as shop:

        def carry() -> None:
            try:
                roll_out(shop, candidate)
            except Refused as error:
                raised.append(error)

        thread = threading.Thread(target=carry)
        thread.start()
        wait_for(lambda: read_standing(settings.root).candidate is not None)
        roll_back(settings, to=None, who="bob", why="shoes look odd")
        thread.join(20)
        assert not thread.is_alive()
    assert [str(error) for error in raised] == [
        "The rollout of version 3 was ended by bob (abort): shoes look odd. "
        "Production is version 2."
    ]
    assert champion_version(settings) == "2"


@pytest.mark.parametrize(("then", "last"), [("promote", "promote"), ("abort", "abort")])
def test_without_queries_nobody_can_tell(two_days_copy: CopyShop, then: str, last: str) -> None:
    settings = two_days_copy()
    candidate = add_candidate(settings)
    approve(settings, candidate)
    with replicas(settings, 1, when_inconclusive=then, canary_seconds=0) as shop:
        if then == "promote":
            way = roll_out(shop, candidate)
            assert way.parts == ("shadow inconclusive, 0 queries, 5 are needed to tell",)
        else:
            with pytest.raises(Refused, match="in shadow, inconclusive: 0 queries, 5 are needed"):
                roll_out(shop, candidate)
    assert history(settings)[-1][0] == last


def test_a_replica_that_cannot_load_it_keeps_the_champion_and_says_so(
    two_days_copy: CopyShop, tmp_path: Path
) -> None:
    """The other one could: but a shop serves one bundle, so it is out for both."""
    settings = two_days_copy()
    candidate = add_candidate(settings)
    approve(settings, candidate)
    other = two_days_copy("other")  # a replica whose disk has a damaged copy
    same = add_candidate(other)
    assert same.digest == candidate.digest
    damage(other, candidate.digest)
    (other.root / "ledger.jsonl").unlink()
    (other.root / "ledger.jsonl").symlink_to(settings.root / "ledger.jsonl")
    with replicas(settings, 1) as shop, site(other.root) as url:
        both = shop.model_copy(
            update={
                "rollout": shop.rollout.model_copy(
                    update={"replicas": (*shop.rollout.replicas, url)}
                )
            }
        )
        with pytest.raises(Refused) as caught:
            roll_out(both, candidate)
        assert f"{url} cannot load it: The file vectors.npy of bundle" in str(caught.value)
        wait_for(lambda: all(r.told and r.told["candidate"] is None for r in ask_replicas(both)))
        assert [replica.serves(champion_digest(settings)) for replica in ask_replicas(both)] == [
            True, True,
        ]  # fmt: skip
    assert history(settings)[2:] == [("shadow", "3", "2"), ("abort", "3", "2")]


def champion_digest(settings: Settings) -> str:
    champion = read_standing(settings.root).champion
    assert champion is not None
    return champion.bundle


def test_a_rollout_that_was_killed_goes_on(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    candidate = add_candidate(settings)
    approve(settings, candidate)
    try_beside(settings, candidate, "canary", 0.5, why="5 s of canary")
    with replicas(settings, 1, canary_seconds=5, min_queries=1) as shop:
        urls = shop.rollout.replicas
        with shoppers(urls, items_of(urls[0])):
            way = roll_out(shop, candidate)
    assert [part.split(",")[0] for part in way.parts] == ["canary passed"]
    assert history(settings)[2:] == [("canary", "3", "2"), ("promote", "3", "2")]


def test_two_at_once_make_one_rollout(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    candidate = add_candidate(settings)
    approve(settings, candidate)
    with replicas(settings, 1, canary_seconds=0) as shop:
        threads = [threading.Thread(target=roll_out, args=(shop, candidate)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert history(settings)[2:] == [("shadow", "3", "2"), ("promote", "3", "2")]


def test_named_replicas_that_are_all_silent_are_a_fault_of_the_moment(
    two_days_copy: CopyShop,
) -> None:
    settings = two_days_copy(rollout=Rollout(replicas=("http://127.0.0.1:1",)))
    candidate = add_candidate(settings)
    approve(settings, candidate)
    with pytest.raises(OSError, match=r"^None of the replicas answers as an operator is answered"):
        roll_out(settings, candidate)
    assert champion_version(settings) == "2"


def test_the_step_promotes_what_was_approved_and_says_how(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    before = promote.run(settings, DAY_2)
    assert before.reused
    details: dict[str, Any] = before.details
    assert (details["promoted"], details["parts"]) == (True, [])
    manifest = json.loads(
        (settings.root / "bundles" / champion_digest(settings) / MANIFEST).read_bytes()
    )
    assert manifest["ds"] == str(DAY_2)
