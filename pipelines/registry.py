"""The MLflow registered model of the shop: a version a bundle, stages and aliases.

Stages are deprecated since MLflow 2.9 but are how people review and roll back; this file is the
only one that asks MLflow for them. Under an MLflow that has none any more the tag `stage` of a
version is its stage, for people as for us. What stages should be is in `pipelines/stages.py`.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

from pipelines.evidence_record import PAGE, RECORD, Evidence
from pipelines.settings import Settings
from pipelines.step import Partition
from pipelines.tracking import client, experiment_id
from serving.bundle import Bundle

KINDS = ("all", "held-out", "new", "wild")
STAGE = "stage"  # a tag
ARTIFACT = "bundle"  # the folder of a run that holds the bundle
CHALLENGER, CHAMPION, PREVIOUS = "challenger", "champion", "previous"


@dataclass(frozen=True)
class Version:
    """A version of the registry, which is a bundle."""

    number: str
    stage: str
    digest: str
    ds: date
    tags: Mapping[str, str]


def register_bundle(
    settings: Settings, ds: date, bundle: Bundle, blessing: dict[str, Any], evidence: Evidence
) -> str:
    """A version for the bundle, in Staging as `challenger`; the one it has already, if any.

    `blessing`: what a server on it showed, see `pipelines/bless.py`. `evidence`: of the day's
    step, whose files are stored with the version, also with one that is there already.
    """
    tracker, name = client(settings), settings.registry.model
    _create_model(settings)
    version = version_of(settings, bundle.digest)
    if version is None:
        run_id = _log_bundle(settings, ds, bundle, blessing)
        created = tracker.create_model_version(
            name,
            source=f"runs:/{run_id}/{ARTIFACT}",
            run_id=run_id,
            tags=_tags(ds, bundle) | _blessed(blessing),
            description=_description(ds, bundle),
        )
        version = str(created.version)
    with _quiet_stages():
        found = tracker.get_model_version(name, version)
    _store_evidence(settings, found, evidence)
    if stage_of(found) == "None":
        # The stage last: it says that both are done.
        tracker.set_registered_model_alias(name, CHALLENGER, version)
        move_stage(settings, version, "Staging")
    return version


def versions(settings: Settings) -> list[ModelVersion]:
    """All versions, newest first; none before the first bundle."""
    with _quiet_stages():
        found = client(settings).search_model_versions(f"name = '{settings.registry.model}'")
    return sorted(found, key=lambda version: -int(version.version))


def version_of(settings: Settings, digest: str) -> str | None:
    for version in versions(settings):
        if version.tags.get("bundle") == digest:
            return str(version.version)
    return None


def list_versions(settings: Settings) -> list[Version]:
    """Of bundles, newest first."""
    return [
        Version(
            number=str(found.version),
            stage=stage_of(found),
            digest=found.tags["bundle"],
            ds=date.fromisoformat(found.tags["ds"]),
            tags=dict(found.tags),
        )
        for found in versions(settings)
        if "bundle" in found.tags
    ]


def stage_of(version: ModelVersion) -> str:
    if not _has_stages():
        return str(version.tags.get(STAGE, "None"))
    with _quiet_stages():
        return str(version.current_stage)


def move_stage(settings: Settings, version: str, stage: str) -> None:
    if not _has_stages():
        note(settings, version, {STAGE: stage})
        return
    with _quiet_stages():
        client(settings).transition_model_version_stage(settings.registry.model, version, stage)


def _has_stages() -> bool:
    return hasattr(MlflowClient, "transition_model_version_stage")


def note(settings: Settings, version: str, tags: Mapping[str, str]) -> None:
    """Beside the version, for people."""
    for name, value in tags.items():
        client(settings).set_model_version_tag(settings.registry.model, version, name, value)


def point_alias(settings: Settings, wanted: Mapping[str, str | None]) -> None:
    """Each alias to its version; None: to none."""
    tracker, name = client(settings), settings.registry.model
    aliases = {alias: str(v) for alias, v in tracker.get_registered_model(name).aliases.items()}
    for alias, target in wanted.items():
        if target is None and alias in aliases:
            tracker.delete_registered_model_alias(name, alias)
        elif target is not None and aliases.get(alias) != target:
            tracker.set_registered_model_alias(name, alias, target)


def download(settings: Settings, version: str, folder: Path) -> Path:
    """Fetch a version's bundle from the artefact store."""
    tracker = client(settings)
    found = tracker.get_model_version(settings.registry.model, version)
    return Path(tracker.download_artifacts(found.run_id, ARTIFACT, str(folder)))


