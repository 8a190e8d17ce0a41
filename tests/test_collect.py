"""Bundles go from this disk once nothing can need them here, whole, and can come back."""

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import CopyShop
from mlflow.exceptions import MlflowException
from test_registry import sealed
from tiny_shop import DAY_1, DAY_2, finish, start_step

from pipelines import collect
from pipelines.blessing import read_blessing
from pipelines.bundle import bundle_digest
from pipelines.collect import COLLECTED
from pipelines.evidence_record import read_evidence
from pipelines.registry import register_bundle, versions
from pipelines.release import LOCK, roll_back
from pipelines.settings import Registry, Settings
from pipelines.step import Partition, locked
from pipelines.tracking import client
from serving.bundle import MANIFEST, seal, store, verify
from serving.ledger import LEDGER, Entry, append, now, read_ledger

pytestmark = pytest.mark.filterwarnings("ignore:.*[Ss]tage.*:FutureWarning")  # MLflow's, on stages

LATER = now().date() + timedelta(days=60)  # the shop's own two days are long past
LONG_AGO = datetime(2026, 9, 1, tzinfo=UTC)
Edit = Callable[[Path], object]


def aged(
    settings: Settings, name: str, *, stage: str | None = "Archived", edit: Edit | None = None
) -> str:
    """The first day's bundle as if made long ago, in the registry at this stage; its digest."""
    former = sealed(settings, DAY_1)
    folder = settings.root / "building"
    shutil.copytree(former.folder, folder)
    (folder / MANIFEST).unlink()
    if edit is not None:
        edit(folder)
    facts = {k: v for k, v in former.manifest.items() if k not in ("files", "schema_version")}
    digest = seal(folder, {**facts, "created": LONG_AGO.isoformat(), "name": name})
    bundle = verify(store(folder, settings.root / "bundles", digest), digest)
    if stage is not None:
        blessing = read_blessing(settings, former.digest) | {"bundle": digest}
        evidence = read_evidence(settings, DAY_1, former.digest)
        version = register_bundle(settings, DAY_1, bundle, blessing, evidence)
        tracker, model = client(settings), settings.registry.model
        tracker.transition_model_version_stage(model, version, stage)
        tracker.delete_registered_model_alias(model, "challenger")
    return digest


def version_of(settings: Settings, digest: str) -> str:
    return next(str(v.version) for v in versions(settings) if v.tags["bundle"] == digest)


def tag(settings: Settings, digest: str, value: str) -> None:
    model, version = settings.registry.model, version_of(settings, digest)
    client(settings).set_model_version_tag(model, version, "pinned", value)


def artefacts(settings: Settings, digest: str) -> Path:
    """Where the store keeps the bundle."""
    run = client(settings).get_model_version(settings.registry.model, version_of(settings, digest))
    return settings.root / "mlflow-artifacts" / str(run.run_id) / "artifacts" / "bundle"


def here(settings: Settings) -> set[str]:
    return {path.name for path in (settings.root / "bundles").iterdir()}


def of_the_shop(settings: Settings) -> dict[str, str]:
    return {
        bundle_digest(settings, DAY_1): "previous",
        bundle_digest(settings, DAY_2): "champion",
    }


def served_first(settings: Settings, digest: str, until: datetime) -> None:
    """As if this bundle had served before the first of the shop."""
    first, second = (entry for entry in read_ledger(settings.root) if entry.serves)
    (settings.root / LEDGER).unlink()
    given = first.model_dump() | {"bundle": digest, "version": version_of(settings, digest)}
    for entry in (
        Entry.model_validate(given | {"at": LONG_AGO}),
        first.model_copy(update={"at": until, "former": digest}),
        second.model_copy(update={"at": until + timedelta(days=1)}),
    ):
        append(settings.root, entry)


