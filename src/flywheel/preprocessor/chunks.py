"""Frames that can be gone through again, and work on each of them wherever the engine does it.

A preprocessor learns from such frames. What it does to a frame alone goes through `mapped`, so that an engine may do
it elsewhere; what must see one frame after the other stays in its own loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


class Chunks(ABC, Generic[T]):
    """Chunks that can be iterated any number of times."""

    @abstractmethod
    def __iter__(self) -> Iterator[T]:
        """Iterate over the chunks."""

    @abstractmethod
    def map(self, work: Callable[[T], U]) -> Iterator[U]:
        """Give `work` of each chunk, in their order; it may be done in another process, so it can be pickled."""


class Mapped(Chunks[U]):
    """Results of `work` for each chunk, which can be iterated and mapped again."""

    def __init__(self, work: Callable[[Any], U], chunks: Iterable[Any]) -> None:
        self._work, self._chunks = work, chunks

    def __iter__(self) -> Iterator[U]:
        """Iterate over the results."""
        return mapped(self._work, self._chunks)

    def map(self, work: Callable[[U], Any]) -> Iterator[Any]:
        """Do both, one after the other, in the same place."""
        first = self._work
        return mapped(lambda chunk: work(first(chunk)), self._chunks)


def mapped(work: Callable[[Any], U], chunks: Iterable[Any]) -> Iterator[U]:
    """Give `work` of each chunk in order: where the engine wants it, or else here."""
    return chunks.map(work) if isinstance(chunks, Chunks) else map(work, chunks)
