"""Ray Data as the engine: chunks are read and worked on by all processors of a cluster, and come back in their order.

A split that can be read from any row on is cut into ranges, and whoever has a range reads it and works on it. Other
splits are read by one task, from which the chunks go to those that work on them. What comes back waits in Ray's object
store, of which Ray Data fills a part and then holds its tasks back: memory does not grow with the data here either.

Between these processes frames and results are pickled; nothing of that is ever written to a file of ours.
"""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from flywheel.preprocessor.pipeline.engine import Array, Engine, Pass, RawData, Work, progress
from flywheel.preprocessor.pipeline.ray_task import SHARE, Opening, Task, rows_of, unpacked
from flywheel.project import ray_cluster
from flywheel.project.errors import FlywheelError
from flywheel.project.ray_cluster import Asker
from flywheel.project.types import Split

T = TypeVar("T")

TASKS_A_PROCESSOR = 4
"""Tasks that a small split is cut into, so that no processor waits long for the last one."""

MIN_ROWS = 64


ASKER = Asker("preprocess.engine", "preprocess.ray_address or RAY_ADDRESS", "set preprocess.engine: local",
              modules=("ray", "ray.data"))  # fmt: skip
STORE_BYTES = 1 << 30
"""Shared memory of a cluster of our own, at most; chunks on their way lie there."""


def connected(address: str | None) -> contextlib.AbstractContextManager[None]:
    """Be connected to a cluster within the block; one that was started for it ends with it, and leaves no file.

    Where this process is connected already (a job of a sweep on Ray), that cluster is used and stays.

    Args:
        address: `host:6379` or `auto`; None: what `RAY_ADDRESS` says, or else a cluster on this machine.
    """
    given = address or os.environ.get("RAY_ADDRESS") or "local"
    return ray_cluster.connected(None if given == "local" else given, ASKER, store_bytes=STORE_BYTES)


@contextlib.contextmanager
def ray_engine(address: str | None, raw: RawData, splits: dict[str, Split]) -> Iterator[Engine]:
    """Give the engine, connected to a cluster as `connected` does.

    Args:
        address: The address of the cluster.
        raw: Opens the raw data on the cluster's nodes, which must see the same folders.
        splits: Splits from the reader in this process.
    """
    with connected(address):
        yield RayEngine(raw, splits)


class RayEngine(Engine):
    """Work on a cluster to which this process is connected.

    Args:
        raw: Opens the raw data anywhere.
        splits: Splits from the reader in this process.
    """

    in_order = False

    def __init__(self, raw: RawData, splits: dict[str, Split]) -> None:
        super().__init__(splits)
        self._opening = Opening(uuid.uuid4().hex, Path.cwd(), raw)

    def each(self, one: Pass, work: Work[T]) -> Iterator[T]:
        """Let the cluster do it, and give what comes back in order.

        Raises:
            DataError: As on the cluster: a row, or a file, cannot be used.
            FlywheelError: A node does not see the data, or the cluster failed.
        """
        import ray.exceptions

        split = self.splits[one.source]
        with progress(split.num_rows, one.what) as bar, _quiet():
            try:
                tables = self._dataset(one, split, work).iter_batches(batch_size=None, batch_format="pyarrow")
                for table in tables:
                    for num_rows, failed, value in rows_of(table):
                        bar.update(num_rows)
                        if failed:
                            raise unpacked(value)
                        if value is not None:
                            yield unpacked(value)
            except ray.exceptions.RayError as error:
                raise _explained(error) or error from None

    def _dataset(self, one: Pass, split: Split, work: Work[Any]) -> Any:
        import ray

        rows = self._rows_a_task(one, split)
        task = Task(self._opening, replace(one, chunk_rows=rows, parts=None), split.num_rows, work)
        options: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow"}
        if split.between is None:
            source = ray.data.from_items([{"first": 0}], override_num_blocks=1)
            reading = replace(task, one=replace(task.one, parts=one.parts))
            # Without a processor of its own, which it would keep while it waits for the others; and Ray Data does not
            # make one task of two that claim different things.
            return source.map_batches(reading.read, num_cpus=0, **options).map_batches(task.on_frames, **options)
        ranges = [
            {"first": first, "end": min(first + rows, split.num_rows), "parts": _bytes(one.parts, first, rows)}
            for first in range(0, split.num_rows, rows)
        ]
        return ray.data.from_items(ranges, override_num_blocks=len(ranges)).map_batches(task.on_ranges, **options)

    def _rows_a_task(self, one: Pass, split: Split) -> int:
        """Rows that a task takes: no more than are held at a time, and few enough that all processors have some."""
        import ray

        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        tasks = TASKS_A_PROCESSOR * max(1, int(resources.get("CPU", 1)))
        return min(one.chunk_rows, max(MIN_ROWS, -(-split.num_rows // tasks)))


def _bytes(parts: Array | None, first: int, rows: int) -> bytes | None:
    return None if parts is None else parts[first : first + rows].tobytes()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Ray Data's settings for a pass: in order, a chunk a block, and no word of its own."""
    import ray.data

    context = ray.data.DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.target_max_block_size = 1  # bytes: each chunk goes on its way at once, not when 128 MiB have come together
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with ray.data.DataContext.current(context):
            yield
    finally:
        logger.setLevel(level)


def _explained(error: Exception) -> FlywheelError | None:
    """What the user can fix of an error of Ray's; None: it is a bug, and its traceback is wanted."""
    import ray.exceptions

    text = str(error)
    if "No module named 'flywheel" in text:
        what = "a node does not see Flywheel's code"
        return FlywheelError(what, where="preprocess.engine", fix=SHARE)
    if isinstance(error, ray.exceptions.RayTaskError):
        return None
    what = f"the Ray cluster failed: {' '.join(text.split())[:300]}"
    return FlywheelError(what, where="preprocess.engine", fix="look at `ray status`, and run the command again")
