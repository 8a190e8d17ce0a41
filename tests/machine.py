"""A machine on which `make up` runs for one shop, on ports of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from pipelines.server_process import free_port
from pipelines.step import digest_of

HERE = Path(__file__).parents[1]


class Machine:
    """`python -m pipelines.processes` for one root."""

    def __init__(self, root: Path, environment: Mapping[str, str] = os.environ) -> None:
        self.root = root
        self.ports = {"search": free_port(), "MLflow": free_port(), "Airflow": free_port()}
        self.urls = {name: f"http://127.0.0.1:{port}" for name, port in self.ports.items()}
        self.environment = {
            **environment,
            "LOOKALIKE_ROOT": str(root),
            "LOOKALIKE_SERVE__PORT": str(self.ports["search"]),
            "LOOKALIKE_MLFLOW_PORT": str(self.ports["MLflow"]),
            "LOOKALIKE_AIRFLOW_PORT": str(self.ports["Airflow"]),
        }

    def __call__(self, action: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "pipelines.processes", action],
            cwd=HERE,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def supervisor(self) -> psutil.Process:
        return psutil.Process(int((self.root / "supervisord.pid").read_text()))

    def processes(self) -> list[psutil.Process]:
        """The supervisor and all that it started."""
        return [self.supervisor(), *self.supervisor().children(recursive=True)]

    def socket(self) -> Path:
        return Path(f"/tmp/lookalike-{os.getuid()}-{digest_of(str(self.root))}.sock")
