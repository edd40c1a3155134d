"""Reads tables in chunks, one row an example: CSV, Parquet and JSONL, with side tables joined to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flywheel.project.errors import ConfigError, DataError, nearest
from flywheel.project.types import SPLITS, Reader, Split, Splits
from flywheel.reader.format.table_file import TableFile, TableFormat
from flywheel.reader.format.table_join import Join, JoinSettings
from flywheel.reader.format.time_column import in_seconds, read_times
from flywheel.reader.format.value import factorised, name_of, object_column

WHERE = "data.reader.read"
RESERVED = ("label", "group", "error", "file", "row", "sample_weight")
"""Names that mean something to what comes after a reader: a column of another meaning must be renamed."""
SPLIT_WORDS = {"train": "train", "training": "train", "validation": "validation", "val": "validation",
               "valid": "validation", "dev": "validation", "test": "test", "testing": "test"}  # fmt: skip
_NamesOf = Callable[[pd.Series, Path, str], list[str]]
ROWS = 16384  # held while the rows of each split are counted
NO_LABEL = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "<NA>")


@dataclass(frozen=True)
class TableReader(Reader):
    """A table on the disk, its format told by its ending: .parquet, .jsonl, or else CSV (also .gz).

    Values of CSV files are passed on as texts, those of Parquet and JSONL as they are: types are inferred by the
    preprocessor, from train alone. Labels that are empty or one of `no_label` are None.

    Attributes:
        path: File under the raw folder: train, or all of the data.
        label_column: The column that holds the label; it is named `label` in the frames.
        test_path: The official test split; None: there is none.
        validation_path: The official validation split; it may be the same file as another, and then the same rows.
        split_column: A column that says where each row of `path` belongs: train, validation or test.
        time_column: When: numbers or dates. The latest rows are the test split, those before them validation, by
            `time_shares`; rows of one moment stay together. It is not an input.
        time_shares: Shares of validation and test.
        group_column: Rows with the same value never straddle parts that are drawn; it is named `group`.
        weight_column: How much each row counts in training, a number above 0; it is named `sample_weight`. It is no
            input.
        columns: The inputs to keep, in this order; None: all but the label, the split, the group and the weight.
        rename: New name of a column by its name in the file; all other settings use the new names.
        separator: Separator of CSV values: one character, or `\\s+`; None: a tab for .tsv, else a comma.
        names: Names of the columns, where a CSV file has no header line.
        skip_lines: Lines to leave out at a CSV file's top.
        encoding: Encoding of the text, such as `utf-8` or `latin-1`.
        quoting: Whether double quotes enclose values.
        classes: Name of each label, where labels are the numbers 0, 1, ...; None: the label is its own name.
        no_label: Texts that stand for a missing label.
        joins: Side tables, each a mapping of `path`, `by`, `columns` and how it is written (`separator`, `names`,
            `skip_lines`, `encoding`, `quoting`, `rename`); without `by`, its rows follow those of `path` one by one.
    """

    path: str
    label_column: str
    test_path: str | None = None
    validation_path: str | None = None
    split_column: str | None = None
    time_column: str | None = None
    time_shares: Sequence[float] = (0.16, 0.2)
    group_column: str | None = None
    weight_column: str | None = None
    columns: Sequence[str] | None = None
    rename: Mapping[str, str] | None = None
    separator: str | None = None
    names: Sequence[str] | None = None
    skip_lines: int = 0
    encoding: str = "utf-8"
    quoting: bool = True
    classes: Sequence[str] | None = None
    no_label: Sequence[str] = NO_LABEL
    joins: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        self.format.check(WHERE)
        self._join_settings()
        parting = [name for name in ("split_column", "time_column") if getattr(self, name) is not None]
        if parting and (len(parting) > 1 or self.test_path is not None or self.validation_path is not None):
            what = f"{parting[0]} says where rows belong, so {'time_column' if parting[1:] else 'test_path'} cannot"
            raise ConfigError(what, where=WHERE, fix="give one of them")
        if len(self.time_shares) != 2 or min(self.time_shares) <= 0 or sum(self.time_shares) >= 1:
            what = f"time_shares {list(self.time_shares)} are not two shares above 0 that leave some rows to train"
            raise ConfigError(what, where=WHERE)
        if len(set(self.special)) != len(self.special):
            what = "label_column, split_column, time_column, group_column and weight_column must be different columns"
            raise ConfigError(what, where=WHERE)
        for name in self.columns or ():
            if name in self.special:
                raise ConfigError(f"columns holds '{name}', which is not an input", where=WHERE, fix="leave it out")

    def read(self, raw_dir: Path) -> Splits:
        """Count the rows and check the columns; rows are read when a chunk is asked for.

        Side tables are held in memory.

        Raises:
            DataError: A file is missing or broken, has no such column, or has a row of the wrong length.
        """
        joins = [Join(settings, raw_dir) for settings in self._join_settings()]
        column = self.split_column or self.time_column
        if column is not None:
            table = _Table(self, raw_dir / self.path, joins)
            return table.parts(_split_names if self.time_column is None else _Moments.of(table, column), column)
        paths = {"train": self.path, "validation": self.validation_path, "test": self.test_path}
        tables: dict[str, _Table] = {}
        for path in (path for path in paths.values() if path is not None):
            tables.setdefault(path, _Table(self, raw_dir / path, joins))
        return {name: tables[path].split() for name, path in paths.items() if path is not None}

    @property
    def format(self) -> TableFormat:
        """How `path` is written, and how its columns are called here."""
        return TableFormat(self.separator, self.names, self.skip_lines, self.encoding, self.quoting, self.rename)

    def _join_settings(self) -> list[JoinSettings]:
        return [JoinSettings.of(node, f"{WHERE}.joins[{place}]") for place, node in enumerate(self.joins)]

    @property
    def special(self) -> list[str]:
        """The columns that are not inputs."""
        named = (self.label_column, self.split_column, self.time_column, self.group_column, self.weight_column)
        return [name for name in named if name is not None]


class _Table:
    """One file with its side tables, in the form that the frames have."""

    def __init__(self, reader: TableReader, path: Path, joins: list[Join]) -> None:
        self.reader, self.path, self._joins = reader, path, joins
        self._file = TableFile(path, reader.format)
        self._own, self.num_rows = self._file.shape()
        names = list(self._own)
        for join in joins:
            join.check(path, names, self.num_rows)
            names += join.columns
        self._inputs = self._check(names)

    def _check(self, names: list[str]) -> list[str]:
        """Check that every column that is named is there; give the inputs."""
        reader, special = self.reader, self.reader.special
        for name in [*special, *(reader.columns or ())]:
            if name not in names:
                raise DataError(self.path, None, f"no column '{name}'", fix=nearest(name, names))
        inputs = [name for name in names if name not in special] if reader.columns is None else list(reader.columns)
        for name in inputs:
            if name in RESERVED:
                fix = f"rename it: data.reader.read.rename: {{{name}: {name}_}}"
                fix += ", or weigh rows by it: data.reader.read.weight_column" * (name == "sample_weight")
                raise DataError(self.path, None, f"a column is named '{name}', which is reserved", fix=fix)
        if not inputs:
            raise DataError(self.path, None, f"has no column besides {', '.join(special)}", fix="add inputs")
        return inputs

    def whole(self, rows: int) -> Iterator[pd.DataFrame]:
        """All columns, side tables' included."""
        for frame in self._file.chunks(rows, self._own):
            for join in self._joins:
                frame = join.joined(frame)
            yield frame

    def split(self) -> Split:
        """All rows."""

        def chunks(rows: int) -> Iterator[pd.DataFrame]:
            yield from map(self._finished, self.whole(rows))

        return Split(self.num_rows, chunks, str(self.path))

    def parts(self, names_of: _NamesOf, column: str) -> Splits:
        """The splits that a column tells apart, each counted in one pass."""
        counts = dict.fromkeys(map(str, SPLITS), 0)
        for frame in self.whole(ROWS):
            for name in names_of(frame[column], self.path, column):
                counts[name] += 1
        if not counts["train"]:
            raise DataError(self.path, None, f"column '{column}' gives no row to train")
        return {name: self._part(name, names_of, column, number) for name, number in counts.items() if number}

    def _part(self, name: str, names_of: _NamesOf, column: str, num_rows: int) -> Split:
        """The rows that a column gives to one split, numbered among themselves."""

        def chunks(rows: int) -> Iterator[pd.DataFrame]:
            first = 0
            for frame in self.whole(rows):
                mine = [word == name for word in names_of(frame[column], self.path, column)]
                chosen = self._finished(frame[mine])
                chosen.index = pd.RangeIndex(first, first + len(chosen))
                first += len(chosen)
                if len(chosen):
                    yield chosen

        return Split(num_rows, chunks, f"{self.path} ({column}: {name})")

    def _finished(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Inputs, `label`, and `group` and `sample_weight` where there are any."""
        reader = self.reader
        made = frame[self._inputs].copy()
        labels = frame[reader.label_column]
        made["label"], errors = _labels(labels, tuple(reader.no_label), reader.classes)
        if errors is not None:
            made["error"] = errors
        if reader.group_column is not None:
            made["group"] = frame[reader.group_column]
        if reader.weight_column is not None:
            made["sample_weight"] = frame[reader.weight_column]
        return made


@dataclass(frozen=True)
class _Moments:
    """The first moments of validation and of test."""

    validation: float
    test: float

    @classmethod
    def of(cls, table: _Table, column: str) -> _Moments:
        """Find them: one pass, 8 bytes a row."""
        chunks = [read_times(_checked(frame[column], table.path, column)) for frame in table.whole(ROWS)]
        times, is_date = (np.concatenate(pieces) for pieces in zip(*chunks, strict=True))
        in_seconds(table.path, times, is_date, None)  # refuses a column whose times are written in several ways
        times = np.sort(times)
        validation, test = (float(share) for share in table.reader.time_shares)
        first, second = (round(len(times) * share) for share in (1 - validation - test, 1 - test))
        if not times[0] < times[first] < times[second]:
            why = f"column '{column}' has too few different times to separate train, validation and test"
            raise DataError(table.path, None, why, fix="leave out time_column")
        return cls(float(times[first]), float(times[second]))

    def __call__(self, values: pd.Series, path: Path, column: str) -> list[str]:
        times, _ = read_times(_checked(values, path, column))
        return ["test" if time >= self.test else "validation" if time >= self.validation else "train" for time in times]


def _checked(values: pd.Series, path: Path, column: str) -> pd.Series:
    times, _ = read_times(values)
    if not np.isfinite(times).all():
        row = int(np.flatnonzero(~np.isfinite(times))[0])
        why = f"{column} is '{values.iloc[row]}', which is neither a number nor a date"
        raise DataError(path, int(values.index[row]), why, fix="fix it, or leave out time_column")
    return values


def _labels(
    labels: pd.Series, no_label: tuple[str, ...], classes: Sequence[str] | None
) -> tuple[pd.Series, pd.Series | None]:
    """Labels with None for missing ones and names for numbers, and why a row is bad where a number has no name."""
    given = _mapped(labels, lambda label: None if _is_missing(label, no_label) else label)
    if classes is None:
        return given, None
    names = {str(number): str(name) for number, name in enumerate(classes)}
    named = _mapped(given, lambda label: names.get(name_of(label) or ""))
    strange = given.notna() & named.isna()
    if not strange.any():
        return named, None
    errors = pd.Series(object_column([None] * len(labels)), index=labels.index, dtype=object)
    errors[strange] = given[strange].map(lambda label: f"label {label} is not one of the {len(names)} classes")
    return named, errors


def _is_missing(label: Any, no_label: tuple[str, ...]) -> bool:
    return label is None or label != label or (isinstance(label, str) and label.strip() in no_label)


def _mapped(values: pd.Series, change: Callable[[Any], Any]) -> pd.Series:
    """Change each distinct value once; what has no hash (a list in JSON) is taken as its text."""
    try:
        codes, distinct = factorised(values)
    except TypeError:
        codes, distinct = factorised(values.map(str))
    table = pd.Series([*map(change, distinct), None], dtype=object).to_numpy()
    return pd.Series(table[codes], index=values.index, dtype=object)


def _split_names(values: pd.Series, path: Path, column: str) -> list[str]:
    names = [SPLIT_WORDS.get(str(value).strip().lower(), "") for value in values]
    if "" in names:
        row = names.index("")
        why = f"{column} is '{values.iloc[row]}', which is not a split"
        raise DataError(path, int(values.index[row]), why, fix=f"write {', '.join(SPLITS)}")
    return names
