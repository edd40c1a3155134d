from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flywheel.serving.problem import RequestError
from flywheel.serving.version.batcher import Batcher, Rows, Slice


class Model:
    """Answers each request with the values of its rows, and notes the batches; can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def work(self, slices: list[Slice]) -> list[Any]:
        self.go_on.wait(10)
        self.batches.append([len(rows) for rows, _ in slices])
        return [ValueError("bad") if rows[0]["x"] < 0 else [row["x"] for row in rows] for rows, _ in slices]

    @staticmethod
    def join(parts: list[list[int]]) -> list[int]:
        return [x for part in parts for x in part]


def run(test: Any, **options: Any) -> Model:
    model = Model()

    async def main() -> None:
        with ThreadPoolExecutor(2) as pool:
            settings = {"max_rows": 4, "max_wait": 0.001, "max_queue": 100, **options}
            await test(model, Batcher(model.work, model.join, pool, **settings))

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

    batches = run(test).batches
    assert sum(map(len, batches)) == 7
    assert max(map(len, batches)) == 4


def test_a_long_request_is_served_in_slices_and_small_ones_pass_between_them() -> None:
    async def test(model: Model, batcher: Batcher[Any]) -> None:
        model.go_on.clear()
        done: list[str] = []

        async def ask(name: str, *values: int) -> None:
            assert await batcher.answer(rows(*values)) == list(values)
            done.append(name)

        first = asyncio.create_task(ask("first", 0))
        await asyncio.sleep(0.05)
        long = asyncio.create_task(ask("long", *range(10)))
        small = [asyncio.create_task(ask(f"small {n}", n)) for n in range(6)]
        await asyncio.sleep(0.05)
        model.go_on.set()
        await asyncio.gather(first, long, *small)
        assert done == ["first", *(f"small {n}" for n in range(6)), "long"]

    # While both wait, each kind has half of a batch.
    assert run(test).batches == [[1], [1, 1, 2], [1, 1, 2], [1, 1, 2], [4]]


def test_a_long_request_gets_through_however_many_small_ones_keep_coming() -> None:
    async def test(model: Model, batcher: Batcher[Any]) -> None:
        ended = asyncio.Event()

        async def crowd() -> int:
            number = 0
            while not ended.is_set():
                assert await batcher.answer(rows(number)) == [number]
                number += 1
            return number

        crowds = [asyncio.create_task(crowd()) for _ in range(16)]
        long = await asyncio.wait_for(batcher.answer(rows(*range(20))), 30)
        assert long == list(range(20))
        ended.set()
        assert all(number > 0 for number in await asyncio.gather(*crowds))

    batches = run(test).batches
    assert max(map(sum, batches)) == 4
    assert sum(2 in batch for batch in batches) == 10  # half of each batch, until it is done


def test_long_requests_take_turns_and_a_heavy_row_is_alone() -> None:
    async def test(model: Model, batcher: Batcher[Any]) -> None:
        model.go_on.clear()
        first = asyncio.create_task(batcher.answer(rows(0)))
        await asyncio.sleep(0.05)
        asked = [
            batcher.answer(rows(*range(5))),
            batcher.answer(rows(7, 8), [90.0, 90.0]),
            batcher.answer(rows(9), [2]),
        ]
        waiting = [asyncio.create_task(one) for one in asked]
        await asyncio.sleep(0.05)
        model.go_on.set()
        assert await first == [0]
        assert await asyncio.gather(*waiting) == [[0, 1, 2, 3, 4], [7, 8], [9]]

    assert run(test).batches == [[1], [1, 2], [1], [3], [1]]


def test_a_client_that_goes_gives_its_places_back_at_once_and_its_slices_are_not_run() -> None:
    async def test(model: Model, batcher: Batcher[Any]) -> None:
        model.go_on.clear()
        long = asyncio.create_task(batcher.answer(rows(*range(12))))
        await asyncio.sleep(0.05)  # its first slice is being answered
        ghosts = [asyncio.create_task(batcher.answer(rows(*range(5)))) for _ in range(2)]
        await asyncio.sleep(0)
        assert batcher.num_waiting == 8 + 10
        with pytest.raises(RequestError):
            await batcher.answer(rows(1, 2, 3, 4))
        small = asyncio.create_task(batcher.answer(rows(1)))  # long ones do not take small ones' places
        await asyncio.sleep(0)
        for ghost in (*ghosts, long):
            ghost.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert batcher.num_waiting == 1
        later = asyncio.create_task(batcher.answer(rows(1, 2, 3, 4)))
        await asyncio.sleep(0)
        model.go_on.set()
        assert (await small, await later) == ([1], [1, 2, 3, 4])

    assert run(test, max_queue=18).batches == [[4], [1, 3], [1]]


def test_an_error_in_a_later_slice_ends_the_request() -> None:
    async def test(model: Model, batcher: Batcher[Any]) -> None:
        with pytest.raises(ValueError, match="bad"):
            await batcher.answer(rows(1, 2, 3, 4, -1, 6, 7, 8, 9, 10))
        assert batcher.num_waiting == 0
        assert await batcher.answer(rows(1)) == [1]

    assert run(test).batches == [[4], [4], [1]]


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
