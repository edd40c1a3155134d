"""Reads who took what when, and holds out each user's last interactions: nothing later is ever in a row's history."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flywheel.modality.interactions.data.holdout import TEST, TRAIN, VALIDATION, HeldOut, core, first_of_pair, in_time
from flywheel.modality.interactions.data.table import (
    NO_CODE,
    Array,
    InteractionColumns,
    InteractionTable,
    read_interactions,
    read_names,
)
from flywheel.project.errors import ConfigError, DataError
from flywheel.project.types import Reader, Split, Splits
from flywheel.reader.format.table_file import TableFormat
from flywheel.reader.format.time_column import UNITS
from flywheel.reader.format.value import object_column

log = logging.getLogger("flywheel")

WHERE = "data.reader.read"
TAB_KINDS = (".inter", ".item", ".tsv", ".tab")


@dataclass(frozen=True)
class InteractionsReader(Reader):
    """Interactions from CSV (also RecBole's `.inter`, with headers like `user_id:token`), Parquet or JSONL.

    A row of a split is one interaction: `user`, `history` (the items that this user had before, the most recent last),
    `label` (the item), `time`, `place` (how many the user had before), `tied` (whether the user has others at this
    time), `row` (in the file) and, where titles are known, `title` (the label's). All splits are official ones: of each
    user the last interaction is test, the one before it validation, the rest train, and a row's history holds earlier
    interactions alone. Of interactions at the same time the order is drawn by `seed`, never the file's.

    Left out, and counted in the log: ratings below `min_rating`; an item that the user has had before; then users and
    items with too few interactions, over and over until none is left (a k-core). Items that occur in no train row
    cannot be answered: test and validation rows with them are marked bad, so that cleaning counts them.

    The whole file is held as numbers: about 60 bytes a row while it is split.

    Attributes:
        path: File under the raw folder.
        user_column: Column of the user.
        item_column: Column of the item.
        time_column: Column of the time, numbers or ISO dates; None: the order of the rows is the order in time.
        time_unit: The time unit of times that are numbers: s, ms, us or ns (since 1970); None: what their size says,
            which must be the same in the whole column. Where it is stated, numbers and dates may be mixed.
        rating_column: Column of the user's rating of the item; None: there is none.
        min_rating: Interactions rated lower do not count; None: all count.
        min_user: Fewest interactions of a user; with fewer than 3 a user has no train, validation and test row.
        min_item: Fewest interactions of an item.
        history_length: Most items of a history: older ones are forgotten, and may then be recommended again.
        holdout: `last` (each user's last interaction is test); the one way that is known.
        max_test_users: Users with a validation and a test row, drawn by `seed`; None: all. All interactions of others
            are train.
        seed: Seed of that draw, and of the order of a user's interactions at one time.
        separator: Separator of CSV values; None: a tab for .inter, .tsv and .tab, else a comma.
        names: Names of the columns, where a CSV file has no header line.
        items_path: A side table with what items are called; None: there is none.
        items_id_column: Column of the side table that holds the item.
        items_title_column: Column of the side table that holds the title.
        encoding: Encoding of the text.
    """

    path: str
    user_column: str = "user"
    item_column: str = "item"
    time_column: str | None = "time"
    rating_column: str | None = None
    min_rating: float | None = None
    min_user: int = 3
    min_item: int = 1
    history_length: int = 200
    holdout: str = "last"
    max_test_users: int | None = None
    seed: int = 0
    separator: str | None = None
    names: Sequence[str] | None = None
    items_path: str | None = None
    items_id_column: str = "item"
    items_title_column: str = "title"
    encoding: str = "utf-8"
    time_unit: str | None = None

    def __post_init__(self) -> None:
        """Refuse settings that cannot be."""
        if self.holdout != "last":
            raise ConfigError(f"holdout '{self.holdout}' is not known", where=WHERE, fix="use last")
        if self.min_rating is not None and self.rating_column is None:
            raise ConfigError("min_rating needs rating_column", where=WHERE, fix="name the column with the ratings")
        if self.time_unit is not None and self.time_unit not in UNITS:
            what = f"time_unit '{self.time_unit}' is not known"
            raise ConfigError(what, where=WHERE, fix=f"use one of {', '.join(UNITS)}")
        lowest = {"min_user": 1, "min_item": 1, "history_length": 1, "max_test_users": 1, "seed": 0}
        for key, least in lowest.items():
            given = getattr(self, key)
            if given is not None and given < least:
                raise ConfigError(f"{key} {given} is below {least}", where=WHERE)
        self._format(self.path).check(WHERE)

    def read(self, raw_dir: Path) -> Splits:
        """Read the file, filter it, and divide each user's interactions; histories are made a chunk at a time.

        Raises:
            DataError: A file is missing or broken, lacks a column, or no user is left.
        """
        path = raw_dir / self.path
        columns = InteractionColumns(
            self.user_column, self.item_column, self.time_column, self.rating_column, self.time_unit
        )
        table = read_interactions(path, columns, self._format(self.path))
        titles: dict[str, str] = {}
        if self.items_path is not None:
            form = self._format(self.items_path, named=False)
            titles = read_names(raw_dir / self.items_path, self.items_id_column, self.items_title_column, form)
        order = in_time(table, self.seed)
        kept = self._kept(table, path, order)
        held = HeldOut.of(table, kept, self.max_test_users, self.seed, order)
        made = _Rows(path, table, held, self.history_length, titles)
        splits = {"train": made.split(TRAIN)}
        return splits | {name: made.split(part) for name, part in (("validation", VALIDATION), ("test", TEST))}

    @property
    def format(self) -> TableFormat:
        """How `path` is written; in requests, its users are the column `user`."""
        return replace(self._format(self.path), rename={self.user_column: "user"})

    def _format(self, path: str, *, named: bool = True) -> TableFormat:
        ending = Path(path.lower().removesuffix(".gz")).suffix
        separator = "\t" if self.separator is None and ending in TAB_KINDS else self.separator
        # Without quoting where tabs part the values: titles may hold a quotation mark of inches.
        names = self.names if named else None
        return TableFormat(separator, names, encoding=self.encoding, quoting=separator != "\t")

    def _kept(self, table: InteractionTable, path: Path, order: Array) -> Array:
        """Which rows count, bool [N]; says how many do not, and why."""
        kept = table.user != NO_CODE
        counted = {"all": int(kept.sum())}
        if self.min_rating is not None:
            kept &= ~(table.rating < self.min_rating)
            counted[f"rated below {self.min_rating:g}"] = int(kept.sum())
        kept &= first_of_pair(table, kept, order)
        counted["of an item that the user had had before"] = int(kept.sum())
        kept = core(table, kept, self.min_user, self.min_item)
        counted[f"of users with fewer than {self.min_user} or items with fewer than {self.min_item}"] = int(kept.sum())
        numbers = list(counted.values())
        lost = [f"{before - after:,} {why}" for why, before, after in zip(list(counted)[1:], numbers, numbers[1:],
                                                                         strict=False) if before > after]  # fmt: skip
        if lost:
            log.info("%s: %s interactions left out: %s", path.name, f"{numbers[0] - numbers[-1]:,}", "; ".join(lost))
        if not kept.any():
            if table.errors:
                row, why = next(iter(sorted(table.errors.items())))
                left = f"no interaction is left: {len(table.errors):,} of {len(kept):,} rows cannot be used; here {why}"
                fix = "fix these values; times are numbers or ISO dates (2024-01-31, 2024-01-31T10:00:00Z)"
                raise DataError(path, row, left, fix=fix)
            fix = "lower min_user, min_item or min_rating in conf/data/"
            raise DataError(path, None, "no interaction is left after filtering", fix=fix)
        return kept


@dataclass(frozen=True)
class _Rows:
    """Makes the frames of a part."""

    path: Path
    table: InteractionTable
    held: HeldOut
    history_length: int
    titles: dict[str, str]

    def split(self, part: int) -> Split:
        wanted = self.held.part == part
        if part == TRAIN:
            wanted[list(self.table.errors)] = True  # bad rows: counted where there are most rows
        rows = np.flatnonzero(wanted)

        def between(first: int, end: int, size: int) -> Iterator[pd.DataFrame]:
            for start in range(first, end, size):
                yield self._frame(rows[start : min(start + size, end)], start, part)

        return Split(len(rows), lambda size: between(0, len(rows), size), str(self.path), between)

    def _frame(self, rows: Array, first: int, part: int) -> pd.DataFrame:
        table = self.table
        users, items = _named(table.users, table.user[rows]), _named(table.items, table.item[rows])
        columns: dict[str, Any] = {
            "user": users,
            "history": object_column(self._history(row) for row in rows.tolist()),
            "time": table.time[rows],
            "place": (self.held.place[rows] - self.held.start[rows]).clip(min=0),
            "tied": self.held.is_tied[rows],
            "label": items,
            "row": rows,
        }
        if self.titles:
            columns["title"] = object_column([self.titles.get(item) for item in items])
        errors = [table.errors.get(row) for row in rows.tolist()]
        if part != TRAIN:
            unknown = ~self.held.in_train[table.item[rows]]
            errors = ["its item occurs in no train row" if bad else None for bad in unknown.tolist()]
        if any(errors):
            columns["error"] = object_column(errors)
        return pd.DataFrame(columns, index=pd.RangeIndex(first, first + len(rows)))

    def _history(self, row: int) -> list[str]:
        """The items before, in time: the last `history_length` of them."""
        place, start = int(self.held.place[row]), int(self.held.start[row])
        before = self.held.order[max(start, place - self.history_length) : max(place, 0)]
        found: list[str] = self.table.items[self.table.item[before]].tolist()
        return found


def _named(names: Array, codes: Array) -> Array:
    """The identifiers of codes; None for `NO_CODE`."""
    found: Array = np.array([*names.tolist(), None], dtype=object)[codes]
    return found
