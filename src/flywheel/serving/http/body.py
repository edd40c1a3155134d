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
CHUNK = 65_536
MAX_MEMBERS = 1024


class BodyMemory:
    """Bytes of all requests' bodies that a worker holds at a time.

    Args:
        most: Maximum number of bytes.
    """

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0

    def share(self) -> BodyShare:
        """What one request holds of it, nothing yet."""
        return BodyShare(self)


class BodyShare:
    """One request's part of a `BodyMemory`."""

    def __init__(self, memory: BodyMemory) -> None:
        self._memory, self._bytes = memory, 0

    def add(self, num_bytes: int) -> None:
        """Hold more.

        Raises:
            RequestError: All requests together would hold too much (503).
        """
        if self._memory.held + num_bytes > self._memory.most:
            what = f"requests of {self._memory.held} bytes are being answered"
            headers = {"retry-after": "1", "connection": "close"}
            raise RequestError(503, what, where="server", fix="send it later", headers=headers)
        self._memory.held += num_bytes
        self._bytes += num_bytes

    def release(self) -> None:
        """Hold nothing more."""
        self._memory.held -= self._bytes
        self._bytes = 0


class ClientGone(Exception):  # noqa: N818 - no error: nobody is there to be told of one
    """The client has hung up before it had sent everything."""


async def read_body(
    receive: Receive, headers: Mapping[bytes, bytes], max_bytes: int, seconds: float, held: BodyShare
) -> bytes:
    """Give the body, unpacked.

    Args:
        receive: ASGI's `receive`.
        headers: The headers of the request, names in lower case.
        max_bytes: Largest size, both as sent and unpacked.
        seconds: Within which all of it must have arrived.
        held: Told how many bytes there are.

    Raises:
        RequestError: It is too large (413), too slow (408), packed in another way than gzip (415), or too much is held
            already (503).
        ClientGone: The client has hung up.
    """
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > max_bytes:
        raise _too_large(max_bytes)
    message = await _receive(receive, seconds)
    body = message.get("body", b"")
    held.add(len(body))
    if message.get("more_body", False):
        body = await _rest(receive, body, max_bytes, seconds, held)
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    encoding = headers.get(b"content-encoding", b"").strip().lower()
    if encoding in (b"", b"identity"):
        return bytes(body)
    if encoding != b"gzip":
        what = f"content-encoding '{encoding.decode('latin-1')[:40]}' is not read"
        raise RequestError(415, what, where=WHERE, fix="send it as it is, or as gzip")
    found = _unzipped(bytes(body), max_bytes)
    held.add(len(found))
    return found


async def _receive(receive: Receive, seconds: float) -> Message:
    try:
        async with asyncio.timeout(seconds):
            message = await receive()
    except TimeoutError:
        raise _too_slow(seconds) from None
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


async def _rest(receive: Receive, first: bytes, max_bytes: int, seconds: float, held: BodyShare) -> bytes:
    """Receive what is left, all of it within `seconds`."""
    body = bytearray(first)
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                part = message.get("body", b"")
                held.add(len(part))
                body += part
                if len(body) > max_bytes:
                    raise _too_large(max_bytes)
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise _too_slow(seconds) from None


def _unzipped(body: bytes, max_bytes: int) -> bytes:
    """Unpack gzip, but never more than is allowed: a thousand bytes can promise a million.

    A file may consist of several members one after the other (RFC 1952), as `cat a.gz b.gz` makes it.
    """
    found, num_members = bytearray(), 0
    unpacking, left = zlib.decompressobj(wbits=31), b""
    try:
        for start in range(0, len(body), CHUNK):
            left += body[start : start + CHUNK]
            while left:
                if unpacking.eof:
                    num_members += 1
                    if num_members >= MAX_MEMBERS:
                        what = f"is gzip of more than {MAX_MEMBERS} members"
                        raise RequestError(400, what, where=WHERE, fix="pack it in one")
                    unpacking = zlib.decompressobj(wbits=31)
                found += unpacking.decompress(left, max_bytes + 1 - len(found))
                if len(found) > max_bytes:
                    raise _too_large(max_bytes)
                left = unpacking.unused_data
    except zlib.error as error:
        raise RequestError(400, f"is no gzip ({error})", where=WHERE, fix="pack it again") from None
    if not unpacking.eof:
        raise RequestError(400, "is half a gzip file", where=WHERE, fix="send all of it")
    return bytes(found)


def _too_large(max_bytes: int) -> RequestError:
    # The rest of the body is still on its way: the connection cannot be used again.
    closing = {"connection": "close"}
    fix = "send fewer rows, or smaller files"
    return RequestError(413, f"is larger than {max_bytes} bytes", where=WHERE, fix=fix, headers=closing)


def _too_slow(seconds: float) -> RequestError:
    closing = {"connection": "close"}
    return RequestError(408, f"has not arrived within {seconds:g} s", where=WHERE, fix="send faster", headers=closing)
