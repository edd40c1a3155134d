"""Users and histories of items: from what people send to codes, and what is known of them from train."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from flywheel.modality.interactions.data.table import identifiers, index_of
from flywheel.project.errors import DataError

Array = np.ndarray[Any, Any]

INT16_ITEMS = 2**15 - 1


def as_history(value: Any, row: int) -> Sequence[Any] | None:
    """Give a history as a sequence of items, None where there is none.

    Args:
        value: A list, an array, or a text with items parted by spaces, commas or bars; None, NaN or an empty text: no
            history is given (an empty list is a history without items).
        row: Number of the row, for messages.

    Raises:
        DataError: It is nothing of these.
    """
    if type(value) is list:
        return value
    if isinstance(value, np.ndarray | tuple):
        return list(value)
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, str):
        return re.split(r"[\s,|]+", value.strip(" \t\n,|[]")) if value.strip() else None
    why = f"history is a {type(value).__name__}, not a list of items"
    raise DataError("request", row, why, fix='give a list such as ["50", "181"]')


def flat(histories: Sequence[Sequence[Any]]) -> tuple[Array, Array]:
    """All items one after the other, objects [M], and the place of each one's history, int64 [M]."""
    lengths = np.fromiter(map(len, histories), dtype=np.int64, count=len(histories))
    items = np.fromiter(itertools.chain.from_iterable(histories), dtype=object, count=int(lengths.sum()))
    return items, np.repeat(np.arange(len(histories)), lengths)


def code_histories(histories: Sequence[Sequence[Any]], index: pd.Index, length: int, dtype: Any) -> Array:
    """Lay histories out as codes, [N, length]: place in the index + 1, padding of 0 on the right.

    Items that the index lacks are left out; of longer histories the last items are kept.

    Raises:
        DataError: An item is not a text or number.
    """
    items, rows = flat(histories)
    try:
        places = np.asarray(index.get_indexer(pd.Index(items, dtype=object)))
        strange = np.flatnonzero(places < 0)
        if len(strange):  # numbers for texts, or spaces around them
            names = pd.Index(identifiers(items[strange]), dtype=object)
            places[strange] = index.get_indexer(names)
    except TypeError:
        raise _strange_item() from None
    known = places >= 0
    codes, rows = places[known] + 1, rows[known]
    number = np.bincount(rows, minlength=len(histories))
    first = np.cumsum(number) - number + np.maximum(number - length, 0)
    column = np.arange(len(rows)) - first[rows]
    kept = column >= 0
    laid = np.zeros((len(histories), length), dtype)
    laid[rows[kept], column[kept]] = codes[kept]
    return laid


@dataclass
class LearntHistories:
    """What `fit` learnt: items by column, users by code - 1, and for each user what it had, as codes."""

    items: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    history_length: int = 0
    item_counts: list[int] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    histories: Array = field(default_factory=lambda: np.empty((0, 0), np.int16))

    def __post_init__(self) -> None:
        self.item_index, self.user_index = index_of(self.items), index_of(self.users)
        self.dtype = np.dtype(np.int16 if len(self.items) < INT16_ITEMS else np.int32)

    def user_codes(self, users: Sequence[str | None]) -> Array:
        """Codes of users, int32 [N]; 0 for those that are not known."""
        found = self.user_index.get_indexer(pd.Index(users, dtype=object))
        return (np.asarray(found) + 1).astype(np.int32)

    def item_codes(self, items: Any) -> Array:
        """Codes of items, int64 [N]; 0 for those that are not known."""
        found = self.item_index.get_indexer(pd.Index(identifiers(items), dtype=object))
        return np.asarray(found, np.int64) + 1


def columns_of(frame: pd.DataFrame) -> tuple[list[str | None], list[Sequence[Any] | None]]:
    """Users as identifiers and histories as sequences, None where a row does not give them.

    Raises:
        DataError: A user is not a text or number, or a history no list.
    """
    try:
        users = identifiers(frame["user"] if "user" in frame.columns else [None] * len(frame))
    except TypeError:
        raise DataError("request", None, "a user is neither a text nor a number", fix="give its identifier") from None
    if "history" not in frame.columns:
        return users, [None] * len(frame)
    rows = zip(frame.index, frame["history"], strict=True)
    return users, [as_history(value, int(row)) for row, value in rows]


def repeated_rows(frame: pd.DataFrame, histories: Sequence[Sequence[Any] | None]) -> Array:
    """Whether each row's label is in its own history, the number 7 being the item '7': bool [N].

    Raises:
        DataError: An item of a history is neither a text nor a number.
    """
    if "label" not in frame.columns:
        return np.zeros(len(frame), bool)
    items, rows = flat([history or () for history in histories])
    labels = np.array(identifiers(frame["label"]), dtype=object)
    try:
        names = np.array(identifiers(items), dtype=object)
    except TypeError:
        raise _strange_item() from None
    found = np.zeros(len(frame), bool)
    found[rows[np.asarray(names == labels[rows], bool)]] = True
    return found


def without(items: Sequence[Any], item: str) -> list[Any]:
    """Items in their order, save one, whether it is given as a text or as a number.

    Raises:
        DataError: One of them is neither.
    """
    try:
        return [one for one, name in zip(items, identifiers(items), strict=True) if name != item]
    except TypeError:
        raise _strange_item() from None


def until(histories: Array, items: Array) -> Array:
    """Cut each history off before an item.

    Args:
        histories: Item codes [N, H], the most recent last, padded with 0 on the right.
        items: Item codes [N]; a history that lacks its item, or whose item is 0 (not known), stays whole.

    Returns:
        Histories of the same shape and dtype, padded with 0 from the item on.
    """
    found = (histories == items[:, None]) & (items[:, None] > 0)
    return np.where(np.logical_or.accumulate(found, axis=1), 0, histories).astype(histories.dtype)


def _strange_item() -> DataError:
    why = "a history holds an item that is neither a text nor a number"
    return DataError("request", None, why, fix='give a list such as ["50", "181"]')
