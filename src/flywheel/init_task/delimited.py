"""Text tables: what parts the columns, what they are called, and the rows."""

from __future__ import annotations

import csv
import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from flywheel.init_task.guess import listed
from flywheel.project.errors import DataError
from flywheel.reader.format.unique import check_columns

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
SNIFFED_LINES = 100
INDEX_NAME = "Unnamed: 0"
"""What pandas calls a first column without a name, which is how it writes its own row numbers."""

_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")


@dataclass(frozen=True)
class Dialect:
    """What parts the columns, and their names."""

    separator: str
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """The separator in words."""
        return SEPARATORS[self.separator]


def dialect_of(path: Path, head: str) -> Dialect:
    """Find the separator and the columns' names.

    The separator is the one with which most of the first lines have as many values as the first, and at least two;
    among equals, the one that gives more columns.

    Raises:
        DataError: There is no line of names, or a name is missing or given twice.
    """
    lines = "\n".join(head.split("\n", SNIFFED_LINES)[:SNIFFED_LINES])
    if not lines.strip():
        raise DataError(path, None, "is empty", fix="give a table with a header line and rows")
    separator = max(SEPARATORS, key=lambda each: _agreement(lines, each))
    columns = next(csv.reader(io.StringIO(head), delimiter=separator))
    if not columns[0].strip() and len(columns) > 1:
        columns[0] = INDEX_NAME
    _check_names(path, columns)
    return Dialect(separator, tuple(columns))


def _agreement(lines: str, separator: str) -> tuple[float, int]:
    """Share of lines with as many values as the first, and how many those are; (0, 0) for a single column."""
    try:
        widths = [len(row) for row in csv.reader(io.StringIO(lines), delimiter=separator) if row]
    except csv.Error:
        return 0.0, 0
    if not widths or widths[0] < 2:
        return 0.0, 0
    return sum(width == widths[0] for width in widths) / len(widths), widths[0]


def _check_names(path: Path, columns: list[str]) -> None:
    if all(_NUMBER.fullmatch(name) for name in columns):
        why = f"its first line holds numbers ({listed(columns, 3)}), not the columns' names"
        raise DataError(path, None, why, fix="add a header line")
    if "" in map(str.strip, columns):
        place = [name.strip() for name in columns].index("")
        raise DataError(path, None, f"column {place + 1} has no name", fix="name it in the header line")
    check_columns(path, columns)


def parse_head(path: Path, head: str, dialect: Dialect, *, is_whole: bool) -> tuple[pd.DataFrame, bool]:
    """Parse the beginning of a file, header included.

    Args:
        path: Path to name in messages.
        head: Complete lines; in a part of a file the last value may be cut in two if it wraps.
        dialect: Output of `dialect_of`.
        is_whole: Whether this is all of the file.

    Returns:
        The rows as text, and whether some value holds a line break.

    Raises:
        DataError: A row has more values than the header.
    """
    try:
        frame = _parse(head, dialect, header=0)
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise _too_many(path, dialect, str(error)) from None
    wraps = any(frame[name].str.contains("\n", regex=False).any() for name in frame.columns)
    if wraps and not is_whole:
        frame = frame.iloc[:-1]
    return frame, wraps


def parse_more(lines: str, dialect: Dialect) -> pd.DataFrame:
    """Parse lines from the middle of a file; those of another length are left out of the sample."""
    return _parse(lines, dialect, header=None, names=list(dialect.columns), on_bad_lines="skip")


def _parse(text: str, dialect: Dialect, **options: object) -> pd.DataFrame:
    with warnings.catch_warnings():
        if "on_bad_lines" not in options:
            warnings.simplefilter("error", pd.errors.ParserWarning)
        frame: pd.DataFrame = pd.read_csv(  # type: ignore[call-overload]
            io.StringIO(text), sep=dialect.separator, dtype=str, na_filter=False, index_col=False,
            skip_blank_lines=False, **options,
        )  # fmt: skip
    frame.columns = pd.Index(dialect.columns)
    return frame.fillna("")  # a row that ends early


def _too_many(path: Path, dialect: Dialect, message: str) -> DataError:
    fix = f"put quotes round values that hold {dialect.name}"
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", message)
    if found is None:
        return DataError(path, None, "a row has more values than the header, or a quote is left open", fix=fix)
    expected, line, saw = map(int, found.groups())
    return DataError(path, line - 2, f"has {saw} values, the header {expected}", fix=fix)
