"""Load for a server: so many requests a second whatever it answers, or as many as it can take.

    seconds = offered(address, requests, rate=2000)    # open loop
    seconds = saturated(address, requests, clients=64) # closed loop

One process, one thread, HTTP/1.1 over connections that stay open; a request is bytes made
beforehand. In the open loop a latency counts from the moment the request was due, so that a server
which stalls is not spared the ones that wait.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import quote, urlsplit

import numpy as np
import uvloop

MOST_CONNECTIONS = 512
IDLE_SECONDS = 2.0


@dataclass
class Answers:
    """What came back: seconds and status of each, and the time that all took."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    inspect: Callable[[bytes], None] = lambda answer: None  # sees each, head and body
    took: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.seconds) / self.took

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        return float(1000 * np.quantile(self.seconds, share))

    @property
    def errors(self) -> int:
        return sum(count for status, count in self.statuses.items() if status != 200)


def get(path: str) -> bytes:
    return f"GET {quote(path)} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def post(path: str, body: bytes, kind: str = "image/jpeg") -> bytes:
    head = f"POST {quote(path)} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def offered(
    url: str,
    requests: Sequence[bytes],
    rate: float,
    inspect: Callable[[bytes], None] = lambda answer: None,
) -> Answers:
    """Send each request when it is due, `rate` a second."""
    return uvloop.run(_offered(url, requests, rate, Answers(inspect=inspect)))


def saturated(url: str, requests: Iterable[bytes], clients: int) -> Answers:
    """So many clients, each with its next request as soon as it has its answer."""
    return uvloop.run(_saturated(url, deque(requests), clients))


async def _offered(url: str, requests: Sequence[bytes], rate: float, answers: Answers) -> Answers:
    idle: list[_Connection] = [await _connect(url) for _ in range(64)]
    due: deque[tuple[bytes, float]] = deque()
    opened, left = len(idle), len(requests)
    ended = asyncio.Event()
    started = time.perf_counter()

    def next_of(connection: "_Connection") -> None:
        nonlocal left
        left -= 1
        if due:
            connection.send(*due.popleft(), answers, next_of)
        else:
            idle.append(connection)
        if not left:
            ended.set()

    for number, request in enumerate(requests):
        at = started + number / rate
        wait = at - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        elif number % 16 == 0:
            await asyncio.sleep(0)
        while idle and idle[-1].is_stale():
            idle.pop().close()
            opened -= 1
        if not idle and opened < MOST_CONNECTIONS:
            idle.append(await _connect(url))
            opened += 1
        if idle:
            idle.pop().send(request, at, answers, next_of)
        else:
            due.append((request, at))
    await ended.wait()
    answers.took = time.perf_counter() - started
    return answers


async def _saturated(url: str, requests: deque[bytes], clients: int) -> Answers:
    answers = Answers()
    connections = [await _connect(url) for _ in range(clients)]
    busy, ended = clients, asyncio.Event()
    started = time.perf_counter()

    def next_of(connection: "_Connection") -> None:
        nonlocal busy
        if requests:
            connection.send(requests.popleft(), time.perf_counter(), answers, next_of)
            return
        busy -= 1
        if not busy:
            ended.set()

    for connection in connections:
        next_of(connection)
    await ended.wait()
    answers.took = time.perf_counter() - started
    return answers


async def _connect(url: str) -> "_Connection":
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(_Connection, parts.hostname, parts.port)
    return protocol


class _Connection(asyncio.Protocol):
    """One request at a time; one that is cut off counts as an answer of status 0."""

    def __init__(self) -> None:
        self.closed = False
        self._used = time.perf_counter()
        self._held = b""
        self._after: Callable[[_Connection], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def is_stale(self) -> bool:
        """The server ends connections that stay idle for seconds, perhaps at this moment."""
        return self.closed or time.perf_counter() - self._used > IDLE_SECONDS

    def close(self) -> None:
        self._transport.close()

    def send(
        self,
        request: bytes,
        due: float,
        answers: Answers,
        after: "Callable[[_Connection], None]",
    ) -> None:
        self._due, self._answers, self._after = due, answers, after
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._held += data
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._held[:end].lower()
        place = head.find(b"content-length:")
        length = int(head[place + 15 : head.find(b"\r", place) if b"\r" in head[place:] else end])
        if len(self._held) < end + 4 + length:
            return
        self._answers.seconds.append(time.perf_counter() - self._due)
        self._answers.statuses[int(head[9:12])] += 1
        self._answers.inspect(self._held)
        self._held = self._held[end + 4 + length :]
        self._used = time.perf_counter()
        self._settle()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._after is not None:
            self._answers.seconds.append(time.perf_counter() - self._due)
            self._answers.statuses[0] += 1
            self._settle()

    def _settle(self) -> None:
        after, self._after = self._after, None
        if after is not None:
            after(self)
