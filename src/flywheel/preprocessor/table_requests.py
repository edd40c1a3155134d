"""Reads the tables and text files that a user gives to `flywheel predict`."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from flywheel.project.errors import DataError, nearest
from flywheel.reader.format.folder import list_files, request_frames
from flywheel.reader.format.raw_file import open_raw
from flywheel.reader.format.table_file import LOOSE_KINDS, TableFile, TableFormat, is_table, separator_of
from flywheel.reader.format.value import object_column

ROWS = 16384
MAX_HEADER = 1 << 20  # bytes of a first line that are looked at
SEPARATORS = (",", "\t", ";", "|")
SPACE = r"\s+"
UTF8 = "utf-8"
BLOCK = 1 << 20  # bytes that are looked at together, to tell an encoding
TABLES = ".csv, .tsv, .parquet or .jsonl"


def read_table_requests(
    paths: Sequence[Path],
    columns: Sequence[str],
    text_files: bool = False,
    *,
    optional: Sequence[str] = (),
    own: TableFormat | None = None,
) -> pd.DataFrame:
    """Read every file into one frame: `columns`, `file` (as given), `row` (within the file), and `label` if it has one.

    Values of CSV files are texts; those of Parquet and JSONL are what they are there. Other columns are left out. What
    parts a CSV file's values is seen from its header: the comma (of .tsv the tab), or else the first of tab, semicolon
    and bar with which the header names the columns.

    Args:
        paths: CSV (.csv, .tsv, plain or .gz), Parquet and JSONL files; with `text_files` also .txt files and folders
            of them.
        columns: Columns that every table must have.
        text_files: Whether a .txt file (UTF-8) is one row, its text in `columns[0]`; it can give no other column.
        optional: Columns that are kept where a table has them, and None elsewhere.
        own: How the table is written that the task learnt from. Its encoding stands in for UTF-8 where a file is none;
            where the first line names no column, it says what does; a column may have the name that it renames.

    Raises:
        DataError: A file is missing, of another kind, broken, or lacks a column.
    """

    def read(path: Path) -> pd.DataFrame:
        texts = text_files and path.suffix.lower() == ".txt"
        return _text(path, columns) if texts else _table(path, columns, optional, own or TableFormat())

    files = (file for given in paths for file in _files(given, text_files))
    frames = request_frames(files, read, f"name {TABLES} files")
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
        raise DataError(path, None, what, fix=f"give {kinds}" if path.is_dir() else "check the path")
    if not is_table(path) and path.suffix.lower() not in ((".txt",) if text_files else LOOSE_KINDS):
        raise DataError(path, None, f"files of type '{path.suffix}' are not supported", fix=f"give {kinds}")
    return [path]


def _table(path: Path, columns: Sequence[str], optional: Sequence[str], own: TableFormat) -> pd.DataFrame:
    frames = list(TableFile(path, _format(path, columns, optional, own)).chunks(ROWS))
    if not frames:
        raise DataError(path, None, "has no rows")
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    frame.columns = pd.Index(_renamed(list(map(str, frame.columns)), own), dtype=object)
    for name in columns:
        if name not in frame.columns:
            raise DataError(path, None, f"has no column '{name}'", fix=nearest(name, frame.columns))
    return frame[[name for name in dict.fromkeys([*columns, *optional, "label"]) if name in frame.columns]].copy()


def _renamed(names: list[str], own: TableFormat) -> list[str]:
    """Rename columns to the task's names; a column that already has one keeps it."""
    rename = {old: new for old, new in (own.rename or {}).items() if new not in names}
    return [rename.get(name, name) for name in names]


def _format(path: Path, columns: Sequence[str], optional: Sequence[str], own: TableFormat) -> TableFormat:
    """How a file is written whose header names these columns, or else as the task's own table is.

    Where no column must be there, one of the optional ones shows what parts the values.
    """
    usual = separator_of(path)
    encoding = own.encoding if own.encoding != UTF8 and not _is_utf8(path) else UTF8
    if usual is None:
        return TableFormat(encoding=encoding)

    def names(separator: str, skip: int = 0) -> list[str]:
        with open_raw(path) as stream:
            lines = [stream.readline(MAX_HEADER) for _ in range(skip + 1)]
        header = lines[-1].decode(encoding, errors="replace").removeprefix("\ufeff").rstrip("\r\n")
        read = [header.split()] if separator == SPACE else csv.reader([header], delimiter=separator)
        return [name for line in read for name in line]

    def fits(separator: str, skip: int = 0) -> bool:
        found = set(_renamed(names(separator, skip), own))
        return found.issuperset(columns) if columns else not found.isdisjoint(optional)

    for separator in dict.fromkeys((own.separator or usual, usual, *SEPARATORS)):
        if fits(separator):
            return TableFormat(separator, encoding=encoding)
    separator = own.separator or usual
    headless = own.names is not None and len(names(separator, own.skip_lines)) == len(own.names)
    if headless or fits(separator, own.skip_lines):
        return replace(own, separator=separator, encoding=encoding, rename=None)
    return TableFormat(usual, encoding=encoding)


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder(UTF8)()
    try:
        with open_raw(path) as stream:
            while block := stream.read(BLOCK):
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _text(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    if len(columns) != 1:
        why = f"a text file gives '{columns[0]}' alone, but {', '.join(columns[1:])} must be given too"
        raise DataError(path, None, why, fix=f"give {TABLES}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(path, None, f"is not UTF-8 text (byte {error.start})", fix="save it as UTF-8") from None
    return pd.DataFrame({columns[0]: object_column([text])})


def _with_all(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The frame with these columns, None in those that it lacks."""
    absent = [name for name in names if name not in frame.columns]
    return frame.assign(**{name: object_column([None] * len(frame)) for name in absent})[names]
