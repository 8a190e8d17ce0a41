"""Real servers for benchmarks, each on cores of its own."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipelines.server_process import OURS, free_port, server_process
from tests.tiny_bundle import bentoml_environment

BENTO_API = (*OURS[:-1], "tests.bench.bento_api:Similar")
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
def serving(command: Sequence[str], root: Path, cores: set[int]) -> Iterator[Server]:
    """The command with `--port`, once it answers; its processes run on `cores`."""
    address = ("127.0.0.1", free_port(), root / "server.log")
    with ExitStack() as stack:
        with running_on(cores):
            process = stack.enter_context(
                server_process(
                    bentoml_environment(root), *address, seconds=PATIENCE, command=command
                )
            )
        yield Server(process.url, psutil.Process(process.pid))


@contextmanager
def running_on(cores: set[int]) -> Iterator[None]:
    """This thread, and what it starts, on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


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
