"""What one request may ask for, and how many are served at once."""

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Literal, TypeVar

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from model.errors import LookalikeError
from model.pixels import MAX_IMAGE_BYTES, Box

MAX_MULTIPART_BYTES = MAX_IMAGE_BYTES + 64_000  # boundaries, part headers, a few small fields
MAX_MULTIPART_FIELDS = 8
UPLOAD_SECONDS = 15  # for the body of one request to arrive
DEFAULT_K, MAX_K = 12, 200
DEFAULT_SAMPLE, MAX_SAMPLE = 12, 100
MAX_BOX = 100_000  # pixels of one side; far longer than any photo
SEARCH_THREADS = min(8, os.cpu_count() or 1)
EMBED_THREADS = 1  # of one request; requests, not pixels, share out the cores
MAX_WAITING = 32  # requests beyond those in the threads; one more is turned away
RETRY_AFTER_SECONDS = 1
SHED_CODES = ("overloaded", "deadline")

BOX = re.compile(r"(\d{1,6}),(\d{1,6}),(\d{1,6}),(\d{1,6})", re.ASCII)

T = TypeVar("T")


class Rejected(LookalikeError):
    """A request that gets an error answer: HTTP status, code for machines, message for people."""

    def __init__(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}


def read_number(request: Request, name: str, default: int, most: int) -> int:
    """A query parameter from 1 to `most`. Raises Rejected for anything else."""
    text = request.query_params.get(name, str(default))
    if re.fullmatch(r"\d{1,6}", text, re.ASCII) is None or not 1 <= int(text) <= most:
        raise Rejected(
            422,
            f"invalid_{name}",
            f"Invalid `{name}`. Expected a whole number from 1 to {most}. Received: {text[:40]!r}.",
        )
    return int(text)


def read_box(request: Request) -> Box | Literal["whole"] | None:
    """Raises Rejected unless `box` is absent, `whole`, or four numbers with an area."""
    text = request.query_params.get("box")
    if text is None:
        return None
    if text == "whole":
        return "whole"
    match = BOX.fullmatch(text)
    numbers = [int(number) for number in match.groups()] if match else []
    if not numbers or max(numbers) > MAX_BOX or 0 in numbers[2:]:
        raise Rejected(
            422,
            "invalid_box",
            f"Invalid `box`. Expected `x,y,width,height` in pixels of the upright photo, width and "
            f"height at least 1, or `whole`. Received: {text[:40]!r}.",
        )
    return Box(*numbers)


async def read_photo(request: Request) -> bytes:
    """The photo of a request: its body, or the field `image` of a form. Kept in memory only."""
    form = request.headers.get("content-type", "").startswith("multipart/form-data")
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            body = await _read_body(request, MAX_MULTIPART_BYTES if form else MAX_IMAGE_BYTES)
    except TimeoutError:
        raise Rejected(
            408,
            "upload_timeout",
            f"The upload took too long. Expected the whole photo within {UPLOAD_SECONDS} seconds.",
            {"Connection": "close"},
        ) from None
    except ClientDisconnect:
        raise Rejected(400, "incomplete_body", "The upload ended early. Send it again.") from None
    return await _image_of_form(request, body) if form else body


async def _read_body(request: Request, most: int) -> bytes:
    announced = request.headers.get("content-length", "0")
    received = int(announced) if announced.isdecimal() else 0
    body = bytearray()
    if received <= most:
        async for chunk in request.stream():
            body += chunk
            received = len(body)
            if received > most:
                break
    if received > most:
        raise Rejected(
            413,
            "image_too_large",
            f"The photo is too large. Expected at most {MAX_IMAGE_BYTES} bytes. "
            f"Received: {received} or more. Save it smaller.",
            {"Connection": "close"},  # the rest of the body is not read
        )
    return bytes(body)


class _InMemory(MultiPartParser):
    """Starlette's parser, without the temporary file: query photos are never stored."""

    spool_max_size = MAX_MULTIPART_BYTES


async def _image_of_form(request: Request, body: bytes) -> bytes:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _InMemory(request.headers, whole(), max_files=1, max_fields=MAX_MULTIPART_FIELDS)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:  # KeyError: no boundary in the content type
        raise Rejected(
            400, "invalid_form", f"Cannot read the form: {error}. Expected multipart/form-data."
        ) from error
    field = form.get("image")
    photo = await field.read() if isinstance(field, UploadFile) else None
    await form.close()
    if photo is None:
        raise Rejected(422, "no_image", "The form has no file. Expected one in the field `image`.")
    return photo


class Pool:
    """A few threads for decoding, embedding and search, and a bounded number of requests."""

    def __init__(self, threads: int = SEARCH_THREADS, waiting: int = MAX_WAITING) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="search")
        self._most = threads + waiting
        self._taken = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place from before the body is read. Raises Rejected when all are taken."""
        if self._taken >= self._most:
            raise Rejected(
                503,
                "overloaded",
                f"The server is busy with {self._most} requests. Try again in a moment.",
                {"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    async def run(self, work: Callable[[], T], seconds: float) -> T:
        """The result of `work`. Raises Rejected when it is not there after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(self._threads.submit(work))
        except TimeoutError:
            raise Rejected(
                503,
                "deadline",
                f"No answer within {seconds:g} seconds. Try again, or with a smaller photo.",
                {"Retry-After": str(RETRY_AFTER_SECONDS)},
            ) from None
