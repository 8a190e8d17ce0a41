"""The serving blessing: a real server on the day's bundle, and what it must answer."""

import json
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from conftest import CopyShop
from tiny_shop import DAY_1, DAY_2, finish, forget, start_step

from model.errors import Damaged, Refused
from pipelines.bless import BLESSING, run
from pipelines.blessing import blessing_path, read_blessing
from pipelines.bundle import bundle_digest
from pipelines.registry import versions
from pipelines.releasable import registered
from pipelines.release import review_bundle
from pipelines.settings import Bless, Settings
from pipelines.step import Partition
from serving.ledger import read_ledger


def test_a_good_bundle_is_blessed(shop: Settings) -> None:
    record = read_blessing(shop, bundle_digest(shop, DAY_1))
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
    record = read_blessing(shop, bundle_digest(shop, DAY_1))
    assert tags == {
        "serving.passed": "True",
        "serving.load_seconds": str(record["load_seconds"]),
        "serving.memory_mb": f"{record['memory_bytes'] / 1e6:.0f}",
        "serving.p99_ms.items": str(record["p99_ms"]["items"]),
        "serving.p99_ms.photos": str(record["p99_ms"]["photos"]),
    }


def test_a_bundle_that_is_too_slow_is_refused_and_goes_no_further(shop_copy: CopyShop) -> None:
    settings = shop_copy(bless=Bless(items=5, photos=1, max_p99_ms=0.001, max_memory_bytes=1))
    digest = bundle_digest(settings, DAY_1)
    with pytest.raises(Refused, match=r"^The server's answers do not bless bundle [0-9a-f]{16} of"):
        run(settings, DAY_1)
    record = json.loads((Partition(settings, "bless", DAY_1).output / BLESSING).read_bytes())
    assert [failure.split(" is above ")[-1] for failure in record["failures"][:2]] == ["0.001"] * 2
    assert record["failures"][2].endswith("MB in memory are above 0")
    with pytest.raises(Refused, match=r"^A server did not bless bundle"):
        read_blessing(settings, digest)
    (settings.root / "ledger.jsonl").unlink()
    candidate = registered(settings, DAY_1, digest)
    with pytest.raises(Refused, match=r"^A server did not bless bundle"):
        review_bundle(settings, candidate, "approve", who="me", why="now")
    assert read_ledger(settings.root) == []


def test_a_server_that_does_not_come_up_is_a_no(shop_copy: CopyShop) -> None:
    settings = shop_copy(bless=Bless(items=5, photos=1, max_load_seconds=0.3))
    with pytest.raises(Refused, match=r": The server at \S+ was not ready within 0\.3 s"):
        run(settings, DAY_1)
    record = json.loads((Partition(settings, "bless", DAY_1).output / BLESSING).read_bytes())
    assert record == {
        "bundle": bundle_digest(settings, DAY_1),
        "passed": False,
        "failures": record["faults"],
        "faults": record["faults"],
        "load_seconds": None,
        "memory_bytes": None,
        "p50_ms": {},
        "p99_ms": {},
        "asked": {},
    }
    assert len(record["faults"]) == 1


def test_nothing_is_promoted_without_it(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    digest = bundle_digest(settings, DAY_2)
    ledger = settings.root / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:2]))  # day 1
    blessing_path(settings, digest).unlink()
    candidate = registered(settings, DAY_2, digest)
    with pytest.raises(Refused, match=rf"^No server has blessed bundle {digest}\. Expected golden"):
        review_bundle(settings, candidate, "approve", who="me", why="now")
    assert [entry.ds for entry in read_ledger(settings.root)] == [DAY_1] * 2


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
    """Servers of a rehearsal whose root is below this one."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("LOOKALIKE_ROOT", "").startswith(f"{root}/staging/"):
                found.append(process)
    return found
