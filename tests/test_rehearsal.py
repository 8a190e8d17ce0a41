"""A server that no shopper sees: what it tells, and what of that keeps a bundle from shoppers."""

from dataclasses import asdict, replace

import pytest
from conftest import CopyShop
from tiny_shop import DAY_1

from pipelines.bundle import bundle_digest
from pipelines.golden import Golden, golden_items
from pipelines.rehearsal import Rehearsal, put_in_production, rehearse
from pipelines.settings import Bless, Settings
from pipelines.step import staging
from serving.bundle import verify
from serving.engine import Engine

GOOD = Rehearsal(
    faults=[],
    load_seconds=2.5,
    memory_bytes=400_000_000,
    p50_ms={"items": 3.0, "photos": 20.0},
    p99_ms={"items": 9.5, "photos": None},
    asked={"items": 200, "photos": 0},
)


def engine_of(settings: Settings) -> Engine:
    digest = bundle_digest(settings, DAY_1)
    return Engine(verify(settings.root / "bundles" / digest, digest))


def asked(settings: Settings, golden: list[Golden]) -> Rehearsal:
    """What a server on the first day's bundle tells."""
    with staging(settings.root, "test-rehearsal") as root:
        put_in_production(settings, root, DAY_1, bundle_digest(settings, DAY_1))
        return rehearse(settings, root, {"items": golden})


def test_one_other_answer_is_found_and_named(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    golden = golden_items(engine_of(settings), 6, 10)
    wrong = [{**golden[3].hits[0], "score": 0.5}, *golden[3].hits[1:]]
    short = golden[4].hits[:-1]
    golden[3], golden[4] = replace(golden[3], hits=wrong), replace(golden[4], hits=short)
    golden[5] = replace(golden[5], ask=lambda client: client.get("/v1/items/none/similar"))
    rehearsal = asked(settings, golden)
    score = golden_items(engine_of(settings), 6, 10)[3].hits[0]["score"]
    assert rehearsal.faults[:2] == [
        f"{golden[3].name}: hit 1 has score {score!r} for 0.5",
        f"{golden[4].name}: 10 hits for 9",
    ]
    assert rehearsal.faults[2].startswith(f"{golden[5].name}: status 404, ")
    assert (len(rehearsal.faults), rehearsal.asked) == (3, {"items": 6})


@pytest.mark.parametrize(
    ("change", "bounds", "failures"),
    [
        ({}, {}, []),
        ({}, {"max_p99_ms": 9.5, "max_memory_bytes": 400_000_000}, []),
        ({}, {"max_p99_ms": 9.0}, ["p99 of items 9.5 ms is above 9"]),
        ({}, {"max_memory_bytes": 399_000_000}, ["400 MB in memory are above 399"]),
        ({"faults": ["one", "two"]}, {}, ["2 queries failed, the first: one"]),
        ({"faults": ["no server"], "load_seconds": None}, {}, ["no server"]),
    ],
)
def test_what_keeps_a_bundle_from_shoppers(
    change: dict[str, object], bounds: dict[str, float], failures: list[str]
) -> None:
    told = Rehearsal(**{**asdict(GOOD), **change})
    assert told.failures(Bless.model_validate(bounds)) == failures


def test_its_record_is_all_of_it() -> None:
    assert GOOD.to_json() == {
        "faults": [],
        "load_seconds": 2.5,
        "memory_bytes": 400_000_000,
        "p50_ms": {"items": 3.0, "photos": 20.0},
        "p99_ms": {"items": 9.5, "photos": None},
        "asked": {"items": 200, "photos": 0},
    }
