"""Columns that are recognised by their names: users, items, times, ratings, groups and splits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from flywheel.init_task.columns import CONSTANT, EMPTY, TEXT, ColumnGuess, given
from flywheel.init_task.guess import Wanted
from flywheel.project.errors import DataError
from flywheel.reader.table import SPLIT_WORDS

_END = r"([ _.-]?(id|no|nr|number|key|hash|uuid))?$"
_USER = re.compile(r"^(user|customer|client|member|visitor|reader|listener|viewer|account|u)" + _END)
_ITEM = re.compile(
    r"^(item|movie|film|product|article|track|song|artist|book|video|asin|isbn|sku|game|recipe|show|page|i)" + _END
)
_TIME = re.compile(
    r"^(time|timestamp|ts|date|datetime|unix_?time|created(_at)?|(event|click|view|rating)_?(time|date))$"
)
_RATING = re.compile(r"^(rating|ratings|score|stars|weight|count|plays|event|event_?type|action|behaviou?r)$")
_GROUP = re.compile(
    r"^(patient|subject|participant|person|speaker|user|customer|client|household|family|session|group|site|hospital)"
    + _END
)
_SPLIT = re.compile(r"^(split|set|subset|partition|part|fold|usage)$")
MIN_GROUPS = 10


@dataclass(frozen=True)
class Interactions:
    """The columns of a table of who took what."""

    user: str
    item: str
    time: str | None
    rating: str | None
    others: tuple[str, ...]


def interactions(columns: Sequence[ColumnGuess], wanted: Wanted | None = None) -> Interactions | None:
    """Find users and items; None: there are none, or the table is about something else.

    A table with a user and an item is taken for interactions if it has times or ratings, or nothing else; one whose
    user or item the user named is one in any case.
    """
    wanted = wanted or Wanted()
    user, item = wanted.user or _named(columns, _USER), wanted.item or _named(columns, _ITEM)
    if not user or not item or user == item:
        return None
    time, rating = wanted.time or _named(columns, _TIME), _named(columns, _RATING)
    roles = {user, item, time, rating}
    others = tuple(column.name for column in columns if column.name not in roles)
    said = wanted.user is not None or wanted.item is not None
    return Interactions(user, item, time, rating, others) if time or rating or not others or said else None


def group_of(columns: Sequence[ColumnGuess], target: str) -> str | None:
    """The column of people or places that several rows are about: its rows must not straddle train and test."""
    for column in columns:
        fits = column.num_distinct >= MIN_GROUPS and column.share_distinct <= 0.5 and column.kind != TEXT
        if column.name != target and fits and _GROUP.match(_plain(column.name)):
            return column.name
    return None


def split_of(frame: pd.DataFrame, columns: Sequence[ColumnGuess], target: str) -> str | None:
    """The column that says train, validation or test for each row."""
    for column in columns:
        if column.name == target or column.kind in (EMPTY, CONSTANT) or not _SPLIT.match(_plain(column.name)):
            continue
        words = {str(value).lower() for value in given(frame[column.name]).unique()}
        if column.num_missing == 0 and words <= set(SPLIT_WORDS) and "train" in {SPLIT_WORDS[word] for word in words}:
            return column.name
    return None


def _named(columns: Sequence[ColumnGuess], pattern: re.Pattern[str]) -> str | None:
    return next((column.name for column in columns if pattern.match(_plain(column.name))), None)


def _plain(name: str) -> str:
    """In small letters, words parted by `_`, RecBole's type (`user_id:token`) taken away."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip().split(":")[0]).lower().replace(" ", "_")


def check_roles(path: Path, target: str, roles: Mapping[str, str]) -> None:
    """Refuse a column that has two roles, and roles that do not go together.

    Args:
        path: The path of the table.
        target: The column to be predicted.
        roles: The column of each role that is taken: group, time, weight.

    Raises:
        DataError: One is.
    """
    taken = {target: "target"}
    for role, name in roles.items():
        if name in taken:
            why = f"column '{name}' is the {taken[name]} already"
            raise DataError(path, None, why, fix=f"name another --{role}")
        taken[name] = role
    if "time" in roles and "group" in roles:
        why = f"the latest rows are the test set, so rows of one '{roles['group']}' may stand on both sides"
        raise DataError(path, None, why, fix="give --time or --group")
