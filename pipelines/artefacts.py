"""What the artefact store has of a bundle, as `lookalike rollback` would fetch it."""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from pipelines.registry import ARTIFACT
from pipelines.settings import Settings
from pipelines.tracking import client
from serving.bundle import MANIFEST


def is_in_store(settings: Settings, version: ModelVersion, folder: Path) -> bool:
    """Whether all files of this bundle are there: its very manifest, and each file's size.

    Raises MlflowException or OSError where the store does not answer.
    """
    tracker, run = client(settings), str(version.run_id)
    sizes = dict(_sizes(tracker, run, ARTIFACT))
    here = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }
    return sizes == here and _manifest_digest(tracker, run) == folder.name


def _sizes(tracker: MlflowClient, run: str, folder: str) -> Iterator[tuple[str, int]]:
    for entry in tracker.list_artifacts(run, folder):
        if entry.is_dir:
            yield from _sizes(tracker, run, entry.path)
        else:
            yield entry.path.removeprefix(f"{ARTIFACT}/"), entry.file_size


def _manifest_digest(tracker: MlflowClient, run: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = tracker.download_artifacts(run, f"{ARTIFACT}/{MANIFEST}", folder)
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
