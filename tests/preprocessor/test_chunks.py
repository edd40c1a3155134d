from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flywheel.preprocessor.chunks import Chunks, Mapped, mapped


class Elsewhere(Chunks[int]):
    """Three chunks; counts what is done through it."""

    def __init__(self) -> None:
        self.num_mapped = 0

    def __iter__(self) -> Iterator[int]:
        return iter([1, 2, 3])

    def map(self, work: Callable[[int], Any]) -> Iterator[Any]:
        self.num_mapped += 1
        return map(work, self)


def test_work_goes_through_what_the_chunks_are_made_by() -> None:
    chunks = Elsewhere()
    assert list(mapped(str, chunks)) == ["1", "2", "3"]
    doubled = Mapped(lambda chunk: 2 * chunk, chunks)
    assert list(doubled) == [2, 4, 6]
    assert list(mapped(str, Mapped(lambda chunk: chunk + 1, doubled))) == ["3", "5", "7"]
    assert chunks.num_mapped == 3


def test_plain_chunks_are_worked_on_here_and_one_by_one() -> None:
    seen: list[int] = []

    def work(chunk: int) -> int:
        seen.append(chunk)
        return chunk

    found = mapped(work, iter([1, 2, 3]))
    assert next(found) == 1
    assert seen == [1]
    assert list(Mapped(work, [4, 5])) == [4, 5]
