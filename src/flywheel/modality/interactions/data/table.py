"""Interactions of users with items as arrays of codes: one entry a row of a file, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flywheel.project.errors import DataError, nearest
from flywheel.reader.format.table_file import TableFile, TableFormat
from flywheel.reader.format.time_column import in_seconds, read_times
from flywheel.reader.format.value import names_of

Array = np.ndarray[Any, Any]

ROWS = 65536  # parsed at a time
NO_CODE = -1


@dataclass(frozen=True)
class InteractionColumns:
    """Which columns hold what; the part of a name after a colon (`user_id:token`) may be left out.

    Attributes:
        user: Column of the user.
        item: Column of the item.
        time: Column of the time: numbers, or dates as pandas reads them; None: the order of the rows is the order in
            time.
        rating: Column of the rating; None: there is none.
        time_unit: The time unit of times that are numbers, as `time_column.UNITS` has it; None: what their size says.
    """

    user: str
    item: str
    time: str | None
    rating: str | None
    time_unit: str | None = None


@dataclass(frozen=True)
class InteractionTable:
    """All rows of a file, in its order.

    Attributes:
        user: Code of each row's user, int32 [N]; `NO_CODE` where the row is bad.
        item: Code of each row's item, likewise.
        time: float64 [N]; seconds since 1970, or whatever the file counts in.
        rating: float64 [N]; NaN where there is none.
        users: Identifiers by user code.
        items: Identifiers by item code.
        errors: Why a row is bad, by row number.
    """

    user: Array
    item: Array
    time: Array
    rating: Array
    users: Array
    items: Array
    errors: dict[int, str]


def identifiers(values: Any) -> list[str | None]:
    """Users or items as texts: `3` for 3, 3.0, ' 3 ' and '3.0'; None where one is missing."""
    return list(names_of(values))


def index_of(names: Sequence[str]) -> pd.Index:
    """Index identifiers by their one form: those that were learnt before there was one may have another."""
    forms = identifiers(names)
    return pd.Index(forms if len(set(forms)) == len(forms) else names, dtype=object)


def read_interactions(path: Path, columns: InteractionColumns, form: TableFormat) -> InteractionTable:
    """Read a file whole; of each row about 28 bytes are kept.

    Raises:
        DataError: The file is missing, empty or broken, or lacks a column, or its times are of several units.
    """
    user_codes, item_codes = _Codes(), _Codes()
    parts: dict[str, list[Array]] = {name: [] for name in ("user", "item", "time", "rating", "is_date")}
    errors: dict[int, str] = {}
    first = 0
    for frame in TableFile(path, form).chunks(ROWS):
        found = _Chunk.of(path, frame, columns)
        why = found.problems()
        errors.update({first + row: text for row, text in why.items()})
        good = np.ones(len(frame), bool)
        good[list(why)] = False
        parts["user"].append(user_codes.of(found.user, good))
        parts["item"].append(item_codes.of(found.item, good))
        parts["time"].append(
            found.time if found.time is not None else np.arange(first, first + len(frame), dtype=float)
        )
        parts["is_date"].append(found.is_date)
        parts["rating"].append(found.rating if found.rating is not None else np.full(len(frame), np.nan))
        first += len(frame)
    if not first:
        raise DataError(path, None, "has no rows", fix="download it again, or fix data.reader.read")
    whole = {name: np.concatenate(pieces) for name, pieces in parts.items()}
    is_date = whole.pop("is_date")
    if columns.time is not None:
        whole["time"] = in_seconds(path, whole["time"], is_date, columns.time_unit)
    return InteractionTable(**whole, users=user_codes.names(), items=item_codes.names(), errors=errors)


def read_names(path: Path, key: str, name: str, form: TableFormat) -> dict[str, str]:
    """Read a side table: what an item is called, by its identifier. Items without a name are left out.

    Raises:
        DataError: The file is missing or broken, or lacks a column.
    """
    found: dict[str, str] = {}
    for frame in TableFile(path, form).chunks(ROWS):
        keys, names = (identifiers(_column(path, frame, column)) for column in (key, name))
        found.update({item: text for item, text in zip(keys, names, strict=True) if item and text})
    return found


class _Codes:
    """Numbers of identifiers, in the order in which they are first seen."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def of(self, values: Sequence[str | None], good: Array) -> Array:
        known = self._known
        codes = [
            known.setdefault(value, len(known)) if value is not None and fine else NO_CODE
            for value, fine in zip(values, good.tolist(), strict=True)
        ]
        return np.array(codes, dtype=np.int32)

    def names(self) -> Array:
        return np.array(list(self._known), dtype=object)


@dataclass(frozen=True)
class _Chunk:
    """Some rows, parsed."""

    user: list[str | None]
    item: list[str | None]
    time: Array | None
    is_date: Array
    rating: Array | None
    given_time: Any
    given_rating: Any

    @classmethod
    def of(cls, path: Path, frame: pd.DataFrame, columns: InteractionColumns) -> _Chunk:
        time = None if columns.time is None else _column(path, frame, columns.time)
        rating = None if columns.rating is None else _column(path, frame, columns.rating)
        times, is_date = (None, np.zeros(len(frame), bool)) if time is None else read_times(time)
        return cls(
            identifiers(_column(path, frame, columns.user)),
            identifiers(_column(path, frame, columns.item)),
            times,
            is_date,
            None if rating is None else pd.to_numeric(rating, errors="coerce").to_numpy(np.float64),
            time,
            rating,
        )

    def problems(self) -> dict[int, str]:
        """Why rows are bad, by place; of several reasons the first."""
        found: dict[int, str] = {}
        for values, given, what, wanted in (
            (self.time, self.given_time, "time", "neither a number nor a date"),
            (self.rating, self.given_rating, "rating", "not a number"),
        ):
            if values is not None:
                for place in np.flatnonzero(~np.isfinite(values)).tolist():
                    found[place] = f"{what} '{given.iloc[place]}' is {wanted}"
        for names, what in ((self.item, "item"), (self.user, "user")):
            found.update({place: f"{what} is missing" for place, name in enumerate(names) if name is None})
        return found


def _column(path: Path, frame: pd.DataFrame, name: str) -> pd.Series:
    names = [str(column) for column in frame.columns]
    if name in names:
        return frame.iloc[:, names.index(name)]
    bare = [column.partition(":")[0] for column in names]
    if bare.count(name) == 1:
        return frame.iloc[:, bare.index(name)]
    raise DataError(path, None, f"no column '{name}'", fix=nearest(name, bare))