def _create_model(settings: Settings) -> None:
    try:
        client(settings).create_registered_model(
            settings.registry.model,
            description="Search bundles of the shop: embedder, reducer, index and items as one.",
        )
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise


def _log_bundle(settings: Settings, ds: date, bundle: Bundle, blessing: dict[str, Any]) -> str:
    tracker = client(settings)
    run = tracker.create_run(
        experiment_id(settings),
        run_name=f"bundle {ds}",
        tags={"ds": str(ds), "step": "register", "bundle": bundle.digest},
    )
    tracker.log_artifacts(run.info.run_id, str(bundle.folder), ARTIFACT)
    tracker.log_dict(run.info.run_id, blessing, "blessing.json")
    tracker.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def _store_evidence(settings: Settings, version: ModelVersion, evidence: Evidence) -> None:
    tracker, folder = client(settings), Partition(settings, "evidence", evidence.ds).output
    for name in (PAGE, RECORD):
        tracker.log_artifact(version.run_id, str(folder / name))
    for name, value in _evident(evidence).items():
        tracker.set_model_version_tag(version.name, version.version, name, value)


def _evident(evidence: Evidence) -> dict[str, str]:
    net = evidence.churn_net
    return {
        "evidence.churn_net": "unknown" if net is None else str(net),
        "evidence.items": str(evidence.data.items),
        "evidence.retrained": str(evidence.retrained),
    }


def _tags(ds: date, bundle: Bundle) -> dict[str, str]:
    manifest = bundle.manifest
    return {
        "bundle": bundle.digest,
        "ds": str(ds),
        "space_id": manifest["space_id"],
        "embedder": manifest["embedder"],
        "trained": manifest["trained"],
        "gate.passed": str(manifest["verdict"]["passed"]),
        **{
            f"gate.recall.{row['slice']}": str(row["recall"])
            for row in manifest["verdict"]["slices"]
            if row["slice"] in KINDS  # a category's name may hold what a tag may not
        },
    }


def _blessed(blessing: dict[str, Any]) -> dict[str, str]:
    tags = {
        "serving.passed": str(blessing["passed"]),
        "serving.load_seconds": str(blessing["load_seconds"]),
        "serving.memory_mb": f"{blessing['memory_bytes'] / 1e6:.0f}",
    }
    return tags | {f"serving.p99_ms.{kind}": str(p99) for kind, p99 in blessing["p99_ms"].items()}


def _description(ds: date, bundle: Bundle) -> str:
    verdict: dict[str, Any] = bundle.manifest["verdict"]
    lines = [
        f"Bundle `{bundle.digest}` of {ds}: {sum(bundle.manifest['counts'].values())} items.",
        "",
        f"| slice | queries | recall@{verdict['k']} | lower bound | threshold |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['slice']} | {row['queries']} | {row['recall']:.3f} | {row['lower_bound']:.3f} "
        f"| {row['bound']:.2f} |"
        for row in verdict["slices"]
    ]
    return "\n".join(lines)


@contextmanager
def _quiet_stages() -> Iterator[None]:
    """MLflow warns on every use of a stage; we know, and this file is where they would end."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*[Ss]tage.*")
        yield
