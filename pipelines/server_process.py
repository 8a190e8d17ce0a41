"""A server in a process of its own, as `lookalike serve` starts it, for as long as it is asked.

with server_process(environment, "127.0.0.1", free_port(), log, seconds=60) as server:
    httpx.get(f"{server.url}/v1/bundle")
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from model.errors import LookalikeError
from pipelines.contained import end_with_parent

OURS = (sys.executable, "-m", "bentoml", "serve", "serving.service:Lookalike")
END_SECONDS = 20
TAIL = 3000  # characters of the log that an error shows


@dataclass(frozen=True)
class Server:
    """One that answers."""

    url: str
    pid: int


def server_command(host: str, port: int, command: Sequence[str] = OURS) -> list[str]:
    return [*command, "--host", host, "--port", str(port)]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def server_process(
    environment: Mapping[str, str],
    host: str,
    port: int,
    log: Path,
    *,
    seconds: float,
    command: Sequence[str] = OURS,
    until: str = "/readyz",
) -> Iterator[Server]:
    """The server, once it answers `until`. Raises LookalikeError where it is not within `seconds`.

    It has no other settings than those of `environment`, runs on the cores of the thread that
    starts it, and ends with the block, and with this process, be that killed.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            server_command(host, port, command),
            env={**_not_ours(os.environ), "BENTOML_DO_NOT_TRACK": "True", **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    url = f"http://{host}:{port}"
    try:
        deadline = time.monotonic() + seconds
        while not _answers(url + until):
            if process.poll() is not None or time.monotonic() > deadline:
                raise LookalikeError(
                    f"The server at {url} was not ready within {seconds:g} s. Is the port in use? "
                    f"The end of {log}:\n{log.read_text(errors='replace')[-TAIL:]}"
                )
            time.sleep(0.1)
        yield Server(url, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _not_ours(environment: Mapping[str, str]) -> dict[str, str]:
    """What this process was told to do is not what the server is: it may be another root's."""
    return {
        name: value
        for name, value in environment.items()
        if not name.upper().startswith("LOOKALIKE_")
    }


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
