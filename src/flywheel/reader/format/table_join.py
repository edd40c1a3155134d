"""Side tables: columns that another file holds about what a row names, or about the row of the same number."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from flywheel.project.errors import ConfigError, DataError, nearest
from flywheel.reader.format.table_file import TableFile, TableFormat
from flywheel.reader.format.value import name_of

ROWS = 16384
_FORMAT_KEYS = {field.name for field in dataclasses.fields(TableFormat)}


@dataclass(frozen=True)
class JoinSettings:
    """What to join, and by what.

    Attributes:
        path: The side table, under the raw folder.
        by: The column that both tables have; None: the rows of both follow each other in the same order.
        columns: Columns to take over; None: all but `by`.
        format: Format of the side table.
    """

    path: str
    by: str | None
    columns: Sequence[str] | None
    format: TableFormat

    @classmethod
    def of(cls, node: Mapping[str, Any], where: str) -> JoinSettings:
        """Take the keys `path`, `by`, `columns`, and those of `TableFormat`.

        Raises:
            ConfigError: A key is unknown or missing, or cannot be.
        """
        own = ("path", "by", "columns")
        for key in node:
            if key not in own and key not in _FORMAT_KEYS:
                raise ConfigError(f"unknown key '{key}'", where=where, fix=nearest(key, [*own, *_FORMAT_KEYS]))
        if not isinstance(node.get("path"), str):
            raise ConfigError("has no path", where=where, fix="name the side table's file")
        form = TableFormat(**{key: value for key, value in node.items() if key in _FORMAT_KEYS})
        form.check(where)
        return cls(node["path"], node.get("by"), node.get("columns"), form)


class Join:
    """A side table in memory, ready to be joined to chunks of rows.

    Args:
        settings: Settings of the join.
        raw_dir: Folder of the file.

    Raises:
        DataError: The file is missing or broken, lacks a column, or names a key twice.
    """

    def __init__(self, settings: JoinSettings, raw_dir: Path) -> None:
        self.by = settings.by
        self.path = raw_dir / settings.path
        table = TableFile(self.path, settings.format)
        names, self.num_rows = table.shape()
        wanted = [name for name in names if name != self.by] if settings.columns is None else list(settings.columns)
        for name in [*wanted, *([] if self.by is None else [self.by])]:
            if name not in names:
                raise DataError(self.path, None, f"no column '{name}'", fix=nearest(name, names))
        self.columns = wanted
        self._frame = pd.concat(list(table.chunks(ROWS, names)), ignore_index=True)
        if self.by is not None:
            keys = self._frame[self.by].map(_key)
            repeated = keys.duplicated()
            if repeated.any():
                row = int(repeated.to_numpy().argmax())
                raise DataError(self.path, row, f"{self.by} '{keys.iloc[row]}' is there twice, so rows are ambiguous")
            self._keys = pd.Index(keys, dtype=object)

    def check(self, path: Path, columns: Sequence[str], num_rows: int) -> None:
        """Refuse a table that this one does not fit.

        Raises:
            DataError: It lacks the key, has one of the columns already, or another number of rows.
        """
        if self.by is not None and self.by not in columns:
            raise DataError(path, None, f"no column '{self.by}' to join by", fix=nearest(self.by, columns))
        for name in self.columns:
            if name in columns:
                fix = "leave it out of joins.columns, or rename it"
                raise DataError(self.path, None, f"column '{name}' is in {path.name} too", fix=fix)
        if self.by is None and num_rows != self.num_rows:
            why = f"has {self.num_rows} rows, {path.name} has {num_rows}: they cannot follow each other"
            raise DataError(self.path, None, why, fix="join on a column that both have")

    def joined(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Add the columns to rows that are indexed by their number; None where the side table has no such key."""
        if self.by is None:
            found = self._frame.iloc[frame.index.to_numpy()][self.columns]
        else:
            places = self._keys.get_indexer(pd.Index(frame[self.by].map(_key), dtype=object))
            found = self._frame[self.columns].astype(object).take(places.clip(min=0))
            if (places < 0).any():
                found[places < 0] = None
        found.index = frame.index
        return pd.concat([frame, found], axis=1)


def _key(value: Any) -> str:
    """Keys are compared as names: 3 in a Parquet file is the `3` of a CSV file."""
    return name_of(value) or ""
