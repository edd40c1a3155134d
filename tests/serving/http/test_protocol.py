"""Connections as clients really use them: too many, half a request, gone before the answer, or deaf to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from flywheel.serving.http.access import AccessControl, read_tokens
from flywheel.serving.http.gateway import Gateway
from flywheel.serving.http.metrics import Metrics
from flywheel.serving.http.protocol import bounded
from flywheel.serving.settings import ServingSettings
from flywheel.serving.version.answering import Reply

Open = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
ASK = b"POST /v1/tasks/digits/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}"


class Answering:
    """Answers when it may, and notes who came and who was given up."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.begun = self.given_up = 0
        self.body = b"{}"

    async def reply(self, _: Any) -> Reply:
        self.begun += 1
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return Reply(self.body)


def run(test: Callable[[Answering, Open, ServerState, Gateway], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        answering, tokens = Answering(), settings.pop("tokens", {})
        async with listening(answering, ServingSettings(**settings), tokens) as (connect, state, gateway):
            await asyncio.wait_for(test(answering, connect, state, gateway), 60)

    asyncio.run(main())


@contextlib.asynccontextmanager
async def listening(
    answering: Answering, settings: ServingSettings, tokens: dict[str, str]
) -> AsyncIterator[tuple[Open, ServerState, Gateway]]:
    access = AccessControl(tokens, 0, 1)
    gateway = Gateway(None, answering, access, settings, Metrics())  # type: ignore[arg-type]
    config = uvicorn.Config(
        gateway, http=bounded(settings), ws="none", lifespan="off", log_config=None, access_log=False,
        timeout_keep_alive=1,
    )  # fmt: skip
    config.load()
    state = ServerState()
    make: Any = config.http_protocol_class
    loop = asyncio.get_running_loop()
    made = lambda: make(config=config, server_state=state, app_state={})  # noqa: E731
    server = await loop.create_server(made, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        return reader, writer

    try:
        yield connect, state, gateway
    finally:
        for writer in writers:
            writer.close()
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await until(lambda: not state.connections and not state.tasks)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.005)


async def status(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


def test_a_new_connection_takes_the_place_of_an_idle_one_and_is_refused_where_all_are_busy() -> None:
    async def test(answering: Answering, connect: Open, state: ServerState, _: Gateway) -> None:
        idle, _writer = await connect()
        await until(lambda: len(state.connections) == 1)
        busy, writer = await connect()
        writer.write(ASK)
        await until(lambda: answering.begun == 1)
        third, writer = await connect()
        assert await idle.read() == b"", "the idle one was closed"
        writer.write(ASK)
        await until(lambda: answering.begun == 2)
        refused, _writer = await connect()
        code, body = await status(refused)
        assert (code, json.loads(body)["error"]["what"]) == (503, "2 connections are open and busy")
        assert await refused.read() == b""
        answering.go_on.set()
        assert [await status(reader) for reader in (busy, third)] == [(200, b"{}")] * 2

    run(test, max_connections=2)


def test_a_client_that_hangs_up_is_not_worked_for() -> None:
    async def test(answering: Answering, connect: Open, state: ServerState, gateway: Gateway) -> None:
        for requests in (ASK, ASK * 3):  # of several in one go, the first is answered while the others wait
            answering.begun = answering.given_up = 0
            _reader, writer = await connect()
            writer.write(requests)
            await until(lambda: answering.begun == 1)
            writer.close()
            await until(lambda: answering.given_up == 1)
            await until(lambda: not state.connections and not state.tasks)
            assert answering.begun == 1, "what the client had sent besides is not begun"
            assert gateway._num_requests == gateway._memory.held == 0
        assert b'status="499"' in gateway._metrics.text()
        answering.go_on.set()
        reader, writer = await connect()
        writer.write(ASK)
        assert await status(reader) == (200, b"{}")

    run(test)


def test_a_refused_request_is_not_listened_to_without_end() -> None:
    head = b"POST /v1/tasks/digits/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n"

    async def test(_: Answering, connect: Open, _state: ServerState, _gateway: Gateway) -> None:
        reader, writer = await connect()
        for _ in range(2):  # whose body comes all the same may go on
            writer.write(head)
            assert (await status(reader))[0] == 401
            writer.write(b"0123456789")
        writer.write(head + b"012")
        assert (await status(reader))[0] == 401
        assert await reader.read() == b"", "closed, although the rest never comes"

    run(test, tokens=read_tokens(None, {"FLYWHEEL_TOKENS": "web 0123456789abcdef"}), receive_seconds=0.2)


def test_a_client_that_does_not_take_its_answer_is_let_go() -> None:
    async def test(answering: Answering, connect: Open, state: ServerState, _: Gateway) -> None:
        answering.body = bytes(30_000_000)
        answering.go_on.set()
        _reader, writer = await connect()
        _reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(ASK)
        await until(lambda: answering.begun == 1)
        await until(lambda: not state.connections)

    run(test)
