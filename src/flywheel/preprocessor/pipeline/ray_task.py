"""What a worker of the cluster does in a pass: it opens the raw data, reads rows, and works on them.

What goes from one process to another is a row of an Arrow table: how many rows of data it stands for, and a value, or
the error that ended the task. An error travels as a value, so that it comes up where its rows would have, and is then
the one that a single process would have met.
"""

from __future__ import annotations

import contextlib
import pickle
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from flywheel.preprocessor.pipeline.engine import Pass, RawData, Work, checked, used
from flywheel.project.errors import FlywheelError
from flywheel.project.types import Split

SHARE = "put the project on a file system that all nodes share, or set preprocess.engine: local"

MAX_RETRIES = 3
"""Times that a task whose process died (killed, or out of memory) is begun again: Ray Data itself never gives up."""

_OPENED: dict[str, dict[str, Split]] = {}  # of this process: opening may mean to read a whole file


@dataclass(frozen=True)
class Opening:
    """Opens the raw data in a worker, once for all its tasks.

    Attributes:
        key: The key of the preprocessing.
        folder: The one that it was started in: paths are relative to it, also in messages.
        raw: The raw data to open.
    """

    key: str
    folder: Path
    raw: RawData

    @contextlib.contextmanager
    def split(self, name: str, num_rows: int) -> Iterator[Split]:
        """Be in the folder, and give a split.

        Raises:
            FlywheelError: This node does not see the folder, or sees other data there.
        """
        raw_dir = self.folder / self.raw.raw_dir
        if not raw_dir.is_dir():
            raise FlywheelError(f"node {socket.gethostname()} does not see this folder", where=raw_dir, fix=SHARE)
        with contextlib.chdir(self.folder):
            if self.key not in _OPENED:
                _OPENED.clear()
                _OPENED[self.key] = self.raw.with_feedback(self.raw.own())
            split = _OPENED[self.key].get(name)
            found = 0 if split is None else split.num_rows
            if split is None or found != num_rows:
                what = f"node {socket.gethostname()} sees {found} {name} rows here, not {num_rows}"
                raise FlywheelError(what, where=raw_dir, fix=SHARE)
            yield split


@dataclass(frozen=True)
class Task:
    """A pass, as workers see it.

    Attributes:
        opening: How to open the raw data.
        one: The pass; `parts` are left out where they come with the rows.
        num_rows: Number of rows that the split must have.
        work: Function to call for each chunk.
    """

    opening: Opening
    one: Pass
    num_rows: int
    work: Work[Any]

    def read(self, batch: Any) -> Iterator[Any]:
        """Read the split from its beginning to its end: the frames are the values, with the parts of their rows."""
        return self._tables(self._frames())

    def on_frames(self, batch: Any) -> Iterator[Any]:
        """Work on frames that another task has read."""
        return self._tables(self._results_of_frames(batch))

    def on_ranges(self, batch: Any) -> Iterator[Any]:
        """Read ranges of rows, and work on them."""
        return self._tables(self._results_of_ranges(batch))

    def _frames(self) -> Iterator[tuple[int, Any]]:
        with self.opening.split(self.one.source, self.num_rows) as split:
            for frame in checked(split.chunks(self.one.chunk_rows), split):
                yield len(frame), used(frame, self.one.parts)

    def _results_of_frames(self, batch: Any) -> Iterator[tuple[int, Any]]:
        for num_rows, failed, value in rows_of(batch):
            if failed:
                raise unpacked(value)
            yield num_rows, None if value is None else self.work(*unpacked(value))

    def _results_of_ranges(self, batch: Any) -> Iterator[tuple[int, Any]]:
        with self.opening.split(self.one.source, self.num_rows) as split:
            between = cast("Callable[[int, int, int], Iterator[Any]]", split.between)
            for item in batch.to_pylist():
                first, end = item["first"], item["end"]
                parts = None if item["parts"] is None else np.frombuffer(item["parts"], np.int8)
                for frame in checked(between(first, end, self.one.chunk_rows), split, first, end):
                    found = used(frame, parts, first)
                    yield len(frame), None if found is None else self.work(*found)

    def _tables(self, found: Iterator[tuple[int, Any]]) -> Iterator[Any]:
        """Make a table of each value; an error that a user can fix is the last one."""
        try:
            self._check_attempt()
            for num_rows, value in found:
                yield _table(num_rows, None if value is None else pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
        except (FlywheelError, OSError) as error:
            yield _table(0, pickle.dumps(error, pickle.HIGHEST_PROTOCOL), failed=True)

    def _check_attempt(self) -> None:
        """Give up on rows that end every process which works on them."""
        from ray._private.worker import global_worker  # no public door leads to this number

        worker: Any = global_worker
        attempt = getattr(worker.core_worker, "get_current_task_attempt_number", int)()
        if attempt > MAX_RETRIES:
            node = socket.gethostname()
            what = f"{attempt} processes died in a row at '{self.one.what}', the last of them on node {node}"
            fix = "lower preprocess.chunk_rows, or give the nodes more memory"
            raise FlywheelError(what, where=self.opening.raw.raw_dir, fix=fix)


def rows_of(table: Any) -> Iterator[tuple[int, bool, Any]]:
    """Give the rows of a table: for how many rows of data each stands, whether it failed, its pickled value or None."""
    columns = (table.column(name) for name in ("num_rows", "failed", "value"))
    for num_rows, failed, value in zip(*columns, strict=True):
        yield num_rows.as_py(), failed.as_py(), value.as_buffer()


def unpacked(value: Any) -> Any:
    """Give the value that another process of this preprocessing has pickled."""
    return pickle.loads(value)  # noqa: S301


def _table(num_rows: int, value: bytes | None, *, failed: bool = False) -> Any:
    import pyarrow as pa

    columns = {"num_rows": [num_rows], "failed": [failed], "value": pa.array([value], pa.large_binary())}
    return pa.table(columns)