def test_what_nothing_needs_goes_and_a_rollback_brings_it_back(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    old, older = aged(settings, "old"), aged(settings, "older")
    tag(settings, older, "False")
    served_first(settings, old, LONG_AGO + timedelta(days=1))
    report = collect.run(settings, LATER)
    stay = of_the_shop(settings)
    assert (report.rows, report.details) == (2, {"kept": 2, "why": stay})
    assert here(settings) == stay.keys()
    collected = Partition(settings, "collect", LATER).output / COLLECTED
    assert json.loads(collected.read_bytes()) == sorted([old, older])
    assert collect.run(settings, LATER).reused
    assert list((settings.root / "staging").iterdir()) == []
    for digest in stay:  # which shared files with those that went
        verify(settings.root / "bundles" / digest, digest)
    entry = roll_back(settings, to=version_of(settings, old), who="ada", why="it was better")
    assert entry.bundle == old
    verify(settings.root / "bundles" / old, old)
    assert collect.needed(settings, LATER)[old] == "champion"


def test_each_reason_keeps_a_bundle(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    model = settings.registry.model
    pinned = [aged(settings, value) for value in ("true", "for the audit")]
    for digest, value in zip(pinned, ("true", "for the audit"), strict=True):
        tag(settings, digest, value)
    waits = aged(settings, "waits", stage="Staging")
    named = aged(settings, "named")
    client(settings).set_registered_model_alias(model, "shadow", version_of(settings, named))
    unknown = aged(settings, "unknown", stage=None)
    lost, short, other, damaged = (
        aged(settings, name) for name in ("lost", "short", "other", "damaged")
    )
    shutil.rmtree(artefacts(settings, lost))
    (artefacts(settings, short) / "vectors.npy").write_bytes(b"")
    manifest = artefacts(settings, other) / MANIFEST
    manifest.write_bytes(manifest.read_bytes().replace(b'"other"', b'"xther"'))
    with (settings.root / "bundles" / damaged / MANIFEST).open("ab") as file:
        file.write(b" ")
    unpinned = [aged(settings, value) for value in ("no", "none")]
    tag(settings, unpinned[0], " false ")
    report = collect.run(settings, LATER)
    assert report.details["why"] == {
        **of_the_shop(settings),
        **dict.fromkeys(pinned, "pinned"),
        waits: "candidate",
        named: "candidate",
        unknown: "not registered",
        lost: "not in the artefact store",
        short: "not in the artefact store",
        other: "not in the artefact store",
        damaged: "damaged",
    }
    assert report.rows == len(unpinned)
    assert here(settings) == report.details["why"].keys()


@pytest.mark.parametrize(
    ("days", "why"),
    [(0, "decided about"), (30, "decided about"), (31, None)],
    ids=["today", "last", "past"],
)
def test_what_served_within_thirty_days_stays(
    two_days_copy: CopyShop, days: int, why: str | None
) -> None:
    """Until the next came to serve, not since it was promoted itself."""
    settings = two_days_copy()
    old = aged(settings, "old")
    until = datetime(2026, 10, 1, tzinfo=UTC)
    served_first(settings, old, until)
    stay = collect.needed(settings, until.date() + timedelta(days=days))
    assert stay.get(old) == why


@pytest.mark.parametrize(("days", "why"), [(7, "new"), (8, None)])
def test_what_was_made_within_seven_days_stays(
    two_days_copy: CopyShop, days: int, why: str | None
) -> None:
    settings = two_days_copy()
    old = aged(settings, "old")
    assert collect.needed(settings, LONG_AGO.date() + timedelta(days=days)).get(old) == why


def test_without_any_bundle_there_is_nothing_to_do(tmp_path: Path) -> None:
    report = collect.run(Settings(root=tmp_path), LATER)
    assert (report.rows, report.details) == (0, {"kept": 0, "why": {}})
    assert not (tmp_path / "mlflow.db").exists()


def test_while_mlflow_is_away_nothing_goes(
    two_days_copy: CopyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings = two_days_copy()
    aged(settings, "old")
    before = here(settings)
    away = settings.model_copy(update={"registry": Registry(tracking_uri="http://127.0.0.1:1")})
    with pytest.raises(MlflowException, match="^API request to .* failed"):
        collect.run(away, LATER)
    assert here(settings) == before
    assert Partition(settings, "collect", LATER).report() is None


def test_nothing_goes_during_a_release(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    old = aged(settings, "old")
    with ThreadPoolExecutor(1) as pool:
        with locked(settings.root / "locks" / LOCK):
            waiting = pool.submit(collect.run, settings, LATER)
            time.sleep(1)
            assert not waiting.done()
            assert old in here(settings)
        assert waiting.result().rows == 1


def many_files(folder: Path) -> None:
    """So that to remove them takes a while."""
    for number in range(200):
        (folder / "transform" / f"{number}.txt").write_text(str(number))


def test_a_killed_step_leaves_whole_bundles_only(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    old = aged(settings, "old", edit=many_files)
    process = start_step(settings, "collect", LATER)
    out = settings.root / "staging" / "collected" / old
    while process.poll() is None and not out.exists():
        time.sleep(0.0002)
    process.kill()
    assert finish(process).returncode in (-9, 0)  # 0: it was faster this time
    assert here(settings) == of_the_shop(settings).keys()
    for digest in here(settings):
        verify(settings.root / "bundles" / digest, digest)
    collect.run(settings, LATER)
    assert list((settings.root / "staging").iterdir()) == []


def test_what_a_killed_step_left_goes_with_the_next(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    half = settings.root / "staging" / "collected" / "0123456789abcdef"
    half.mkdir(parents=True)
    (half / "vectors.npy").touch()
    assert collect.run(settings, LATER).rows == 0
    assert list((settings.root / "staging").iterdir()) == []
