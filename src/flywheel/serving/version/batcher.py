"""Gathers what waits while a model is busy into one batch, off the event loop; long requests are served in slices."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from flywheel.serving.problem import RequestError

Answer = TypeVar("Answer")
Rows = Sequence[dict[str, Any]]


class Slice(NamedTuple):
    """Rows of one request that are answered together, and the number of the first of them in the request."""

    rows: Rows
    first: int


Work = Callable[[list[Slice]], list[Answer | Exception]]


@dataclass(slots=True, eq=False)
class _Request(Generic[Answer]):
    rows: Rows
    costs: Sequence[float] | None
    answer: asyncio.Future[Answer]
    cost: float
    since: float = field(default_factory=time.perf_counter)
    next: int = 0
    parts: list[Answer] = field(default_factory=list)

    @property
    def num_left(self) -> int:
        return len(self.rows) - self.next

    def take(self, room: float, least: int) -> tuple[Slice, float]:
        """Take the next rows that cost no more than `room` together, but at least `least` of them."""
        start = self.next
        if self.costs is None:
            self.next = min(len(self.rows), start + max(least, int(room)))
            return Slice(self.rows[start : self.next], start), float(self.next - start)
        spent = 0.0
        while self.next < len(self.rows) and (self.next < start + least or spent + self.costs[self.next] <= room):
            spent += self.costs[self.next]
            self.next += 1
        return Slice(self.rows[start : self.next], start), spent


class Batcher(Generic[Answer]):
    """Batches requests to one model.

    A request that finds the model idle is run at once. Those that come while it is busy are run together next. Where
    the last batch held several requests and fewer are there now, the next waits up to `max_wait` for the others, whose
    senders have only just had their answers.

    A batch costs no more than `max_rows` rows of cost 1, but for a single row that costs more by itself. Small
    requests, those that fit into half a batch, are never divided. Longer ones are served slice by slice, taking turns
    (round robin), and where both wait each kind has half of every batch, so that neither keeps the other waiting. A
    caller that is cancelled, because its deadline has passed or its client has gone, gives its place back at once, and
    its further slices are never run.

    Args:
        work: Answers slices of several requests; called in the executor, one call at a time.
        join: Makes one answer of those to a request's slices, in order.
        executor: Threads that run the model.
        max_rows: The largest number of rows of a batch.
        max_wait: Longest wait for more rows, in seconds.
        max_queue: Rows of small requests that may wait, and as many of longer ones; a request is let in while
            fewer do.
        observe: Told of each batch: rows, requests, and seconds that the first one waited.
    """

    def __init__(
        self,
        work: Work[Answer],
        join: Callable[[list[Answer]], Answer],
        executor: Executor,
        *,
        max_rows: int,
        max_wait: float,
        max_queue: int,
        observe: Callable[[int, int, float], None] = lambda rows, requests, seconds: None,
    ) -> None:
        self._work, self._join, self._executor, self._observe = work, join, executor, observe
        self._max_rows, self._max_wait, self._max_queue = max_rows, max_wait, max_queue
        self._small, self._large = _Queue[Answer](), _Queue[Answer]()
        self._running: asyncio.Task[None] | None = None
        self._enough: asyncio.Event | None = None
        self._last_requests = 0

    @property
    def num_waiting(self) -> int:
        """Rows that wait."""
        return self._small.num_rows + self._large.num_rows

    async def answer(self, rows: Rows, costs: Sequence[float] | None = None) -> Answer:
        """Answer a request's rows.

        Args:
            rows: The rows of the request.
            costs: The cost of each row, in ordinary rows; None: 1 each.

        Raises:
            RequestError: Too many rows wait already (503).
            FlywheelError: What the work says of these rows.
        """
        loop = asyncio.get_running_loop()
        cost = len(rows) if costs is None else sum(costs)
        request: _Request[Answer] = _Request(rows, costs, loop.create_future(), cost)
        queue = self._small if cost <= self._max_rows / 2 else self._large
        if queue.num_rows >= self._max_queue:
            what = f"{queue.num_rows} rows wait already"
            raise RequestError(503, what, where="server", fix="send it again later", headers={"retry-after": "1"})
        queue.append(request)
        if self._running is None:
            self._running = loop.create_task(self._run())
        elif self._enough is not None and self._is_enough():
            self._enough.set()
        try:
            return await request.answer
        finally:
            queue.discard(request)

    async def _run(self) -> None:
        """Run batches until nothing waits."""
        try:
            while self._small.requests or self._large.requests:
                await self._gather()
                batch = self._take()
                if not batch:
                    continue
                self._last_requests = len(batch)
                rows = sum(len(slice_.rows) for _, slice_ in batch)
                self._observe(rows, len(batch), time.perf_counter() - batch[0][0].since)
                found = await self._worked([slice_ for _, slice_ in batch])
                for (request, _), answer in zip(batch, found, strict=True):
                    self._answered(request, answer)
                await asyncio.sleep(0)  # lets answers go out, and senders' next requests come in
        finally:
            self._running = None
            self._last_requests = 0

    def _answered(self, request: _Request[Answer], answer: Answer | Exception) -> None:
        if request.answer.done():  # given up, or another slice has failed
            return
        if isinstance(answer, Exception):
            request.answer.set_exception(answer)
            return
        request.parts.append(answer)
        if not request.num_left:
            request.answer.set_result(request.parts[0] if len(request.parts) == 1 else self._join(request.parts))

    async def _worked(self, slices: list[Slice]) -> list[Answer | Exception]:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._work, slices)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody must wait for an answer for ever
            return [error] * len(slices)

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
        num_requests = len(self._small.requests) + len(self._large.requests)
        return num_requests >= self._last_requests // 2 + 1 or self.num_waiting >= self._max_rows

    def _take(self) -> list[tuple[_Request[Answer], Slice]]:
        """Take the next batch out of the queues."""
        batch: list[tuple[_Request[Answer], Slice]] = []
        room = float(self._max_rows)
        reserved = room / 2 if self._large.first() else 0.0
        while (request := self._small.first()) and request.cost <= room - reserved:
            slice_, cost = self._small.take(room, least=len(request.rows))
            batch.append((request, slice_))
            room -= cost
        for turn in range(len(self._large.requests)):
            request = self._large.first()
            if request is None:
                break
            slice_, cost = self._large.take(room, least=1 if turn == 0 else 0)
            if not slice_.rows:
                break
            batch.append((request, slice_))
            room -= cost
        return batch


class _Queue(Generic[Answer]):
    """Requests that wait, the next one first, and how many rows of them do."""

    def __init__(self) -> None:
        self.requests: deque[_Request[Answer]] = deque()
        self.num_rows = 0

    def append(self, request: _Request[Answer]) -> None:
        self.requests.append(request)
        self.num_rows += request.num_left

    def discard(self, request: _Request[Answer]) -> None:
        """Take out a request that is answered, has failed, or is given up, if it is still here."""
        if request.num_left:
            with contextlib.suppress(ValueError):
                self.requests.remove(request)
                self.num_rows -= request.num_left

    def first(self) -> _Request[Answer] | None:
        """The next request; those that were given up meanwhile are left out."""
        while self.requests and self.requests[0].answer.done():
            self.num_rows -= self.requests.popleft().num_left
        return self.requests[0] if self.requests else None

    def take(self, room: float, least: int) -> tuple[Slice, float]:
        """Take rows of the first request; what is left of it waits behind the others, unless nothing was taken."""
        request = self.requests[0]
        slice_, cost = request.take(room, least)
        self.num_rows -= len(slice_.rows)
        if slice_.rows:
            self.requests.popleft()
            if request.num_left:
                self.requests.append(request)
        return slice_, cost
