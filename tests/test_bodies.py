"""Bodies of requests: whatever arrives is read whole, or refused with a status of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from model.pixels import MAX_IMAGE_BYTES
from serving import bodies
from serving.bodies import Form, is_form, parse_json, read_form, read_json, read_photo
from serving.rejected import Rejected

Made = TypeVar("Made")
TYPE = "multipart/form-data; boundary=xx"


def request(*chunks: bytes, ended: bool = True, slow: float = 0, **headers: str) -> Request:
    """A body in chunks; not `ended`: the client leaves before it is whole."""
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": chunk, "more_body": not ended or number < len(chunks) - 1}
        for number, chunk in enumerate(chunks or (b"",))
    ]

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(slow)
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    pairs = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": pairs}, receive)


def read(reader: Callable[[Request], Coroutine[Any, Any, Made]], asked: Request) -> Made:
    return asyncio.run(reader(asked))


def part(name: str, data: bytes, file: str | None = None) -> bytes:
    of_file = f'; filename="{file}"' if file is not None else ""
    head = f'--xx\r\nContent-Disposition: form-data; name="{name}"{of_file}\r\n\r\n'
    return head.encode() + data + b"\r\n"


def form(*parts: bytes) -> Request:
    return request(b"".join(parts) + b"--xx--\r\n", content_type=TYPE)


def refusal(
    reader: Callable[[Request], Coroutine[Any, Any, Any]], asked: Request
) -> tuple[int, str, str]:
    with pytest.raises(Rejected) as caught:
        read(reader, asked)
    return caught.value.status, caught.value.code, str(caught.value)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
def test_a_photo_is_the_body_or_a_field_of_a_form(chunks: list[bytes]) -> None:
    data = b"".join(chunks)
    assert read(read_photo, request(*chunks)) == data
    assert read(read_photo, form(part("image", data, "a.jpg"))) == data


def test_a_form_of_a_photo_and_an_item() -> None:
    asked = form(part("item", b'{"a":1}'), part("image", b"photo", "a.jpg"))
    assert read(read_form, asked) == Form(image=b"photo", item=b'{"a":1}')
    assert read(read_form, form(part("other", b"x"))) == Form(image=None, item=None)
    assert read(read_form, form(part("image", b"no file"))) == Form(image=None, item=None)


def test_a_form_without_a_photo() -> None:
    assert refusal(read_photo, form(part("item", b"{}"))) == (
        422,
        "no_image",
        "The form has no file. Expected one in the field `image`.",
    )


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"x", "multipart/form-data"),
        (b"no boundary", TYPE),
        (b"--xx\r\nno header\r\n\r\n", TYPE),
        (part("a", b"", "a") + part("b", b"", "b") + b"--xx--", TYPE),
        (b"".join(part(f"field{number}", b"1") for number in range(9)) + b"--xx--", TYPE),
    ],
)
def test_what_is_no_form_is_refused(body: bytes, content_type: str) -> None:
    status, code, message = refusal(read_form, request(body, content_type=content_type))
    assert (status, code) == (400, "invalid_form")
    assert message.startswith("Cannot read the form: ")
    assert message.endswith(". Expected multipart/form-data.")


pieces = st.sampled_from(
    [b"--xx", b"\r\n", b"--", b"Content-Disposition: form-data; ", b'name="image"', b"; filename=a"]
)


@given(st.lists(pieces | st.binary(max_size=9), max_size=12).map(b"".join))
def test_any_bytes_are_a_form_or_refused(body: bytes) -> None:
    try:
        found = read(read_form, request(body, content_type=TYPE))
    except Rejected as error:
        found = error.code
    assert found == "invalid_form" or isinstance(found, Form)


def test_forms_are_told_by_their_type() -> None:
    assert is_form(request(content_type=TYPE))
    assert not is_form(request(content_type="image/jpeg"))
    assert not is_form(request())


@given(st.dictionaries(st.text(max_size=5), st.none() | st.integers(-9, 9) | st.text(max_size=5)))
def test_an_object_is_read(given: dict[str, Any]) -> None:
    data = orjson.dumps(given)
    assert parse_json(data) == given == read(read_json, request(data))


@pytest.mark.parametrize("data", [b"", b"{", b"nan", b'{"a":NaN}', b"\xff", b"[" * 5000])
def test_what_is_no_json(data: bytes) -> None:
    status, code, message = refusal(read_json, request(data))
    assert (status, code, message[:22]) == (400, "invalid_json", "Cannot read the JSON: ")


@pytest.mark.parametrize(("data", "kind"), [(b"[]", "list"), (b"1", "int"), (b"null", "NoneType")])
def test_json_that_is_no_object(data: bytes, kind: str) -> None:
    message = f"Expected a JSON object. Received: {kind}."
    assert refusal(read_json, request(data)) == (422, "invalid_json", message)


def test_what_is_too_large_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_JSON_BYTES", 10)
    read_so_far: list[bytes] = []

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            read_so_far.append(b"xxxx")
            yield b"xxxx"

    asked = request()
    monkeypatch.setattr(asked, "stream", chunks)
    assert refusal(read_json, asked) == (
        413,
        "body_too_large",
        "The body is too large. Expected at most 10 bytes. Received: 12 or more.",
    )
    assert len(read_so_far) == 3


def test_what_is_announced_too_large_is_not_read_at_all() -> None:
    announced = str(MAX_IMAGE_BYTES + 1)
    assert refusal(read_photo, request(b"x", content_length=announced)) == (
        413,
        "image_too_large",
        f"The photo is too large. Expected at most {MAX_IMAGE_BYTES} bytes. "
        f"Received: {announced} or more. Save it smaller.",
    )


def test_an_upload_that_ends_early_or_never(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(read_photo, request(b"half", ended=False)) == (
        400,
        "incomplete_body",
        "The upload ended early. Send it again.",
    )
    monkeypatch.setattr(bodies, "UPLOAD_SECONDS", 0.05)
    assert refusal(read_json, request(b"{", b"}", slow=1)) == (
        408,
        "upload_timeout",
        "The upload took too long. Expected the whole body within 0.05 seconds.",
    )
