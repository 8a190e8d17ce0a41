"""uvicorn's connection, with bounds where uvicorn has none, and our shape for its own errors.

uvicorn waits for ever for the head of a request and for a client that does not read its answer,
keeps a head of any length, and answers what is no HTTP in plain text. It closes a connection that
is idle for 5 seconds, so that a request which a balancer sends at that moment fails.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.edge import RAW_HEADERS
from serving.limits import (
    ANSWER_SECONDS,
    HEAD_SECONDS,
    KEEP_ALIVE_SECONDS,
    MAX_HEAD_BYTES,
    UPLOAD_SECONDS,
)
from serving.responses import failure

NO_HTTP = (400, "invalid_http", "This is no HTTP/1.1 request. Expected one.")
LONG_HEAD = (
    431,
    "head_too_large",
    f"The path, the query and the headers are too long. Expected at most {MAX_HEAD_BYTES} bytes.",
)
SLOW_HEAD = (
    408,
    "head_timeout",
    f"The headers took too long. Expected all of them within {HEAD_SECONDS} seconds.",
)


class Connection(HttpToolsProtocol):
    """Closed when what it waits for does not come in time."""

    _timer: asyncio.TimerHandle | None = None  # of what is read
    _writing: asyncio.TimerHandle | None = None
    _in_head = True
    _unread = 0  # bytes since the last end of a head or piece of a body
    _fault = NO_HTTP

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.timeout_keep_alive = KEEP_ALIVE_SECONDS
        self._within(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        if self._writing is not None:
            self._writing.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unread += len(data)
        super().data_received(data)
        if self._unread > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(LONG_HEAD)
        elif self._in_head and self._timer is None and self._unread:
            self._within(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        if self._unread > MAX_HEAD_BYTES:
            head = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if head > MAX_HEAD_BYTES:
                self._fault = LONG_HEAD
                raise ValueError("the parser stops here")
        self._in_head, self._unread = False, 0
        self._in_time()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head, self._unread = True, 0
        self._in_time()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if not self._in_head:  # nobody reads the rest of the body, but it may still come
            self._within(UPLOAD_SECONDS)
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing = self.loop.call_later(ANSWER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._fault)

    def _refuse(self, fault: tuple[int, str, str]) -> None:
        answer = failure(*fault)
        head = [*answer.raw_headers, *RAW_HEADERS, (b"connection", b"close")]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in head)
        self.transport.write(STATUS_LINE[answer.status_code] + lines + b"\r\n" + answer.body)
        self.transport.close()

    def _within(self, seconds: float) -> None:
        self._in_time()
        self._timer = self.loop.call_later(seconds, self._too_late)

    def _in_time(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        self._timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._within(HEAD_SECONDS)  # this is about the next request; the answer goes first
        elif self._in_head and self._unread:
            self._refuse(SLOW_HEAD)
        else:
            self.transport.abort()
