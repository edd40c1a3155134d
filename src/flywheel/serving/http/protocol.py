"""uvicorn's HTTP protocol with bounds that it lacks: on connections, on headers, and on how long they may take."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from flywheel.serving.problem import RequestError, body_of
from flywheel.serving.settings import ServingSettings


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    Attributes:
        max_header_bytes: The largest size of a request's first line and headers.
        header_seconds: Within which they must have arrived.
        max_connections: Maximum number of connections.
    """

    max_header_bytes = 16_384
    header_seconds = 10.0
    max_connections = 512

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request, or refuse the connection where there are too many."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._in_headers, self._num_bytes, self._num_header_bytes = True, 0, 0
        self._refusal: RequestError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answering: RequestResponseCycle | None = None
        self._idle_since = self.loop.time()
        if len(self.connections) > self.max_connections and not self._take_place():
            self._refuse(self._too_many())
            return
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting, and tell the request that is being answered, which need not be the last one that has come."""
        self._stop_waiting()
        super().connection_lost(exc)
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def on_response_complete(self) -> None:
        """End an answer; what is left of the request's body is thrown away, but not waited for without end."""
        self._idle_since = self.loop.time()
        super().on_response_complete()
        if not self._in_headers and not self.transport.is_closing():
            self._stop_waiting()
            self._timer = self.loop.call_later(self.header_seconds, self.transport.close)

    def timeout_keep_alive_handler(self) -> None:
        """End an idle connection; one that has not even taken its last answer is not waited for."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def data_received(self, data: bytes) -> None:
        """Take some bytes; a request whose headers go on for too long is refused."""
        if self._in_headers:
            self._num_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._num_bytes and not self.transport.is_closing():
            # What has come of these headers is more than all of them may be, and they still do not end.
            if self._num_bytes > self.max_header_bytes:
                self._refuse(self._too_long())
            elif self._timer is None:
                self._wait_for_headers()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._in_headers, self._num_header_bytes = True, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a part of the first line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request."""
        self._in_headers, self._num_bytes = False, 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End the request; what comes next are headers of another."""
        super().on_message_complete()
        self._in_headers = True
        self._stop_waiting()

    def send_400_response(self, msg: str) -> None:
        """Say why the connection is closed, in JSON."""
        error = self._refusal or RequestError(400, "is no HTTP request", where="request", fix="send HTTP/1.1")
        self._refuse(error)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    @property
    def _is_idle(self) -> bool:
        return self._in_headers and not self._num_bytes and (self.cycle is None or self.cycle.response_complete)

    def _take_place(self) -> bool:
        """Close the connection that has been idle for longest, if any other is idle."""
        others = (one for one in self.connections if isinstance(one, BoundedProtocol) and one is not self)
        idle = [one for one in others if one._is_idle and not one.transport.is_closing()]
        if idle:
            min(idle, key=lambda one: one._idle_since).transport.close()
        return bool(idle)

    def _too_many(self) -> RequestError:
        what = f"{self.max_connections} connections are open and busy"
        return RequestError(503, what, where="server", fix="come again later", headers={"retry-after": "1"})

    def _count(self, num_bytes: int) -> None:
        self._num_header_bytes += num_bytes
        if self._num_header_bytes > self.max_header_bytes:
            self._refusal = self._too_long()
            raise self._refusal  # httptools stops, and uvicorn calls `send_400_response`

    def _too_long(self) -> RequestError:
        what = f"are longer than {self.max_header_bytes} bytes"
        return RequestError(431, what, where="headers", fix="send fewer or shorter ones")

    def _too_slow(self) -> None:
        self._timer = None
        if not self._in_headers or self.transport.is_closing():
            return
        if not self._num_bytes:
            self.transport.close()  # has asked nothing at all: there is nothing to answer
            return
        what = f"have not arrived within {self.header_seconds:g} s"
        self._refuse(RequestError(408, what, where="headers", fix="send faster"))

    def _refuse(self, error: RequestError) -> None:
        body = body_of(error, (getattr(self, "url", None) or b"").decode("latin-1"))
        head = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\ncontent-type: application/json\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in error.headers.items())
        head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _wait_for_headers(self) -> None:
        self._timer = self.loop.call_later(self.header_seconds, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def bounded(settings: ServingSettings) -> type[BoundedProtocol]:
    """The protocol with a server's settings."""
    bounds: dict[str, Any] = {
        "max_header_bytes": settings.max_header_bytes,
        "header_seconds": settings.receive_seconds,
        "max_connections": settings.max_connections,
    }
    return type("Protocol", (BoundedProtocol,), bounds)
