"""The serving blessing: a real server on the day's bundle, and what it must answer."""

import json
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import CopyShop
from tiny_shop import DAY_1, DAY_2, finish, forget, start_step

from model.errors import Damaged, Refused
from pipelines.bless import (
    BLESSING,
    Golden,
    difference_of,
    golden_items,
    golden_photos,
    put_in_production,
    read_blessing,
    run,
    tried,
)
from pipelines.bundle import bundle_digest
from pipelines.registry import versions
from pipelines.release import promote_bundle
from pipelines.settings import Bless, Settings
from pipelines.step import Partition, staging
from serving.bundle import verify
from serving.engine import Engine
from serving.ledger import read_ledger


def engine_of(settings: Settings) -> Engine:
    digest = bundle_digest(settings, DAY_1)
    return Engine(verify(settings.root / "bundles" / digest, digest))


def asked(settings: Settings, golden: list[Golden]) -> dict[str, Any]:
    """What a server on the first day's bundle tells."""
    with staging(settings.root, "test-trial") as root:
        put_in_production(settings, root, DAY_1, bundle_digest(settings, DAY_1))
        return tried(settings, root, {"items": golden})


def test_a_good_bundle_is_blessed(shop: Settings) -> None:
    record = read_blessing(shop, DAY_1, bundle_digest(shop, DAY_1))
    assert (record["passed"], record["failures"], record["faults"]) == (True, [], [])
    assert record["asked"] == {"items": 20, "photos": 5}
    assert set(record["p50_ms"]) == set(record["p99_ms"]) == {"items", "photos"}
    assert 0 < record["load_seconds"] < 120
    assert 50e6 < record["memory_bytes"] < 4e9
    report = Partition(shop, "bless", DAY_1).done()
    assert (report.rows, report.details["passed"]) == (25, True)


def test_the_version_tells_of_it(shop: Settings) -> None:
    [version] = versions(shop)
    tags = {name: value for name, value in version.tags.items() if name.startswith("serving.")}
    record = read_blessing(shop, DAY_1, bundle_digest(shop, DAY_1))
    assert tags == {
        "serving.passed": "True",
        "serving.load_seconds": str(record["load_seconds"]),
        "serving.memory_mb": f"{record['memory_bytes'] / 1e6:.0f}",
        "serving.p99_ms.items": str(record["p99_ms"]["items"]),
        "serving.p99_ms.photos": str(record["p99_ms"]["photos"]),
    }


def test_golden_photos_are_none_that_was_trained_on_the_wild_ones_first(shop: Settings) -> None:
    engine = engine_of(shop)
    golden = golden_photos(shop, DAY_1, engine, 8)
    assert len(golden) == 8
    assert [each.name for each in golden] == [
        each.name for each in golden_photos(shop, DAY_1, engine, 8)
    ]
    assert golden_photos(shop, DAY_1, engine, 0) == []


def test_one_other_answer_is_found_and_named(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    golden = golden_items(engine_of(settings), 6, 10)
    wrong = [{**golden[3].hits[0], "score": 0.5}, *golden[3].hits[1:]]
    short = golden[4].hits[:-1]
    golden[3], golden[4] = replace(golden[3], hits=wrong), replace(golden[4], hits=short)
    golden[5] = replace(golden[5], ask=lambda client: client.get("/v1/items/none/similar"))
    record = asked(settings, golden)
    score = golden_items(engine_of(settings), 6, 10)[3].hits[0]["score"]
    assert record["faults"][:2] == [
        f"{golden[3].name}: hit 1 has score {score!r} for 0.5",
        f"{golden[4].name}: 10 hits for 9",
    ]
    assert record["faults"][2].startswith(f"{golden[5].name}: status 404, ")
    assert len(record["faults"]) == 3


def test_only_the_last_digit_of_a_score_may_differ() -> None:
    first, second = {"item_id": "a", "score": 0.9799}, {"item_id": "b", "score": 0.5}
    assert difference_of([first, second], [{**first, "score": 0.9798}, second]) is None
    found = [
        difference_of([first, second], other)
        for other in (
            [{**first, "score": 0.9797}, second],
            [second, first],
            [first],
            [first, {**second, "price": 1.0}],
        )
    ]
    assert found == [
        "hit 1 has score 0.9797 for 0.9799",
        "hit 1 has item_id 'b' for 'a', score 0.5 for 0.9799",
        "1 hits for 2",
        "hit 2 has price 1.0 for None",
    ]


def test_a_bundle_that_is_too_slow_is_refused_and_goes_no_further(shop_copy: CopyShop) -> None:
    settings = shop_copy(bless=Bless(items=5, photos=1, max_p99_ms=0.001, max_memory_bytes=1))
    digest = bundle_digest(settings, DAY_1)
    with pytest.raises(Refused, match=r"^The server's answers do not bless bundle [0-9a-f]{16} of"):
        run(settings, DAY_1)
    record = json.loads((Partition(settings, "bless", DAY_1).output / BLESSING).read_bytes())
    assert [failure.split(" is above ")[-1] for failure in record["failures"][:2]] == ["0.001"] * 2
    assert record["failures"][2].endswith("MB in memory are above 0")
    with pytest.raises(Refused, match=r"^A server did not bless bundle"):
        read_blessing(settings, DAY_1, digest)
    (settings.root / "ledger.jsonl").unlink()
    with pytest.raises(Refused, match=r"^A server did not bless bundle"):
        promote_bundle(settings, DAY_1, digest, who="me", why="now")
    assert read_ledger(settings.root) == []


def test_a_server_that_does_not_come_up_is_a_no(shop_copy: CopyShop) -> None:
    settings = shop_copy(bless=Bless(items=5, photos=1, max_load_seconds=0.3))
    with pytest.raises(Refused, match=r"was not ready within 0\.3 s"):
        run(settings, DAY_1)


def test_nothing_is_promoted_without_it(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    digest = bundle_digest(settings, DAY_2)
    ledger = settings.root / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().splitlines(keepends=True)[0])  # day 1 serves
    forget(settings, DAY_2, "bless")
    with pytest.raises(Refused, match=rf"^No server has blessed bundle {digest}\. Expected golden"):
        promote_bundle(settings, DAY_2, digest, who="me", why="now")
    assert [entry.ds for entry in read_ledger(settings.root)] == [DAY_1]


def test_a_damaged_bundle_is_not_asked(shop_copy: CopyShop) -> None:
    settings = shop_copy(bless=Bless(items=5, photos=1))
    folder = settings.root / "bundles" / bundle_digest(settings, DAY_1)
    path = Path(folder / "vectors.npy")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()  # it is a link to the file of the shop that was copied
    path.write_bytes(data)
    with pytest.raises(Damaged):
        run(settings, DAY_1)


def test_it_leaves_nothing_behind(shop: Settings) -> None:
    assert list((shop.root / "staging").iterdir()) == []


def test_a_killed_step_takes_its_server_with_it(shop_copy: CopyShop) -> None:
    settings = shop_copy(bless=Bless(items=5, photos=1))
    forget(settings, DAY_1, "bless")
    process = start_step(settings, "bless", DAY_1)
    while not (servers := servers_below(settings.root)):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    finish(process)
    _, alive = psutil.wait_procs(servers, timeout=30)
    assert (alive, servers_below(settings.root)) == ([], [])
    run(settings, DAY_1)
    assert list((settings.root / "staging").iterdir()) == []


def servers_below(root: Path) -> list[psutil.Process]:
    """Servers of a trial whose root is below this one."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("LOOKALIKE_ROOT", "").startswith(f"{root}/staging/"):
                found.append(process)
    return found
