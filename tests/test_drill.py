"""The rollback drill, over the real shop: its figures, and each fault that it is to find."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import CopyShop
from released import damage
from tiny_shop import DAY_1, DAY_2, finish, start

from model.errors import Refused
from pipelines.bundle import bundle_digest
from pipelines.drill import FOLDER, drill
from pipelines.release import roll_back
from pipelines.settings import Bless, Drill, Settings
from pipelines.tracking import client
from serving.ledger import LEDGER

FIGURES = {"warm_seconds", "cold_seconds", "errors"}


def record_of(settings: Settings) -> dict[str, Any]:
    (path,) = (settings.root / FOLDER).iterdir()
    record: dict[str, Any] = json.loads(path.read_bytes())
    assert path.name == f"{record['at'][:10]}.json"
    return record


def run_of(settings: Settings) -> Any:
    """The drill's only one in MLflow."""
    tracker = client(settings)
    experiment = tracker.get_experiment_by_name(settings.registry.model)
    (run,) = tracker.search_runs([experiment.experiment_id], "tags.step = 'drill'")
    return run


def damage_artefact(settings: Settings, version: str) -> None:
    """One bit of what the artefact store keeps of a version."""
    run_id = client(settings).get_model_version(settings.registry.model, version).run_id
    (path,) = (settings.root / "mlflow-artifacts").glob(f"{run_id}/artifacts/bundle/vectors.npy")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()  # it may be a link to the file of the shop that was copied
    path.write_bytes(data)


def test_both_ways_back_are_shown_and_nothing_of_the_shop_changes(two_days_copy: CopyShop) -> None:
    """Also where this disk has lost the bundle, as `collect` may take it."""
    settings = two_days_copy()
    first, second = (bundle_digest(settings, ds) for ds in (DAY_1, DAY_2))
    lost = settings.root / "bundles" / first
    lost.rename(settings.root / "lost")
    before = (settings.root / LEDGER).read_bytes()
    told = drill(settings)
    assert told == record_of(settings)
    assert {name: told[name] for name in ("champion", "bundle", "version", "errors")} == {
        "champion": second, "bundle": first, "version": "1", "errors": 0,
    }  # fmt: skip
    assert (told["drilled"], told["failures"]) == (True, [])
    assert 0 < told["warm_seconds"] < told["cold_seconds"] < 120
    assert told["answers"] > 100  # two times 50 golden ones, and those of the clients
    run = run_of(settings)
    assert run.info.run_name == f"rollback drill {told['at'][:10]}"
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {name: told[name] for name in FIGURES}
    assert (settings.root / LEDGER).read_bytes() == before
    assert list((settings.root / "staging").iterdir()) == []
    assert not lost.exists()


def test_a_damaged_artefact_is_named_and_so_is_a_bound(two_days_copy: CopyShop) -> None:
    """The disk still has it whole, so that nobody would see it until the disk is lost."""
    settings = two_days_copy(drill=Drill(max_warm_seconds=0.001))
    first = bundle_digest(settings, DAY_1)
    damage_artefact(settings, "1")
    with pytest.raises(Refused) as caught:
        drill(settings)
    record = record_of(settings)
    slow, damaged = record["failures"]
    assert slow == f"warm: {record['warm_seconds']:.2f} s to the first answer, above 0.001"
    assert damaged.startswith(
        f"cold: Version 1, bundle {first}, is damaged in the artefact store: The file vectors.npy "
    )
    assert str(caught.value) == (
        f"A rollback to version 1, bundle {first}, would not do: {slow}; {damaged}. Expected no "
        f"error, and its first answer within the seconds of `drill`. Shoppers saw nothing of this. "
        f"Look at {settings.root / FOLDER}/{record['at'][:10]}.json."
    )
    assert (record["cold_seconds"], record["errors"]) == (None, 1)
    run = run_of(settings)
    assert (run.info.status, set(run.data.metrics)) == ("FAILED", {"warm_seconds", "errors"})


def test_a_damaged_disk_and_a_server_that_does_not_come_up(two_days_copy: CopyShop) -> None:
    settings = two_days_copy(bless=Bless(max_load_seconds=0.1))
    damage(settings, bundle_digest(settings, DAY_1))
    done = finish(start(settings, "-m", "pipelines.drill"))
    assert done.returncode == 3
    assert "\nRefused: A rollback to version 1, bundle " in f"\n{done.stderr}"
    record = record_of(settings)
    warm, cold = record["failures"]
    assert warm.startswith("warm: The file vectors.npy of bundle ")
    assert cold.startswith("cold: The server at http://127.0.0.1:")
    assert "was not ready within 0.1 s" in cold
    assert (record["warm_seconds"], record["cold_seconds"], record["errors"]) == (None, None, 2)


def test_with_nothing_to_go_back_to_it_ends_well(shop: Settings, tmp_path: Path) -> None:
    for settings in (shop, Settings(root=tmp_path)):
        done = finish(start(settings, "-m", "pipelines.drill"))
        assert (done.returncode, json.loads(done.stdout.splitlines()[-1])) == (
            0, {"drilled": False, "why": "no bundle served before the champion"},
        )  # fmt: skip
        assert not (settings.root / FOLDER).exists()


def test_after_a_rollback_nothing_is_left_to_drill(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    roll_back(settings, to=None, who="ada", why="odd shoes")
    assert drill(settings) == {"drilled": False, "why": "no bundle served before the champion"}
