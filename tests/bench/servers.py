"""Real servers for benchmarks, each on cores of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from tests.tiny_bundle import BENTOML, bentoml_environment

OURS = (*BENTOML, "serve", "serving.service:Lookalike")
BENTO_API = (*BENTOML, "serve", "tests.bench.bento_api:Similar")
BARE = (sys.executable, "-m", "tests.bench.bare_uvicorn")
PATIENCE = 300  # seconds until a server with a large bundle is ready


@dataclass(frozen=True)
class Server:
    """A running one."""

    url: str
    process: psutil.Process

    @property
    def _all(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def resident(self) -> int:
        """Bytes in memory of all its processes, without files that are mapped: what has been read
        of those stays as long as nobody needs the room.
        """
        return sum(_anonymous(each.pid) for each in self._all)

    def processor_seconds(self) -> float:
        times = [each.cpu_times() for each in self._all]
        return float(sum(time.user + time.system for time in times))


@contextmanager
def serving(
    command: Sequence[str], root: Path, cores: set[int], *, ready: str = "/readyz"
) -> Iterator[Server]:
    """The command with `--port`, once it answers; its processes run on `cores`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = root / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            env=bentoml_environment(root),
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        server = Server(f"http://127.0.0.1:{port}", psutil.Process(process.pid))
        try:
            _wait(server.url + ready, process, log)
            yield server
        finally:
            process.terminate()
            process.wait(60)


def _anonymous(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("Anonymous:")]
    return 1024 * int(line.split()[1])


def two_cores() -> tuple[set[int], set[int]]:
    """One for the server, one for the load. Raises SystemExit on a machine with one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("A server and its load need a core each. Found one.")
    return {cores[0]}, {cores[1]}


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            httpx.get(url, timeout=5).raise_for_status()
        except httpx.HTTPError:
            if process.poll() is not None or time.monotonic() > deadline:
                end = log.read_text()[-3000:]
                raise SystemExit(f"The server did not come up:\n{end}") from None
            time.sleep(0.2)
        else:
            return
