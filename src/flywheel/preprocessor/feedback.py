"""What users said about earlier predictions: rows with `label` in Parquet files, appended to train."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from flywheel.errors import DataError
from flywheel.reader.format.image_frame import object_column
from flywheel.reader.format.table import parquet_chunks, parquet_shape
from flywheel.types import Split


def read_feedback(folder: Path) -> Split | None:
    """Give the rows of all Parquet files of a folder, in the order of the files' names; None if there are none.

    Raises:
        DataError: A file is no Parquet, or has no column `label`.
    """
    files = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))
    num_rows = 0
    for path in files:
        columns, count = parquet_shape(path)
        if "label" not in columns:
            raise DataError(path, None, "has no column 'label'", mend="remove it, or pull the feedback again")
        num_rows += count

    def chunks(rows: int) -> Iterator[pd.DataFrame]:
        for path in files:
            for frame in parquet_chunks(path, rows):
                frame["file"] = object_column([path.name] * len(frame))
                yield frame

    return Split(num_rows, chunks, str(folder)) if num_rows else None


def appended(own: Split, feedback: Split | None) -> Split:
    """Give one split after the other; row numbers of feedback go on where the data set's own end."""
    if feedback is None:
        return own
    extra, own_between = feedback, own.between

    def later(rows: int) -> Iterator[pd.DataFrame]:
        first = own.num_rows
        for frame in extra.chunks(rows):
            frame.index = pd.RangeIndex(first, first + len(frame))
            first += len(frame)
            yield frame

    def chunks(rows: int) -> Iterator[pd.DataFrame]:
        yield from own.chunks(rows)
        yield from later(rows)

    def between(first: int, end: int, rows: int) -> Iterator[pd.DataFrame]:
        if own_between is not None and first < own.num_rows:
            yield from own_between(first, min(end, own.num_rows), rows)
        for frame in later(rows) if end > own.num_rows else ():
            wanted = frame[(frame.index >= first) & (frame.index < end)]
            if len(wanted):
                yield wanted

    num_rows = own.num_rows + extra.num_rows
    return Split(num_rows, chunks, own.file, between if own_between is not None else None)
