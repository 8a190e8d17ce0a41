"""What `lookalike status` knows: bundles, stages, figures, decisions, the servers' own words."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import CopyShop
from pydantic import SecretStr
from released import add_candidate, approve, damage, replicas
from tiny_bundle import OPERATOR, OPERATOR_SECRET
from tiny_shop import DAY_1, DAY_2

from pipelines.bundle import bundle_digest
from pipelines.evidence_record import PAGE
from pipelines.release import try_beside
from pipelines.replicas import NO_KEY
from pipelines.server_process import free_port
from pipelines.settings import Rollout, Serve, Settings
from pipelines.stages import sync
from pipelines.status import status, status_lines
from pipelines.step import Partition
from serving.ledger import read_ledger

pytestmark = pytest.mark.filterwarnings("ignore:.*[Ss]tage.*:FutureWarning")  # MLflow's, on stages


def seen(settings: Settings, port: int) -> dict[str, Any]:
    """By somebody who has the operator's key."""
    keys = SecretStr(f"{OPERATOR}:{OPERATOR_SECRET}")
    serve = Serve(port=port, operator_keys=keys)
    return status(settings.model_copy(update={"serve": serve}))


def row_of(settings: Settings, ds: Any, version: str, stage: str) -> dict[str, Any]:
    partition = Partition(settings, "index", ds)
    index, facts = partition.done(), json.loads((partition.output / "index.json").read_bytes())
    gate = Partition(settings, "gate", ds)
    verdict = json.loads((gate.output / "verdict.json").read_bytes())
    return {
        "version": version,
        "bundle": bundle_digest(settings, ds),
        "stage": stage,
        "ds": ds.isoformat(),
        "space_id": index.details["space_id"],
        "trained": DAY_1.isoformat(),
        "stored": True,
        "items": index.rows,
        "index": facts["description"],
        "recall_at_10": {
            row["slice"]: {name: row[name] for name in ("recall", "lower_bound", "queries")}
            for row in verdict["slices"]
        },
        "p99_ms": gate.done().details["p99_ms"],
    }


def test_everything_about_two_days(two_days: Settings) -> None:
    found = seen(two_days, port := free_port())
    (answer,) = found.pop("replicas")
    bundles = [
        row_of(two_days, DAY_2, "2", "Production"), row_of(two_days, DAY_1, "1", "Archived"),
    ]  # fmt: skip
    assert found == {
        "root": str(two_days.root),
        "production": bundles[0],
        "bundles": bundles,
        "candidate": None,
        "waiting": [],
        "ledger": [entry.model_dump(mode="json") for entry in read_ledger(two_days.root)],
    }
    assert answer.pop("fault").startswith("no answer, ")
    assert answer == {
        "url": f"http://127.0.0.1:{port}", "serves": None, "candidate": None, "refused": [],
    }  # fmt: skip
    assert json.loads(json.dumps(found)) == found


def test_a_rollout_as_the_ledger_and_each_server_have_it(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    candidate, waits = add_candidate(settings), add_candidate(settings, hour=22)
    approve(settings, candidate)
    entry = try_beside(settings, candidate, "canary", 0.25, why="a test")
    with replicas(settings, 2) as shop:
        urls = shop.rollout.replicas
        found = status(shop)
    serves = bundle_digest(settings, DAY_2)
    since = entry.at.isoformat(timespec="seconds")
    assert (found["candidate"], found["waiting"]) == (
        {
            "version": "3", "bundle": candidate.digest, "ds": str(DAY_2), "mode": "canary",
            "share": 0.25, "since": since, "who": "ada",
        },
        [{"version": "4", "ds": str(DAY_2), "bundle": waits.digest, "page": None}],
    )  # fmt: skip
    assert found["replicas"] == [
        {"url": url, "serves": serves, "candidate": candidate.digest, "refused": [], "fault": None}
        for url in urls
    ]
    assert list(status_lines(found))[4:] == [
        "Version 4 waits for a review: lookalike review 4 --approve|--reject --why TEXT",
        f"Version 3 is in canary with 25.0% of the queries since {since}",
        *(f"{url} serves {serves}, and tries {candidate.digest}" for url in urls),
    ]


def test_what_waits_has_the_page_of_its_evidence(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    ledger = settings.root / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:2]))  # day 1
    sync(settings)
    assert seen(settings, free_port())["waiting"] == [
        {
            "version": "2",
            "ds": str(DAY_2),
            "bundle": bundle_digest(settings, DAY_2),
            "page": str(Partition(settings, "evidence", DAY_2).output / PAGE),
        }
    ]


def test_a_server_that_cannot_load_a_candidate(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    candidate = add_candidate(settings)
    approve(settings, candidate)
    try_beside(settings, candidate, "shadow", 1, why="a test")
    damage(settings, candidate.digest)
    with replicas(settings, 1) as shop:
        found = status(shop)
    ((url,), (told,)) = shop.rollout.replicas, found["replicas"]
    (refused,) = told["refused"]
    assert (told["candidate"], refused["bundle"]) == (None, candidate.digest)
    assert refused["error"].startswith("The file vectors.npy of bundle")
    assert list(status_lines(found))[-2:] == [
        f"{url} serves {bundle_digest(settings, DAY_2)}",
        f"{url} cannot load {candidate.digest}: {refused['error']}",
    ]


def test_without_an_operators_key_no_server_is_asked(shop: Settings) -> None:
    named = Rollout(replicas=("http://127.0.0.1:1", "http://127.0.0.1:2"))
    found = status(shop.model_copy(update={"rollout": named}))
    assert list(status_lines(found))[1:] == [
        f"{url} tells nothing: {NO_KEY}" for url in named.replicas
    ]


def test_a_bundle_whose_files_are_gone(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    digest = bundle_digest(settings, DAY_1)
    whole = row_of(settings, DAY_1, "1", "Production")
    shutil.rmtree(settings.root / "bundles" / digest)
    (row,) = seen(settings, free_port())["bundles"]
    names = ("version", "bundle", "stage", "ds", "space_id", "trained")
    assert row == {**{name: whole[name] for name in names}, "stored": False}


def test_before_the_first_day(tmp_path: Path) -> None:
    found = seen(Settings(root=tmp_path), free_port())
    del found["replicas"]
    assert found == {
        "root": str(tmp_path), "production": None, "bundles": [], "candidate": None,
        "waiting": [], "ledger": [],
    }  # fmt: skip


def test_a_root_that_does_not_exist_yet(tmp_path: Path) -> None:
    found = seen(Settings(root=tmp_path / "new"), free_port())
    assert (found["production"], found["bundles"], found["ledger"]) == (None, [], [])
