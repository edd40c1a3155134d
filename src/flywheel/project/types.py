"""Words that several packages share: what a split, a reading and a preview are. Imports nothing heavy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pandas as pd

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")

Json = dict[str, Any]


@dataclass(frozen=True)
class Split:
    """One part of a data set, read in chunks so that memory does not grow with its size.

    Attributes:
        num_rows: Number of rows, including bad ones.
        chunks: Called with a number of rows, yields frames of at most so many rows, in the file's order, a new
            pass at each call. One row an example; the index is the row's number in the split's own files.
        file: The file to name when a row is bad.
        between: Called with the first row, the one after the last, and a number of rows: yields the frames of these
            rows alone, without reading those before. None: the files can only be read from their beginning.
    """

    num_rows: int
    chunks: Callable[[int], Iterator[pd.DataFrame]]
    file: str
    between: Callable[[int, int, int], Iterator[pd.DataFrame]] | None = None


Splits = dict[str, Split]
"""`train` always, `test` where the data set has an official one, `validation` likewise."""


class Reader(ABC):
    """Reads a data set's files; what `data.reader.read` builds is one."""

    @abstractmethod
    def read(self, raw_dir: Path) -> Splits:
        """Give the splits, each of which reads its rows when a chunk is asked for.

        Raises:
            DataError: A file is missing or is not what it should be.
        """


@dataclass(frozen=True)
class Dropped:
    """A row that cleaning left out, and why: it is counted and named in `profile.json`."""

    row: int
    why: str


@dataclass(frozen=True)
class Preview:
    """A preview of one example, for people: a picture, a text, or both.

    Attributes:
        image: uint8, [H, W] or [H, W, 3]; None where the example is not a picture.
        text: A short text; None where a picture says it all.
    """

    image: np.ndarray[Any, Any] | None = None
    text: str | None = None


@dataclass(frozen=True)
class DamagedFile:
    """A stored file whose bytes are no longer those of its hash.

    Attributes:
        file: Path of the stored file.
        belongs_to: The path or version that it belongs to, if known.
        fixed: How it was fixed; empty: it was not.
    """

    file: Path
    belongs_to: str
    fixed: str


@dataclass(frozen=True)
class Checked:
    """How many files and bytes of one store were read, and what was wrong."""

    store: str
    num_files: int
    num_bytes: int
    damaged: list[DamagedFile]
