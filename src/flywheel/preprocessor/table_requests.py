"""Reads the tables and text files that a user gives to `flywheel predict`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from flywheel.errors import DataError, nearest
from flywheel.reader.format.folder import list_files
from flywheel.reader.format.image_frame import object_column
from flywheel.reader.format.raw_file import open_raw
from flywheel.reader.format.table_file import TableFile, TableFormat, is_table, separator_of

ROWS = 16384
MAX_HEADER = 1 << 20  # bytes of a first line that are looked at
SEPARATORS = (",", "\t", ";", "|")
TABLES = ".csv, .tsv, .parquet or .jsonl"


def read_table_requests(
    paths: Sequence[Path], columns: Sequence[str], text_files: bool = False, *, optional: Sequence[str] = ()
) -> pd.DataFrame:
    """Read every file into one frame: `columns`, `file` (as given), `row` (within the file), and `label` if it has one.

    Values of CSV files are texts; those of Parquet and JSONL are what they are there. Other columns are left out. What
    parts a CSV file's values is seen from its header: the comma (of .tsv the tab), or else the first of tab, semicolon
    and bar with which the header names the columns.

    Args:
        paths: CSV (.csv, .tsv, plain or .gz), Parquet and JSONL files; with `text_files` also .txt files and folders
            of them.
        columns: Those that every table must have.
        text_files: Whether a .txt file (UTF-8) is one row, its text in `columns[0]`; it can give no other column.
        optional: Columns that are kept where a table has them, and None elsewhere.

    Raises:
        DataError: A file is missing, of another kind, broken, or lacks a column.
    """
    frames: list[pd.DataFrame] = []
    for path in (file for given in paths for file in _files(given, text_files)):
        texts = text_files and path.suffix.lower() == ".txt"
        frame = _text(path, columns) if texts else _table(path, columns, optional)
        frame["file"] = object_column([str(path)] * len(frame))
        frame["row"] = np.arange(len(frame))
        frames.append(frame)
    if not frames:
        raise DataError("predict", None, "no files given", mend=f"name {TABLES} files")
    held = {name for frame in frames for name in frame.columns}
    names = [name for name in (*columns, *optional, "label", "file", "row") if name in held]
    return pd.concat([_with_all(frame, names) for frame in frames], ignore_index=True)


def _files(path: Path, text_files: bool) -> list[Path]:
    kinds = f"{TABLES}, .txt or a folder of .txt" if text_files else TABLES
    if path.is_dir() and text_files:
        files = [path / name for name in list_files(path, (".txt",))]
        if not files:
            raise DataError(path, None, "holds no .txt files")
        return files
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise DataError(path, None, what, mend=f"give {kinds}" if path.is_dir() else "check the path")
    if not is_table(path) and not (text_files and path.suffix.lower() == ".txt"):
        raise DataError(path, None, f"files of kind '{path.suffix}' are not read", mend=f"give {kinds}")
    return [path]


def _table(path: Path, columns: Sequence[str], optional: Sequence[str]) -> pd.DataFrame:
    frames = list(TableFile(path, TableFormat(_separator(path, columns, optional))).chunks(ROWS))
    if not frames:
        raise DataError(path, None, "has no rows")
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    frame.columns = pd.Index(list(map(str, frame.columns)), dtype=object)
    for name in columns:
        if name not in frame.columns:
            raise DataError(path, None, f"has no column '{name}'", mend=nearest(name, frame.columns))
    return frame[[name for name in dict.fromkeys([*columns, *optional, "label"]) if name in frame.columns]].copy()


def _separator(path: Path, columns: Sequence[str], optional: Sequence[str]) -> str | None:
    """What parts the values of a CSV file with these columns, by its header line; None: what its ending says.

    Where no column must be there, one of the optional ones shows it.
    """
    usual = separator_of(path)
    if usual is None:
        return None
    with open_raw(path) as stream:
        header = stream.readline(MAX_HEADER).decode("utf-8-sig", errors="replace").rstrip("\r\n")

    def fits(separator: str) -> bool:
        names = {name for line in csv.reader([header], delimiter=separator) for name in line}
        return names.issuperset(columns) if columns else not names.isdisjoint(optional)

    order = (usual, *(separator for separator in SEPARATORS if separator != usual))
    return next((separator for separator in order if fits(separator)), None)


def _text(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    if len(columns) != 1:
        why = f"a text file gives '{columns[0]}' alone, but {', '.join(columns[1:])} must be given too"
        raise DataError(path, None, why, mend=f"give {TABLES}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(path, None, f"is not UTF-8 text (byte {error.start})", mend="save it as UTF-8") from None
    return pd.DataFrame({columns[0]: object_column([text])})


def _with_all(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The frame with these columns, None in those that it lacks."""
    absent = [name for name in names if name not in frame.columns]
    return frame.assign(**{name: object_column([None] * len(frame)) for name in absent})[names]
