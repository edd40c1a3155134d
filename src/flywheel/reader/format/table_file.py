"""One table on the disk, whatever its format: its columns, its number of rows, and its rows in chunks."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from flywheel.project.errors import ConfigError, DataError, nearest
from flywheel.reader.format.raw_file import require_file
from flywheel.reader.format.table import csv_chunks, jsonl_chunks, jsonl_shape, parquet_chunks, parquet_shape

TEXT_KINDS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
PARQUET_KINDS = (".parquet", ".pq")
JSONL_KINDS = (".jsonl", ".ndjson")
LOOSE_KINDS = ("", ".txt", ".dat", ".data", ".inter")
"""Endings that say nothing of a table: they may be a text table's."""
COUNTED_ROWS = 16384  # held while rows are counted


@dataclass(frozen=True)
class TableFormat:
    """How a table is written. Only `rename` has a meaning for Parquet and JSONL, `encoding` for JSONL.

    Attributes:
        separator: One character, or `\\s+` for any white space; None: a tab for .tsv and .tab, else a comma.
        names: The names of the columns, where the file has no header line; None: the first line names them.
        skip_lines: Lines to leave out at the top (with `names`, a header of another kind).
        encoding: The encoding of the text, as Python names it: `utf-8`, `latin-1`, ...
        quoting: Whether double quotes enclose values; false: a quote is a character like others.
        rename: New name of a column by its name in the file; all other settings use the new names.
    """

    separator: str | None = None
    names: Sequence[str] | None = None
    skip_lines: int = 0
    encoding: str = "utf-8"
    quoting: bool = True
    rename: Mapping[str, str] | None = None

    def stated(self) -> dict[str, Any]:
        """What differs from the defaults, as plain JSON."""
        usual, found = TableFormat(), dict[str, Any]()
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if value != getattr(usual, name):
                plain = dict(value) if isinstance(value, Mapping) else value
                found[name] = plain if isinstance(plain, dict | str | int) else list(value)
        return found

    def check(self, where: str) -> None:
        """Refuse what no file can be.

        Raises:
            ConfigError: The separator, the encoding or the names cannot be.
        """
        if self.separator is not None and len(self.separator) != 1 and self.separator != r"\s+":
            what = f"separator '{self.separator}' is neither one character nor \\s+"
            raise ConfigError(what, where=where, fix="convert the file to CSV, or name its one character")
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            fix = "use utf-8, latin-1 or cp1252"
            raise ConfigError(f"no encoding '{self.encoding}'", where=where, fix=fix) from None
        if self.skip_lines < 0:
            raise ConfigError(f"skip_lines {self.skip_lines} is below 0", where=where)
        if self.names is not None and len(set(self.names)) != len(self.names):
            raise ConfigError("names holds a name twice", where=where)


def is_table(path: Path) -> bool:
    """Whether the file's ending is one of a table's: .csv, .tsv, .tab (each also .gz), .parquet, .pq, .jsonl."""
    kind = _kind(path)
    return kind in TEXT_KINDS or kind in PARQUET_KINDS or kind in JSONL_KINDS


def separator_of(path: Path) -> str | None:
    """What parts the values of a text table, by the file's ending; None: Parquet and JSONL have no such thing."""
    kind = _kind(path)
    return None if kind in PARQUET_KINDS or kind in JSONL_KINDS else TEXT_KINDS.get(kind, ",")


@dataclass(frozen=True)
class TableFile:
    """A CSV file (any ending that is no other's), Parquet or JSONL.

    Values of a CSV file are texts, and an empty one is an empty text: what they mean is the preprocessor's to say.
    Those of Parquet and JSONL stay what they are.

    Attributes:
        path: The file.
        format: Format of the file.
    """

    path: Path
    format: TableFormat = TableFormat()

    def shape(self) -> tuple[list[str], int]:
        """Give the columns' names (new ones, where they are renamed) and the number of rows, by reading it once.

        Raises:
            DataError: The file is missing, empty, not of its kind, or has a row of the wrong length.
        """
        require_file(self.path)
        kind = _kind(self.path)
        if kind in PARQUET_KINDS:
            columns, num_rows = parquet_shape(self.path)
        elif kind in JSONL_KINDS:
            columns, num_rows = jsonl_shape(self.path, encoding=self.format.encoding)
        else:
            columns, num_rows = self._csv_shape()
        if not num_rows:
            raise DataError(self.path, None, "has no rows", fix="download it again, or fix data.reader.read")
        return self._renamed(columns), num_rows

    def chunks(self, rows: int, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Read frames of at most `rows` rows, indexed by row number.

        Args:
            rows: Maximum number of rows in a frame.
            columns: Columns from `shape`: JSONL objects that lack one have None there.

        Raises:
            DataError: As `shape`.
        """
        kind, own = _kind(self.path), None if columns is None else self._own_names(columns)
        if kind in PARQUET_KINDS:
            frames = parquet_chunks(self.path, rows)
        elif kind in JSONL_KINDS:
            frames = jsonl_chunks(self.path, rows, own, encoding=self.format.encoding)
        else:
            frames = csv_chunks(self.path, rows, **self._csv_options())
        for frame in frames:
            yield frame.rename(columns=dict(self.format.rename)) if self.format.rename else frame

    def _csv_shape(self) -> tuple[list[str], int]:
        columns: list[str] = []
        num_rows = 0
        for frame in csv_chunks(self.path, COUNTED_ROWS, **self._csv_options()):
            columns, num_rows = list(map(str, frame.columns)), num_rows + len(frame)
        return columns, num_rows

    def _csv_options(self) -> dict[str, Any]:
        form = self.format
        options: dict[str, Any] = {
            "sep": form.separator or separator_of(self.path),
            "header": 0 if form.names is None else None,
            "dtype": str,
            "na_filter": False,  # what counts as missing is for the preprocessor to say
            "skiprows": form.skip_lines,
            "encoding": form.encoding,
        }
        if form.names is not None:
            options["names"] = list(form.names)
        if not form.quoting:
            options["quoting"] = csv.QUOTE_NONE
        return options

    def _renamed(self, columns: Sequence[str]) -> list[str]:
        rename = dict(self.format.rename or {})
        for name in rename:
            if name not in columns:
                raise DataError(self.path, None, f"no column '{name}' to rename", fix=nearest(name, columns))
        made = [rename.get(name, name) for name in map(str, columns)]
        twice = next((name for name in made if made.count(name) > 1), None)
        if twice is not None:
            raise DataError(self.path, None, f"would have two columns '{twice}'", fix="fix rename in conf/data/")
        return made

    def _own_names(self, columns: Sequence[str]) -> list[str]:
        back = {new: old for old, new in (self.format.rename or {}).items()}
        return [back.get(name, name) for name in columns]


def _kind(path: Path) -> str:
    """The ending that says the format, `.gz` left aside."""
    return (Path(path.stem) if path.suffix.lower() == ".gz" else path).suffix.lower()
