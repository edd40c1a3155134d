"""Clients that ask a server as fast as it answers: `python -m bench.serving_load` reads a job in JSON, prints figures.

Each client keeps one connection and sends its next request when it has its answer. The requests are made beforehand,
and answers are not parsed beyond their length, so that the load costs little beside the server.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, request: bytes, until: float, done: asyncio.Future[None]) -> None:
        self.request, self.until, self.done = request, until, done
        self.buffer = b""
        self.times: list[tuple[float, float]] = []
        self.failures = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = transport
        self._send()

    def _send(self) -> None:
        self.started = time.perf_counter()
        self.transport.write(self.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Take the answer, or a part of it."""
        self.buffer += data
        head, mark, body = self.buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        now = time.perf_counter()
        self.buffer = b""
        self.failures += not head.startswith(b"HTTP/1.1 200")
        self.times.append((self.started, now - self.started))
        if now < self.until:
            self._send()
        else:
            self.transport.close()
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """A connection that is closed early is a failure."""
        if not self.done.done():
            self.failures += 1
            self.done.set_result(None)


async def load(job: dict[str, object]) -> dict[str, float]:
    """Run a job: `port`, `head`, `body` (hex), `clients`, `seconds`, `warm_up`."""
    loop = asyncio.get_running_loop()
    body = bytes.fromhex(str(job["body"]))
    head = f"{job['head']}\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    begin = time.perf_counter() + float(str(job["warm_up"]))
    until = begin + float(str(job["seconds"]))
    clients = []
    for _ in range(int(str(job["clients"]))):
        client = Client(head + body, until, loop.create_future())
        await loop.create_connection(lambda client=client: client, "127.0.0.1", int(str(job["port"])))
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    times = sorted(took for client in clients for started, took in client.times if begin <= started < until)
    return {
        "per_second": len(times) / float(str(job["seconds"])),
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[int(len(times) * 0.99)] * 1000,
        "requests": sum(len(client.times) for client in clients),
        "failures": sum(client.failures for client in clients),
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(load(json.load(sys.stdin)))))
