"""Reads a request's body: no larger, no slower, and no more packed than is allowed."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from flywheel.serving.problem import RequestError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
WHERE = "body"


class ClientGone(Exception):  # noqa: N818 - no error: nobody is there to be told of one
    """The client has hung up before it had sent everything."""


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], max_bytes: int, seconds: float) -> bytes:
    """Give the body, unpacked.

    Args:
        receive: Of ASGI.
        headers: Of the request, names in lower case.
        max_bytes: As sent, and as unpacked.
        seconds: Within which all of it must have arrived.

    Raises:
        RequestError: It is too large (413), too slow (408), or packed in another way than gzip (415).
        ClientGone: The client has hung up.
    """
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > max_bytes:
        raise _too_large(max_bytes)
    message = await _receive(receive, seconds)
    body = message.get("body", b"")
    if message.get("more_body", False):
        body = await _rest(receive, body, max_bytes, seconds)
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    encoding = headers.get(b"content-encoding", b"").strip().lower()
    if encoding in (b"", b"identity"):
        return bytes(body)
    if encoding != b"gzip":
        what = f"content-encoding '{encoding.decode('latin-1')[:40]}' is not read"
        raise RequestError(415, what, where=WHERE, mend="send it as it is, or as gzip")
    return _unzipped(bytes(body), max_bytes)


async def _receive(receive: Receive, seconds: float) -> Message:
    try:
        async with asyncio.timeout(seconds):
            message = await receive()
    except TimeoutError:
        raise _too_slow(seconds) from None
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


async def _rest(receive: Receive, first: bytes, max_bytes: int, seconds: float) -> bytes:
    """Receive what is left, all of it within `seconds`."""
    body = bytearray(first)
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                body += message.get("body", b"")
                if len(body) > max_bytes:
                    raise _too_large(max_bytes)
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise _too_slow(seconds) from None


def _unzipped(body: bytes, max_bytes: int) -> bytes:
    """Unpack gzip, but never more than is allowed: a thousand bytes can promise a million."""
    unpacking = zlib.decompressobj(wbits=31)
    try:
        found = unpacking.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise RequestError(400, f"is no gzip ({error})", where=WHERE, mend="pack it again") from None
    if len(found) > max_bytes:
        raise _too_large(max_bytes)
    if not unpacking.eof:
        raise RequestError(400, "is half a gzip file", where=WHERE, mend="send all of it")
    return found


def _too_large(max_bytes: int) -> RequestError:
    # The rest of the body is still on its way: the connection cannot be used again.
    closing = {"connection": "close"}
    mend = "send fewer rows, or smaller files"
    return RequestError(413, f"is larger than {max_bytes} bytes", where=WHERE, mend=mend, headers=closing)


def _too_slow(seconds: float) -> RequestError:
    closing = {"connection": "close"}
    return RequestError(408, f"has not arrived within {seconds:g} s", where=WHERE, mend="send faster", headers=closing)
