"""MLflow's client, the shop's experiment, and how our plots look."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Its own 7 tries keep a rollback waiting for minutes on a server that is away.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")

import matplotlib as mpl
import mlflow

from pipelines.settings import Settings


def client(settings: Settings) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(settings.tracking_uri)


def experiment_id(settings: Settings) -> str:
    """The shop's experiment; its artefacts lie below the root unless a server keeps them."""
    tracker, name = client(settings), settings.registry.model
    found = tracker.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    local = settings.tracking_uri.startswith("sqlite:")
    location = (settings.root.resolve() / "mlflow-artifacts").as_uri() if local else None
    return str(tracker.create_experiment(name, artifact_location=location))


@contextmanager
def plot_style() -> Iterator[None]:
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}):
        yield
