from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flywheel.serving.batcher import Batcher, Rows
from flywheel.serving.problem import RequestError


class Model:
    """Answers each request with the values of its rows, and notes the batches; can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def work(self, requests: list[Rows]) -> list[Any]:
        self.go_on.wait(10)
        self.batches.append([len(rows) for rows in requests])
        return [ValueError("bad") if rows[0]["x"] < 0 else [row["x"] for row in rows] for rows in requests]


def run(test: Any, **options: Any) -> Model:
    model = Model()

    async def main() -> None:
        with ThreadPoolExecutor(2) as pool:
            settings = {"max_rows": 4, "max_wait": 0.001, "max_queue": 100, **options}
            await test(model, Batcher(model.work, pool, **settings))

    asyncio.run(main())
    return model


def rows(*values: int) -> Rows:
    return [{"x": value} for value in values]


def test_one_request_is_a_batch_at_once() -> None:
    async def test(model: Model, batcher: Batcher[Any]) -> None:
        assert await batcher.answer(rows(1)) == [1]
        assert await batcher.answer(rows(2, 3)) == [2, 3]

    assert run(test, max_wait=3600.0).batches == [[1], [2]]  # an hour's wait would be noticed


def test_what_comes_while_it_is_busy_is_run_together_up_to_the_limit() -> None:
    async def test(model: Model, batcher: Batcher[Any]) -> None:
        model.go_on.clear()
        asked = [asyncio.create_task(batcher.answer(rows(number))) for number in range(7)]
        await asyncio.sleep(0.05)
        model.go_on.set()
        assert await asyncio.gather(*asked) == [[number] for number in range(7)]
        await batcher.drained()

    batches = run(test).batches
    assert sum(map(len, batches)) == 7
    assert max(map(len, batches)) == 4


def test_a_long_request_is_a_batch_of_its_own() -> None:
    async def test(model: Model, batcher: Batcher[Any]) -> None:
        answers = await asyncio.gather(*(batcher.answer(rows(*range(size))) for size in (1, 9, 3, 1)))
        assert [len(answer) for answer in answers] == [1, 9, 3, 1]

    assert [9] in run(test).batches


def test_an_error_belongs_to_its_own_request() -> None:
    async def test(model: Model, batcher: Batcher[Any]) -> None:
        found = await asyncio.gather(*(batcher.answer(rows(x)) for x in (1, -1, 2)), return_exceptions=True)
        assert found[0] == [1]
        assert isinstance(found[1], ValueError)
        assert found[2] == [2]

    run(test)


def test_a_full_queue_refuses_and_one_that_was_given_up_is_not_run() -> None:
    async def test(model: Model, batcher: Batcher[Any]) -> None:
        model.go_on.clear()
        first = asyncio.create_task(batcher.answer(rows(1)))
        await asyncio.sleep(0.05)
        given_up = asyncio.create_task(batcher.answer(rows(2, 2)))
        kept = asyncio.create_task(batcher.answer(rows(3)))
        await asyncio.sleep(0)
        with pytest.raises(RequestError) as caught:
            await batcher.answer(rows(4))
        assert caught.value.status == 503
        assert caught.value.headers["retry-after"]
        given_up.cancel()
        await asyncio.sleep(0)
        model.go_on.set()
        assert (await first, await kept) == ([1], [3])
        assert batcher.num_waiting == 0

    assert run(test, max_queue=3).batches == [[1], [1]]


def test_work_that_breaks_fails_its_requests_and_no_later_one() -> None:
    async def test(model: Model, batcher: Batcher[Any]) -> None:
        with pytest.raises(KeyError):
            await asyncio.wait_for(batcher.answer([{}]), 10)
        assert await batcher.answer(rows(1)) == [1]

    run(test)
