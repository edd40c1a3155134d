"""The server's front: admits requests, reads their bodies, answers predictions itself, and hands on all else.

Predictions go through no framework: routing, models and middleware of FastAPI cost more than the models do. What is
done with them is described in the OpenAPI page all the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from flywheel.project.errors import FlywheelError
from flywheel.serving.http.access import AccessControl, check_headers
from flywheel.serving.http.body import BodyMemory, BodyShare, ClientGone, Message, Receive, Scope, Send, read_body
from flywheel.serving.http.departure import Departure
from flywheel.serving.http.metrics import Metrics
from flywheel.serving.http.routes import Route, route_of
from flywheel.serving.problem import RequestError, body_of, status_of
from flywheel.serving.settings import ServingSettings
from flywheel.serving.version.answering import Answering, Reply, Request

log = logging.getLogger("flywheel")

CLIENT = "flywheel.client"
CLOSE = (b"connection", b"close")
GONE = 499
"""Counted as the status of a request whose client has hung up, as nginx does; it is never sent."""


class Gateway:
    """An ASGI application before another.

    Args:
        app: Answers what is no prediction.
        answering: Answers requests for predictions.
        access: Checks who may send requests.
        settings: The settings of the server.
        metrics: The metrics of the worker.

    Attributes:
        draining: Whether the worker is about to stop: then each answer closes its connection.
    """

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        answering: Answering,
        access: AccessControl,
        settings: ServingSettings,
        metrics: Metrics,
    ) -> None:
        self.app, self._answering, self._access = app, answering, access
        self._settings, self._metrics = settings, metrics
        self._num_requests = 0
        self._memory = BodyMemory(settings.max_held_bytes)
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other scopes than `http` are handed on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        path = scope["path"].split("/")
        route = route_of(path)
        label = route.label if route else ""
        self._num_requests += 1
        held = self._memory.share()
        departure: Departure | None = None
        try:
            request = await self._admitted(scope, receive, path, route, held)
            departure = Departure(receive)
            if not label:
                await self._handed_on(scope, request, send, started, departure)
                return
            reply = await self._answering.reply(request)
        except ClientGone:
            return
        except asyncio.CancelledError:
            if departure is None or not departure.has_happened:
                raise
            self._counted(Reply(b"", GONE), label or "other", started)
            return
        except FlywheelError as error:
            headers = error.headers if isinstance(error, RequestError) else None
            reply = Reply(body_of(error, scope["path"]), status_of(error), headers=headers)
        except Exception:  # a bug: the caller gets JSON, the log the traceback
            log.exception("%s %.200s failed", scope["method"], scope["path"])
            failure = RequestError(500, "the server failed", where="server", fix="see its log")
            reply = Reply(body_of(failure, scope["path"]), 500)
        finally:
            self._num_requests -= 1
            held.release()
            if departure is not None:
                departure.end()
        await self._send(send, reply)
        self._counted(reply, label or "other", started)

    async def _admitted(
        self, scope: Scope, receive: Receive, path: list[str], route: Route | None, held: BodyShare
    ) -> Request:
        headers = dict(scope["headers"])
        check_headers(scope["headers"], headers)
        client = ""
        announced = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
        access = route.access if route else "token"
        if announced and access != "token":
            # Whoever has no token could fill the memory otherwise.
            closing = {"connection": "close"}
            raise RequestError(400, "takes no body", where="body", fix="send none", headers=closing)
        if access != "always":
            if self._num_requests > self._settings.max_requests:
                what = f"{self._settings.max_requests} requests are being answered"
                raise RequestError(503, what, where="server", fix="send it later", headers={"retry-after": "1"})
            self._access.check_origin(headers)
            address = (scope.get("client") or ("",))[0]
            if access == "token":
                client = self._access.name_of(headers.get(b"authorization", b""), address)
            self._access.count(client or address)
        body = b""
        if announced:
            settings = self._settings
            body = await read_body(receive, headers, settings.max_body_bytes, settings.receive_seconds, held)
        return Request(scope["method"], path, headers, body, client)

    async def _handed_on(
        self, scope: Scope, request: Request, send: Send, started: float, departure: Departure
    ) -> None:
        """Let the other application answer, with the body that has been read."""
        scope = {**scope, CLIENT: request.client}
        if scope["method"] == "HEAD":  # whatever can be read has a HEAD: the same without its body, which uvicorn drops
            scope["method"] = "GET"
        reply = Reply(b"", 500)
        given = False

        async def receive() -> Message:
            nonlocal given
            if given:
                await asyncio.Event().wait()  # nothing more will come
            given = True
            return {"type": "http.request", "body": request.body, "more_body": False}

        async def watched(message: Message) -> None:
            departure.end()
            if message["type"] == "http.response.start":
                reply.status = message["status"]
                if self.draining:
                    message["headers"] = [*message.get("headers", []), CLOSE]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:  # a bug: FastAPI has answered it before it raised it again
            log.exception("%s %.200s failed", scope["method"], scope["path"])
        self._counted(reply, "other", started)

    async def _send(self, send: Send, reply: Reply) -> None:
        headers = [(b"content-type", reply.media_type), (b"content-length", str(len(reply.body)).encode())]
        if reply.headers:
            headers += [(name.encode(), value.encode("latin-1")) for name, value in reply.headers.items()]
        if self.draining:
            headers.append(CLOSE)
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    def _counted(self, reply: Reply, route: str, started: float) -> None:
        self._metrics.count(reply.task, reply.version, route, reply.status, time.perf_counter() - started)
