"""What users said about earlier predictions: rows with `label` in Parquet files, appended to train."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from flywheel.project.digest import sha256_of, sha256_of_json
from flywheel.project.errors import DataError
from flywheel.project.types import Json, Split
from flywheel.project.whole import read_json
from flywheel.reader.format.table import parquet_chunks, parquet_metadata, parquet_shape
from flywheel.reader.format.value import object_column

log = logging.getLogger("flywheel")

FEEDBACK_KEY = b"flywheel"
"""Of the Parquet metadata that say which predictions the rows come from."""


def feedback_files(folder: Path) -> list[Path]:
    """The Parquet files of a folder, in the order of their names."""
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))


def feedback_sha256(files: Sequence[Path]) -> str:
    """One hash of several files' names and bytes: what `profile.json` and the manifest know the rows by."""
    return sha256_of_json({path.name: sha256_of(path) for path in files})


def predictions_of(file: Path) -> list[str]:
    """The prediction that each row of a file comes from; empty texts where the file does not say.

    Raises:
        DataError: It is not a Parquet file.
    """
    metadata, num_rows = parquet_metadata(file)
    told = json.loads(metadata.get(FEEDBACK_KEY, b"{}"))
    found = [str(one) for one in told.get("predictions", [])]
    return found if len(found) == num_rows else [""] * num_rows


def manifest_file(folder: Path) -> Path:
    """Where the manifest of a task's feedback lies: beside its folder, in git."""
    return folder.with_name(f"{folder.name}.json")


def check_manifest(folder: Path) -> None:
    """Refuse files that are not those of their manifest; say which are missing. Files it does not name may be there.

    Raises:
        DataError: A file has other bytes, or the manifest is damaged.
    """
    manifest = manifest_file(folder)
    if not manifest.is_file():
        return
    for name, told in read_json(manifest).get("files", {}).items():
        file = folder / name
        if not file.is_file():
            log.warning("%s: missing, though %s names it; run `dvc pull`, or pull the feedback again", file, manifest)
        elif sha256_of(file) != told.get("sha256"):
            fix = "run `dvc checkout`, or pull the feedback again"
            raise DataError(file, None, f"is not the file that {manifest} names", fix=fix)


def feedback_record(folder: Path, used: Sequence[bool]) -> Json:
    """What processed data say of the feedback in them, for lineage.

    Args:
        folder: The Parquet files.
        used: Whether each of their rows is in train.
    """
    files = feedback_files(folder)
    ids = [one for path in files for one in predictions_of(path)]
    return {
        "num_rows": len(used),
        "used": sum(used),
        "sha256": feedback_sha256(files),
        "predictions": sorted({one for one, taken in zip(ids, used, strict=True) if taken and one}),
    }


def read_feedback(folder: Path) -> Split | None:
    """Give the rows of all Parquet files of a folder, in the order of the files' names; None if there are none.

    Raises:
        DataError: A file is not Parquet, or has no column `label`.
    """
    files = feedback_files(folder)
    num_rows = 0
    for path in files:
        columns, count = parquet_shape(path)
        if "label" not in columns:
            raise DataError(path, None, "has no column 'label'", fix="remove it, or pull the feedback again")
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
