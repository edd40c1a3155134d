"""Parses values of a table: missing, a number, true or false, a date, or a text as it is.

A value means the same wherever it comes from: 3 in Parquet, 3.0 in JSON and `3` in CSV are all read by way of the text
`3`, and 2.75 in JSON by way of `2,75` where the fraction is after a comma.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from flywheel.project.errors import ConfigError
from flywheel.reader.format.value import plain_text

Array = np.ndarray[Any, Any]

MISSING = ("", "na", "n/a", "#n/a", "nan", "null", "none", "<na>", "nat", "?", "-")
"""What stands for a missing value, in lower case."""
DATE_FORMATS = ("ISO8601", "%d.%m.%Y", "%Y/%m/%d")
"""Those that can be read in one way only; 03/04/2024 is the 3rd of April or the 4th of March, so it must be stated."""
BOOLEANS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "y": 1.0, "n": 0.0, "t": 1.0, "f": 0.0,
            "on": 1.0, "off": 0.0, "1": 1.0, "0": 0.0}  # fmt: skip
LARGEST = float(np.finfo(np.float32).max)
NESTED = "\0nested"
"""Stands for a list or a mapping, which no column of a table holds."""
LARGEST_WHOLE = 2**53  # from here on a float does not tell whole numbers apart


@dataclass(frozen=True)
class ValueRules:
    """The format of a table's values.

    Attributes:
        missing: Texts that mean a missing value, besides null; case is ignored.
        thousands: Character between groups of digits, as in 1,234; None: there is none.
        decimal: Character before the fraction.
        percent: Whether `12%` is the number 0.12; else it is not a number.
        date_formats: Formats of `datetime.strptime`, and ISO8601; the first that fits a value is used.
    """

    missing: Sequence[str] = MISSING
    thousands: str | None = None
    decimal: str = "."
    percent: bool = False
    date_formats: Sequence[str] = DATE_FORMATS

    def check(self, where: str) -> None:
        """Refuse marks that are ambiguous.

        Raises:
            ConfigError: `thousands` or `decimal` is not one character, or both are the same.
        """
        for name, mark in (("thousands", self.thousands), ("decimal", self.decimal)):
            if mark is not None and len(mark) != 1:
                raise ConfigError(f"{name} '{mark}' is not one character", where=where)
        if self.thousands == self.decimal:
            raise ConfigError(f"thousands and decimal are both '{self.decimal}'", where=where)


def texts_of(values: pd.Series, rules: ValueRules) -> Array:
    """Give each value as a text in its one form (`plain_text`), None where it is missing; object [N].

    Numbers get the decimal sign that `rules` states, as if they stood in a CSV file; lists and mappings are `NESTED`.
    """
    kind = values.dtype.kind if isinstance(values.dtype, np.dtype) else ""
    texts: Any
    if kind in ("i", "u"):
        texts = map(str, values.tolist())
    elif kind == "f":
        texts = (_float_text(value, rules.decimal) for value in values.tolist())
    elif pd.api.types.is_string_dtype(values.dtype) and values.dtype != object:
        texts = (plain_text(text, rules.decimal) if isinstance(text, str) else None for text in values.to_numpy(object))
    else:
        texts = (_text(value, rules.decimal) for value in values)
    missing = {plain_text(str(word), rules.decimal).lower() for word in rules.missing}
    return np.fromiter((None if _is_missing(text, missing) else text for text in texts), object, len(values))


def numbers_of(texts: Array, rules: ValueRules) -> Array:
    """Read numbers, float64 [N]: NaN where a text is none, is infinite or too large for 32 bits, or is missing."""
    series = pd.Series(texts, dtype=object)
    if rules.thousands is not None:
        series = series.str.replace(rules.thousands, "", regex=False)
    if rules.decimal != ".":
        series = series.str.replace(rules.decimal, ".", regex=False)
    shares = None
    if rules.percent:
        shares = series.str.endswith("%").fillna(False).to_numpy(bool)
        series = series.where(~shares, series.str.removesuffix("%").str.strip())
    found = pd.to_numeric(series, errors="coerce").to_numpy(np.float64)
    if shares is not None:
        found = np.where(shares, found / 100, found)
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(found) <= LARGEST, found, np.nan)


def booleans_of(texts: Array) -> Array:
    """Read truth values, 1.0 and 0.0 as float64 [N]: NaN where a text is none, or is missing."""
    found = (np.nan if text is None else BOOLEANS.get(text.lower(), np.nan) for text in texts)
    return np.fromiter(found, dtype=np.float64, count=len(texts))


def days_of(texts: Array, rules: ValueRules) -> Array:
    """Read points in time as days since 1970, float64 [N]: NaN where a text is none, or is missing.

    Each value is read by the first format that can; one without a time zone is UTC.
    """
    days = np.full(len(texts), np.nan)
    for form in rules.date_formats:
        left = np.isnan(days)
        if not left.any():
            break
        series = pd.Series(texts[left], dtype=object)
        found = pd.DatetimeIndex(pd.to_datetime(series, format=form, errors="coerce", utc=True))
        days[left] = np.where(found.isna(), np.nan, found.as_unit("us").asi8 / 86_400e6)
    return days


def present(texts: Array) -> Array:
    """Which values are not missing, bool [N]."""
    return np.fromiter((text is not None for text in texts), dtype=bool, count=len(texts))


def values_of(kind: str, texts: Array, rules: ValueRules) -> Array:
    """Read a kind's values as float64 [N], NaN where they are missing or cannot be read (categories: 0 where they can).

    Args:
        kind: number, boolean, date, category or identifier.
        texts: Output of `texts_of`.
        rules: Format of the values.
    """
    if kind == "number":
        return numbers_of(texts, rules)
    if kind == "boolean":
        return booleans_of(texts)
    if kind == "date":
        return days_of(texts, rules)
    return np.fromiter((np.nan if text is None or text == NESTED else 0.0 for text in texts), np.float64, len(texts))


def _is_missing(text: Any, missing: set[str]) -> bool:
    return text is None or text != text or text.lower() in missing


def _text(value: Any, decimal: str) -> str | None:
    if isinstance(value, str):
        return plain_text(value, decimal)
    if isinstance(value, list | tuple | dict | set | np.ndarray):
        return NESTED
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, float | np.floating):
        return _float_text(float(value), decimal)
    if isinstance(value, Decimal):
        return _decimal_text(value, decimal)
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    return str(value.isoformat() if hasattr(value, "isoformat") else value).strip()


def _float_text(value: float, decimal: str) -> str | None:
    if math.isnan(value):
        return None
    is_whole = value.is_integer() and abs(value) < LARGEST_WHOLE
    return str(int(value)) if is_whole else repr(value).replace(".", decimal)


def _decimal_text(value: Decimal, decimal: str) -> str | None:
    if value.is_nan():
        return None
    is_whole = value.is_finite() and abs(value) < LARGEST_WHOLE and value == int(value)
    return str(int(value)) if is_whole else str(value).replace(".", decimal)
