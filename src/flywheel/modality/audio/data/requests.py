"""Reads the recordings that a user gives to `flywheel predict`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from flywheel.modality.audio.data.file import AUDIO_EXTENSIONS
from flywheel.project.errors import DataError
from flywheel.reader.format.folder import request_files, request_frames
from flywheel.reader.format.table import parquet_chunks
from flywheel.reader.format.value import object_column

ROWS = 4096
TABLES = (".parquet", ".pq")


def read_audio_requests(paths: Sequence[Path]) -> pd.DataFrame:
    """Read every file into one frame: `audio`, `file` (as given), `row` (within the file), and `label` if it has one.

    Args:
        paths: Recordings, folders of them, and Parquet files with encoded recordings in the column `audio`.

    Raises:
        DataError: A file is missing, of a kind that is not read, or has no column `audio`.
    """
    files = (file for given in paths for file in request_files(given, "recordings", AUDIO_EXTENSIONS, TABLES))
    return pd.concat(request_frames(files, _read, "name recordings or a folder of them"), ignore_index=True)


def _read(path: Path) -> pd.DataFrame:
    if path.suffix.lower() in TABLES:
        return _table(path)
    return pd.DataFrame({"audio": object_column([path.read_bytes()])})


def _table(path: Path) -> pd.DataFrame:
    frames = list(parquet_chunks(path, ROWS))
    if not frames or not sum(map(len, frames)):
        raise DataError(path, None, "has no rows")
    frame = pd.concat(frames, ignore_index=True)
    if "audio" not in frame.columns:
        raise DataError(path, None, "has no column 'audio'", fix="name the column of encoded recordings so")
    return frame[[name for name in ("audio", "label") if name in frame.columns]].copy()
