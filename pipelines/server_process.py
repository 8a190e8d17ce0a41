"""A server in a process of its own, as `lookalike serve` starts it, for as long as it is asked.

with server_process(environment, "127.0.0.1", free_port(), log, seconds=60) as url:
    httpx.get(f"{url}/v1/bundle")
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from model.errors import LookalikeError

END_SECONDS = 20
TAIL = 3000  # characters of the log that an error shows
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def server_command(host: str, port: int) -> list[str]:
    return [
        sys.executable, "-m", "bentoml", "serve", "serving.service:Lookalike",
        "--host", host, "--port", str(port),
    ]  # fmt: skip


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def server_process(
    environment: Mapping[str, str], host: str, port: int, log: Path, *, seconds: float
) -> Iterator[str]:
    """Its URL, once it is ready. Raises LookalikeError where it is not within `seconds`.

    It ends with the block, and with this process, be that killed.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            server_command(host, port),
            env={**os.environ, "BENTOML_DO_NOT_TRACK": "True", **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
    url = f"http://{host}:{port}"
    try:
        deadline = time.monotonic() + seconds
        while not _is_ready(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise LookalikeError(
                    f"The server at {url} was not ready within {seconds:g} s. Is the port in use? "
                    f"The end of {log}:\n{log.read_text(errors='replace')[-TAIL:]}"
                )
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
