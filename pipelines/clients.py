"""Clients that ask a server all the time, and when each answer came.

with Clients(server.url, headers, paths) as clients:
    seconds = clients.wait_for(digest, since=time.monotonic(), patience=60)
clients.faults
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import httpx

from model.errors import LookalikeError

CLIENTS = 3
POLL_SECONDS = 0.01
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Heard:
    """An answer: of which bundle, and what was wrong with it. Times are of the monotonic clock."""

    asked: float
    at: float
    bundle: str | None
    fault: str | None = None


class Clients:
    """From the beginning of the block to its end, CLIENTS at a time."""

    def __init__(self, url: str, headers: Mapping[str, str], paths: Sequence[str]) -> None:
        self.heard: list[Heard] = []
        self._address = (url, headers)
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=([*paths[place:], *paths[:place]],))
            for place in range(CLIENTS)
        ]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def faults(self) -> list[str]:
        return [each.fault for each in self.heard if each.fault is not None]

    def wait_for(self, digest: str, *, since: float, patience: float) -> float:
        """Seconds until this bundle's first answer to what was asked since then.

        An earlier question may be answered late, by what served when it was asked. Raises
        LookalikeError if none comes within `patience`.
        """
        while True:
            waited = time.monotonic() - since
            came = (each for each in self.heard[:] if each.bundle == digest and each.asked >= since)
            first = next(came, None)
            if first is not None:
                return first.at - since
            if waited > patience:
                raise LookalikeError(
                    f"The server at {self._address[0]} gave no answer of bundle {digest} within "
                    f"{patience:g} s. Its last: {self.heard[-1:]}."
                )
            time.sleep(POLL_SECONDS)

    def _ask(self, paths: Sequence[str]) -> None:
        url, headers = self._address
        with httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_SECONDS) as client:
            for path in cycle(paths):
                if self._ended.is_set():
                    return
                heard = _heard(client, path)
                self.heard.append(heard)
                if heard.fault is not None:
                    self._ended.wait(POLL_SECONDS)


def _heard(client: httpx.Client, path: str) -> Heard:
    asked = time.monotonic()
    try:
        answer = client.get(path)
    except httpx.HTTPError as error:
        return Heard(asked, time.monotonic(), None, f"{path}: no answer, {type(error).__name__}")
    at = time.monotonic()
    if answer.status_code != httpx.codes.OK:
        return Heard(asked, at, None, f"{path}: status {answer.status_code}, {answer.text[:200]}")
    body = answer.json()
    fault = None if body["hits"] else f"{path}: nothing was found"
    return Heard(asked, at, body["bundle"]["digest"], fault)
