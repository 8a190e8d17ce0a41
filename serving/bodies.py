"""The bodies of requests: a photo, JSON, or a form of both. Kept in memory only."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from model.pixels import MAX_IMAGE_BYTES
from serving.limits import (
    MAX_JSON_BYTES,
    MAX_MULTIPART_BYTES,
    MAX_MULTIPART_FIELDS,
    UPLOAD_SECONDS,
)
from serving.rejected import Rejected


@dataclass(frozen=True)
class Form:
    """The fields of a form that are ours."""

    image: bytes | None
    item: bytes | None


async def read_photo(request: Request) -> bytes:
    """The photo of a request: its body, or the field `image` of a form. Raises Rejected."""
    if not is_form(request):
        return await _read(request, MAX_IMAGE_BYTES, "photo")
    photo = (await read_form(request)).image
    if photo is None:
        raise Rejected(422, "no_image", "The form has no file. Expected one in the field `image`.")
    return photo


async def read_json(request: Request) -> dict[str, Any]:
    """An object. Raises Rejected."""
    return parse_json(await _read(request, MAX_JSON_BYTES, "body"))


async def read_form(request: Request) -> Form:
    """Raises Rejected for what is no form."""
    body = await _read(request, MAX_MULTIPART_BYTES, "photo")

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _InMemory(request.headers, whole(), max_files=1, max_fields=MAX_MULTIPART_FIELDS)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:  # KeyError: no boundary in the content type
        raise Rejected(
            400, "invalid_form", f"Cannot read the form: {error}. Expected multipart/form-data."
        ) from error
    else:
        image, item = form.get("image"), form.get("item")
        return Form(
            image=await image.read() if isinstance(image, UploadFile) else None,
            item=item.encode() if isinstance(item, str) else None,
        )
    finally:
        parser.close()


def is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith("multipart/form-data")


def parse_json(data: bytes) -> dict[str, Any]:
    """Raises Rejected for what is no object."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Rejected(400, "invalid_json", f"Cannot read the JSON: {error}.") from None
    if not isinstance(found, dict):
        raise Rejected(
            422, "invalid_json", f"Expected a JSON object. Received: {type(found).__name__}."
        )
    return found


async def _read(request: Request, most: int, what: str) -> bytes:
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            return await _read_at_most(request, most, what)
    except TimeoutError:
        raise Rejected(
            408,
            "upload_timeout",
            f"The upload took too long. Expected the whole {what} within {UPLOAD_SECONDS} seconds.",
            {"Connection": "close"},
        ) from None
    except ClientDisconnect:
        raise Rejected(400, "incomplete_body", "The upload ended early. Send it again.") from None


async def _read_at_most(request: Request, most: int, what: str) -> bytes:
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
        photo = what == "photo"
        raise Rejected(
            413,
            "image_too_large" if photo else "body_too_large",
            f"The {what} is too large. Expected at most "
            f"{MAX_IMAGE_BYTES if photo else most} bytes. Received: {received} or more."
            + (" Save it smaller." if photo else ""),
            {"Connection": "close"},  # the rest of the body is not read
        )
    return bytes(body)


class _InMemory(MultiPartParser):
    """Starlette's parser, without the temporary file: query photos are never stored."""

    spool_max_size = MAX_MULTIPART_BYTES

    def close(self) -> None:
        """Of a form that ends early, too, of which no field is ever returned."""
        for file in self._files_to_close_on_error:
            file.close()
