"""Gathers what waits while a model is busy into one batch, off the event loop."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from flywheel.serving.problem import RequestError

Answer = TypeVar("Answer")
Rows = Sequence[dict[str, Any]]
Work = Callable[[list[Rows]], list[Answer | Exception]]


@dataclass(slots=True)
class _Request(Generic[Answer]):
    rows: Rows
    answer: asyncio.Future[Answer]
    since: float = field(default_factory=time.perf_counter)


class Batcher(Generic[Answer]):
    """Batches requests to one model.

    A request that finds the model idle is run at once. Those that come while it is busy are run together next. Where
    the last batch held several requests and fewer are there now, the next waits up to `max_wait` for the others, whose
    senders have only just had their answers.

    Args:
        work: Answers several requests' rows; called in the executor, one call at a time.
        executor: Threads that run it.
        max_rows: Of a batch; a longer request is a batch of its own.
        max_wait: Seconds.
        max_queue: Rows that may wait.
        observe: Told of each batch: rows, requests, and seconds that the first one waited.
    """

    def __init__(
        self,
        work: Work[Answer],
        executor: Executor,
        *,
        max_rows: int,
        max_wait: float,
        max_queue: int,
        observe: Callable[[int, int, float], None] = lambda rows, requests, seconds: None,
    ) -> None:
        self._work, self._executor, self._observe = work, executor, observe
        self._max_rows, self._max_wait, self._max_queue = max_rows, max_wait, max_queue
        self._waiting: deque[_Request[Answer]] = deque()
        self._running: asyncio.Task[None] | None = None
        self._enough: asyncio.Event | None = None
        self._last_requests = 0
        self.num_waiting = 0

    async def answer(self, rows: Rows) -> Answer:
        """Answer a request's rows.

        Raises:
            RequestError: Too many rows wait already (503).
            FlywheelError: What the work says of these rows.
        """
        if self.num_waiting and self.num_waiting + len(rows) > self._max_queue:
            what = f"{self.num_waiting} rows wait already"
            raise RequestError(503, what, where="server", mend="send it again later", headers={"retry-after": "1"})
        loop = asyncio.get_running_loop()
        request: _Request[Answer] = _Request(rows, loop.create_future())
        self._waiting.append(request)
        self.num_waiting += len(rows)
        if self._running is None:
            self._running = loop.create_task(self._run())
        elif self._enough is not None and self._is_enough():
            self._enough.set()
        return await request.answer

    async def drained(self) -> None:
        """Wait until nothing waits any more."""
        while self._running is not None:
            await asyncio.shield(self._running)

    async def _run(self) -> None:
        """Run batches until nothing waits."""
        try:
            while self._waiting:
                await self._gather()
                batch = self._take()
                if not batch:
                    continue
                self._last_requests = len(batch)
                rows = sum(len(request.rows) for request in batch)
                self._observe(rows, len(batch), time.perf_counter() - batch[0].since)
                found = await self._worked([request.rows for request in batch])
                for request, answer in zip(batch, found, strict=True):
                    if request.answer.done():
                        continue
                    if isinstance(answer, Exception):
                        request.answer.set_exception(answer)
                    else:
                        request.answer.set_result(answer)
                await asyncio.sleep(0)  # lets answers go out, and senders' next requests come in
        finally:
            self._running = None
            self._last_requests = 0

    async def _worked(self, requests: list[Rows]) -> list[Answer | Exception]:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._work, requests)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody must wait for an answer for ever
            return [error] * len(requests)

    async def _gather(self) -> None:
        """Wait for as many requests as the last batch had, but not for long."""
        if self._is_enough() or not self._max_wait:
            return
        self._enough = asyncio.Event()
        try:
            async with asyncio.timeout(self._max_wait):
                await self._enough.wait()
        except TimeoutError:
            pass
        finally:
            self._enough = None

    def _is_enough(self) -> bool:
        return len(self._waiting) >= self._last_requests // 2 + 1 or self.num_waiting >= self._max_rows

    def _take(self) -> list[_Request[Answer]]:
        batch: list[_Request[Answer]] = []
        num_rows = 0
        while self._waiting and (not batch or num_rows + len(self._waiting[0].rows) <= self._max_rows):
            request = self._waiting.popleft()
            self.num_waiting -= len(request.rows)
            if not request.answer.done():  # given up meanwhile
                batch.append(request)
                num_rows += len(request.rows)
        return batch
