"""Where a pass over the raw data does its work: row by row in this process, or on a cluster.

Every engine gives the same results in the same order, so the choice of one changes no byte of the processed data.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from tqdm import tqdm

from flywheel.preprocessor.chunks import Chunks
from flywheel.preprocessor.pipeline.feedback import appended, read_feedback
from flywheel.project.errors import DataError
from flywheel.project.types import Split

T = TypeVar("T")
Array = np.ndarray[Any, Any]
Work = Callable[[pd.DataFrame, Any], T]
"""Called with a frame and the part of each of its rows (None in a pass over all rows); it can be pickled."""


@dataclass(frozen=True)
class RawData:
    """The raw data: opens the rows here, or in another process that sees the same folders.

    Attributes:
        reader: Reader of the raw folder.
        raw_dir: Folder from the download stage.
        feedback_dir: Parquet files with corrected rows; it need not exist.
    """

    reader: Any
    raw_dir: Path
    feedback_dir: Path

    def own(self) -> dict[str, Split]:
        """The data set's splits, without feedback.

        Raises:
            DataError: The folder is missing, or its files are broken.
        """
        if not self.raw_dir.is_dir():
            raise DataError(self.raw_dir, None, "no such folder", fix="run the download stage")
        found: dict[str, Split] = self.reader.read(self.raw_dir)
        return found

    def with_feedback(self, own: dict[str, Split]) -> dict[str, Split]:
        """The splits with users' corrections appended to train."""
        return {**own, "train": appended(own["train"], read_feedback(self.feedback_dir))}


@dataclass(frozen=True)
class Pass:
    """One pass over a split.

    Attributes:
        source: Name of the split.
        what: Description of the work, for the progress bar.
        chunk_rows: Rows held at a time.
        parts: int8 [N], the part each row goes to; rows below 0 are left out. None: all rows, good and bad.
    """

    source: str
    what: str
    chunk_rows: int
    parts: Array | None = None


class Engine(ABC):
    """Does the work of a pass.

    Args:
        splits: Splits from the reader.
    """

    in_order = True
    """Whether each chunk is worked on after the one before it, by the same objects."""

    def __init__(self, splits: dict[str, Split]) -> None:
        self.splits = splits

    @abstractmethod
    def each(self, one: Pass, work: Work[T]) -> Iterator[T]:
        """Give `work` of each chunk of a split that has rows to use, in the file's order.

        Raises:
            DataError: A frame has no labels, or rows are missing, or too many.
        """

    def frames(self, one: Pass) -> Iterator[tuple[pd.DataFrame, Any]]:
        """Read the chunks here: the rows to use, and the part of each."""
        split = self.splits[one.source]
        with progress(split.num_rows, one.what) as bar:
            for frame in checked(split.chunks(one.chunk_rows), split):
                found = used(frame, one.parts)
                if found is not None:
                    yield found
                bar.update(len(frame))


class LocalEngine(Engine):
    """Everything in this process, one chunk after the other."""

    def each(self, one: Pass, work: Work[T]) -> Iterator[T]:
        """Read a chunk, work on it, and go on to the next."""
        return (work(frame, parts) for frame, parts in self.frames(one))


class Frames(Chunks[pd.DataFrame]):
    """The frames of a pass, for a preprocessor to learn from: each time the files are read anew."""

    def __init__(self, engine: Engine, one: Pass) -> None:
        self._engine, self._pass = engine, one

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Read the frames here."""
        return (frame for frame, _ in self._engine.frames(self._pass))

    def map(self, work: Callable[[pd.DataFrame], T]) -> Iterator[T]:
        """Let the engine do it."""
        return self._engine.each(self._pass, lambda frame, _: work(frame))


def progress(num_rows: int, what: str) -> tqdm[Any]:
    """A progress bar on a terminal, nothing elsewhere."""
    return tqdm(total=num_rows, desc=what, unit=" rows", leave=False, disable=not sys.stderr.isatty())


def used(frame: pd.DataFrame, parts: Array | None, start: int = 0) -> tuple[pd.DataFrame, Any] | None:
    """Give the rows of a frame that are used and the part of each; None where there are none.

    Args:
        frame: A frame from the reader.
        parts: Part of each row from `start` on; None: all rows are used.
        start: The number of the row whose part comes first.
    """
    if not len(frame):
        return None
    if parts is None:
        return frame, None
    here = parts[int(frame.index[0]) - start : int(frame.index[-1]) + 1 - start]
    chosen = here >= 0
    if not chosen.any():
        return None
    return (frame if chosen.all() else frame[chosen]), here[chosen]


def checked(
    frames: Iterator[pd.DataFrame], split: Split, first: int = 0, end: int | None = None
) -> Iterator[pd.DataFrame]:
    """Check that the rows read are the announced ones of a split, from `first` to before `end`.

    Raises:
        DataError: A frame has no labels, or rows are missing, or too many.
    """
    done, last = first, split.num_rows if end is None else end
    for frame in frames:
        if "label" not in frame.columns:
            raise DataError(split.file, None, "has no labels", fix="fix the label's column in conf/data/")
        if len(frame) and (frame.index[0] != done or done + len(frame) > last):
            raise _other_rows(split, done)
        done += len(frame)
        yield frame
    if done != last:
        raise _other_rows(split, done)


def _other_rows(split: Split, row: int) -> DataError:
    fix = "run the stage again if the file changed meanwhile, else fix its reader"
    return DataError(split.file, row, f"the rows read are not the {split.num_rows} that were announced", fix=fix)
