"""One name for values that mean the same: labels, categories, users and groups, whoever wrote the file or the request.

JSON has `true` where CSV has `True` or `TRUE`, a column with missing values has `1.0` where another has `1`, and a file
that was saved again on another system has other line ends inside quoted cells, and letters and accents apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

Array = np.ndarray[Any, Any]

BOOLEANS = ("true", "false")
_DIGITS = re.compile(r"[+-]?[0-9]+")


def one_line_end(text: str) -> str:
    """Write every end of a line as one line feed."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def whole_text(text: str, decimal: str) -> str:
    """Write a whole number without a fraction of zeros, `3` for `3.0`; any other text stays as it is."""
    whole, sign, fraction = text.rpartition(decimal)
    return whole if sign and _DIGITS.fullmatch(whole) and fraction and not fraction.strip("0") else text


def plain_text(text: str, decimal: str = ".") -> str:
    """Give the one form of a text: no space round it, one kind of line end, `3` for `3.0`, `true` for `TRUE`.

    Letters and accents are composed (NFC).

    Args:
        text: Text from a file or a request.
        decimal: Character before the fraction.
    """
    text = one_line_end(text).strip()
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if text[-1:] == "0" and decimal in text:
        return whole_text(text, decimal)
    if text[-1:] in "eE" and text.lower() in BOOLEANS:
        return text.lower()
    return text


def name_of(value: Any) -> str | None:
    """Give the name that a value is, whatever its type: `3` for 3, 3.0 and '3.0'; None where nothing is left of it."""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return plain_text(str(value)) or None


def factorised(values: Any) -> tuple[Array, Array]:
    """Give each value's place, int64 [N], among the different ones, and these; -1 where it is missing.

    As `pandas.factorize`, which takes True, 1 and 1.0 for one value and gives the first of them.

    Raises:
        TypeError: A value has no hash, as a list has none.
    """
    series = values if isinstance(values, pd.Series) else pd.Series(values, dtype=object)
    if series.dtype == object and any(isinstance(value, bool | np.bool_) for value in series):
        series = series.map(lambda value: name_of(value) if isinstance(value, bool | np.bool_) else value)
    codes, distinct = pd.factorize(series)
    return np.asarray(codes), np.asarray(distinct, dtype=object)


def names_of(values: Any) -> Array:
    """Give the name of each value, object [N], None where it is missing; each distinct value is looked at once."""
    codes, distinct = factorised(values)
    names: Array = np.array([*map(name_of, distinct), None], dtype=object)[codes]
    return names


def object_column(values: Iterable[Any]) -> np.ndarray[Any, Any]:
    """Hold values as they are, one a row, where numpy would make one large array of them."""
    return np.fromiter(values, dtype=object)
