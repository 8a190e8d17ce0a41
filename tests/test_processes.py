"""`make up` and `make down` with real processes: three pages, no second copy, nothing left over."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from pipelines.server_process import free_port
from pipelines.settings import Settings
from pipelines.step import digest_of

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[1]
PROC = Path("/proc")


class Machine:
    """`python -m pipelines.processes` for one root, on ports of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ports = {"search": free_port(), "MLflow": free_port(), "Airflow": free_port()}
        self.environment = {
            **os.environ,
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

    def pids(self) -> set[int]:
        """Processes whose environment names the root, wherever they were started from."""
        mark = f"\0LOOKALIKE_ROOT={self.root}\0".encode()
        return {int(path.parent.name) for path in PROC.glob("[0-9]*/environ") if mark in read(path)}

    def socket(self) -> Path:
        return Path(f"/tmp/lookalike-{os.getuid()}-{digest_of(str(self.root))}.sock")


def read(environ: Path) -> bytes:
    try:
        return b"\0" + environ.read_bytes()
    except OSError:  # it ended, or is not ours
        return b""


@pytest.fixture
def machine(shop_copy: Callable[[], Settings]) -> Iterator[Machine]:
    machine = Machine(shop_copy().root.resolve())
    yield machine
    machine("down")


def test_up_twice_then_down_twice(machine: Machine) -> None:
    first = machine("up")
    pages = {name: f"http://127.0.0.1:{port}" for name, port in machine.ports.items()}
    shown = [f"{name:<8} {url}" for name, url in pages.items()]
    assert first.stdout.splitlines() == [*shown, "Stop them with `make down`."], first.stderr
    titles = {name: httpx.get(url, follow_redirects=True).text for name, url in pages.items()}
    assert [name for name, page in titles.items() if "<title>" not in page] == []
    served = httpx.get(f"{pages['search']}/v1/bundle").json()
    assert served["version"] == "1"

    running = machine.pids()
    again = machine("up")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert supervisor(machine) in running
    assert machine.socket().exists()

    assert machine("down").stdout == "Stopped.\n"
    assert machine.pids() == set()
    assert not machine.socket().exists()
    assert not (machine.root / "supervisord.pid").exists()
    down = machine("down")
    assert (down.returncode, down.stdout) == (0, "Nothing runs.\n")


def supervisor(machine: Machine) -> int:
    return int((machine.root / "supervisord.pid").read_text())
