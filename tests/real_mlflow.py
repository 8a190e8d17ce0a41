"""MLflow as a server of its own, over the registry and the artefacts of a shop."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from real_airflow import BIN

from pipelines.server_process import Server, free_port, server_process


@contextmanager
def mlflow_server(root: Path, port: int | None = None) -> Iterator[Server]:
    """Its address is the `registry.tracking_uri` of the shop."""
    command = [
        str(BIN / "mlflow"), "server", "--backend-store-uri", f"sqlite:///{root}/mlflow.db",
        "--workers", "1", "--artifacts-destination", f"{root}/mlflow-artifacts",
    ]  # fmt: skip
    with server_process(
        {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, "127.0.0.1", port or free_port(),
        root / "mlflow.log", seconds=120, command=command, until="/health",
    ) as server:  # fmt: skip
        yield server
