"""The MLflow registry as people see it: one version a bundle, stages, aliases, tags, a table."""

from pathlib import Path
from typing import Any

import pytest
from conftest import CopyShop
from tiny_shop import DAY_1, DAY_2, forget

from model.errors import BadInput
from pipelines import register
from pipelines.blessing import read_blessing
from pipelines.bundle import bundle_digest
from pipelines.evidence_record import read_evidence
from pipelines.registry import download, register_bundle, version_of, versions
from pipelines.settings import Registry, Settings
from pipelines.step import Partition
from pipelines.tracking import client
from serving.bundle import Bundle, verify

OF_STEPS = {"serving", "evidence", "release"}  # tags of the blessing, the evidence, decisions

pytestmark = pytest.mark.filterwarnings("ignore:.*[Ss]tage.*:FutureWarning")  # MLflow's, on stages


def aliases(settings: Settings) -> dict[str, str]:
    model = client(settings).get_registered_model(settings.registry.model)
    return {name: str(version) for name, version in model.aliases.items()}


def stages(settings: Settings) -> dict[str, str]:
    return {str(v.version): v.current_stage for v in versions(settings)}


def sealed(settings: Settings, ds: Any) -> Bundle:
    digest = bundle_digest(settings, ds)
    return verify(settings.root / "bundles" / digest, digest)


@pytest.fixture
def registered(two_days_copy: CopyShop) -> Settings:
    """Both bundles registered under another model name, neither promoted."""
    settings = two_days_copy(registry=Registry(model="another"))
    for ds in (DAY_1, DAY_2):
        register.run(settings, ds)
    return settings


def test_a_registered_bundle_waits_in_staging_as_challenger(registered: Settings) -> None:
    assert stages(registered) == {"1": "Staging", "2": "Staging"}
    assert aliases(registered) == {"challenger": "2"}
    digest = bundle_digest(registered, DAY_2)
    assert Partition(registered, "register", DAY_2).done().details == {
        "version": "2",
        "bundle": digest,
        "stage": "Staging",
    }
    assert version_of(registered, digest) == "2"
    assert version_of(registered, "0" * 16) is None


def test_promotion_moves_stages_and_aliases(two_days: Settings) -> None:
    assert stages(two_days) == {"1": "Archived", "2": "Production"}
    assert aliases(two_days) == {"champion": "2", "previous": "1"}


def test_a_first_champion_has_no_previous(shop: Settings) -> None:
    assert stages(shop) == {"1": "Production"}
    assert aliases(shop) == {"champion": "1"}


def test_a_bundle_has_one_version_however_often_it_is_registered(registered: Settings) -> None:
    forget(registered, DAY_1, "register")
    assert register.run(registered, DAY_1).details["version"] == "1"
    assert stages(registered) == {"1": "Staging", "2": "Staging"}
    assert aliases(registered) == {"challenger": "2"}


def test_registering_again_does_not_move_a_champion(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    forget(settings, DAY_1, "register")
    assert register.run(settings, DAY_1).details["version"] == "1"
    assert stages(settings) == {"1": "Production"}
    assert aliases(settings) == {"champion": "1"}


@pytest.mark.parametrize("alias", [True, False], ids=["after the alias", "before the alias"])
def test_a_registration_that_broke_off_is_finished(registered: Settings, alias: bool) -> None:
    tracker = client(registered)
    tracker.transition_model_version_stage("another", "2", "None")
    if not alias:
        tracker.delete_registered_model_alias("another", "challenger")
    bundle = sealed(registered, DAY_2)
    blessing = read_blessing(registered, bundle.digest)
    evidence = read_evidence(registered, DAY_2, bundle.digest)
    assert register_bundle(registered, DAY_2, bundle, blessing, evidence) == "2"
    assert stages(registered) == {"1": "Staging", "2": "Staging"}
    assert aliases(registered) == {"challenger": "2"}


def test_tags_and_the_table_of_a_version(two_days: Settings) -> None:
    (version,) = [v for v in versions(two_days) if v.version in (2, "2")]
    bundle = sealed(two_days, DAY_2)
    verdict = bundle.manifest["verdict"]
    tags = {name: tag for name, tag in version.tags.items() if name.split(".")[0] not in OF_STEPS}
    assert tags == {
        "bundle": bundle.digest,
        "ds": DAY_2.isoformat(),
        "space_id": bundle.manifest["space_id"],
        "embedder": bundle.manifest["embedder"],
        "trained": DAY_1.isoformat(),
        "gate.passed": "True",
        **{
            f"gate.recall.{row['slice']}": str(row["recall"])
            for row in verdict["slices"]
            if not row["slice"].startswith("category ")
        },
    }
    items = Partition(two_days, "index", DAY_2).done().rows
    lines = version.description.splitlines()
    overall = verdict["slices"][0]
    assert lines[:5] == [
        f"Bundle `{bundle.digest}` of {DAY_2}: {items} items.",
        "",
        "| slice | queries | recall@10 | lower bound | threshold |",
        "|---|---|---|---|---|",
        f"| all | {overall['queries']} | {overall['recall']:.3f} | "
        f"{overall['lower_bound']:.3f} | 0.95 |",
    ]
    assert len(lines) == 4 + len(verdict["slices"])


def test_the_newest_version_comes_first(two_days: Settings) -> None:
    assert [str(v.version) for v in versions(two_days)] == ["2", "1"]


def test_before_the_first_bundle_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    settings = Settings(root=tmp_path / "root")
    assert versions(settings) == []
    with pytest.raises(BadInput, match="Step `bundle` has no output"):
        register.run(settings, DAY_1)


def test_a_version_can_be_fetched_from_the_artefacts(shop: Settings, tmp_path: Path) -> None:
    bundle = sealed(shop, DAY_1)
    found = verify(download(shop, "1", tmp_path), bundle.digest)
    assert found.manifest == bundle.manifest
