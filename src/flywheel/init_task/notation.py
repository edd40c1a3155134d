"""How numbers and dates are written in a table: decimal commas, marks of thousands, the order of day and month."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from flywheel.init_task.guess import Node
from flywheel.preprocessor.values import DATE_FORMATS, ValueRules, numbers_of

LOOKED_AT = 2000
MEANT = 0.95
"""Share of a column's values that shows what it means."""

_DECIMAL_COMMA = re.compile(r"[-+]?(\d+|\d{1,3}(\.\d{3})+),\d+")
_WHOLE = re.compile(r"[-+]?\d+")
_DECIMAL_POINT = re.compile(r"[-+]?\d*\.\d+")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?")
_GROUPED = re.compile(r"[-+]?\d{1,3}(\.\d{3})+(,\d+)?")
_SLASHES = re.compile(r"(\d{1,2})/(\d{1,2})/\d{4}")
DAY_FIRST, MONTH_FIRST = "%d/%m/%Y", "%m/%d/%Y"


def notation_of(frame: pd.DataFrame) -> tuple[ValueRules, str]:
    """Find how a table's values are written.

    Returns:
        The rules, and a warning about dates that can be read in two ways (empty: there are none).
    """
    columns = [[value for value in frame[name].iloc[:LOOKED_AT].str.strip() if value] for name in frame.columns]
    rules, (formats, doubt) = _numbers(columns), _dates(columns)
    return replace(rules, date_formats=formats), doubt


def settings_of(rules: ValueRules) -> Node:
    """What differs from the tabular preprocessor's defaults."""
    usual = ValueRules()
    names = ("thousands", "decimal", "date_formats")
    found: Node = {name: getattr(rules, name) for name in names if getattr(rules, name) != getattr(usual, name)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def read_numbers(values: pd.Series, rules: ValueRules) -> pd.Series:
    """Values as float64; NaN where they are missing or no numbers."""
    return pd.Series(numbers_of(values.str.strip().to_numpy(object), rules), index=values.index, dtype=np.float64)


def _numbers(columns: list[list[str]]) -> ValueRules:
    """A comma with other than three digits behind it is a decimal comma; else commas part thousands."""
    decimal = [column for column in columns if _mostly(column, _DECIMAL_COMMA, _WHOLE) and not _thousands_only(column)]
    if decimal:
        grouped = any(_count(column, (_GROUPED,)) for column in decimal)
        return ValueRules(decimal=",", thousands="." if grouped else None)
    thousands = [column for column in columns if _mostly(column, _THOUSANDS, _WHOLE, _DECIMAL_POINT)]
    return ValueRules(thousands="," if any(_count(column, (_THOUSANDS,)) for column in thousands) else None)


def _thousands_only(column: list[str]) -> bool:
    """Whether no value has a comma that must be a decimal one."""
    return not any(_DECIMAL_COMMA.fullmatch(value) and not _THOUSANDS.fullmatch(value) for value in column)


def _dates(columns: list[list[str]]) -> tuple[tuple[str, ...], str]:
    """The formats of dates; those with slashes are told by a day above 12."""
    held = [value for column in columns if _mostly(column, _SLASHES) for value in column]
    dates = [match for value in held if (match := _SLASHES.fullmatch(value))]
    if not dates:
        return DATE_FORMATS, ""
    first, second = (max(int(match[place]) for match in dates) for place in (1, 2))
    if first > 12 >= second:
        return (*DATE_FORMATS, DAY_FIRST), ""
    if second > 12 >= first:
        return (*DATE_FORMATS, MONTH_FIRST), ""
    fix = f"add '{DAY_FIRST}' or '{MONTH_FIRST}' to preprocess.inputs.date_formats"
    return DATE_FORMATS, f"Dates such as '{dates[0][0]}' can be read in two ways: {fix}."


def _mostly(values: list[str], *patterns: re.Pattern[str]) -> bool:
    return bool(values) and _count(values, patterns) >= MEANT * len(values)


def _count(values: Iterable[str], patterns: tuple[re.Pattern[str], ...]) -> int:
    return sum(any(pattern.fullmatch(value) for pattern in patterns) for value in values)
