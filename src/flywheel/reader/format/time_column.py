"""A column of times: numbers and dates become seconds since 1970, the whole column in one unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flywheel.project.errors import DataError

Array = np.ndarray[Any, Any]

UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
"""How many of each unit are a second."""
NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
LEAST = [1e8, 1e11, 1e14, 1e17]
"""From which size on a number is a time since 1970 in each of these units: 1e11 milliseconds are in 1973, 1e11 seconds
in the year 5138. Smaller numbers are counts, or times near 1970: they do not tell their unit."""


def read_times(values: pd.Series) -> tuple[Array, Array]:
    """Read numbers as they are, and dates as seconds since 1970 (UTC where no zone is given).

    Returns:
        float64 [N], NaN where a value is neither; and which values are dates, bool [N].
    """
    if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "M":
        return _since_1970(pd.to_datetime(values, utc=True)), np.ones(len(values), bool)
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
    unread = ~np.isfinite(numbers)
    if not unread.any():
        return numbers, np.zeros(len(values), bool)
    texts = values.astype(object).where(pd.Series(unread, index=values.index))
    dates = _since_1970(pd.to_datetime(texts, errors="coerce", utc=True, format="ISO8601"))
    return np.where(unread, dates, numbers), unread & np.isfinite(dates)


def in_seconds(path: Path, times: Array, is_date: Array, unit: str | None) -> Array:
    """Bring the numbers of a whole column to seconds, as its dates are.

    Numbers of the size that times since 1970 have in milliseconds, microseconds or nanoseconds are divided; smaller
    ones (counts, days) stay as they are, because only their order matters.

    Args:
        path: The file, for messages.
        times: Output of `read_times`, float64 [N]; values that are not finite stay so.
        is_date: Whether each is a date, bool [N].
        unit: The unit of the numbers: a key of `UNITS`; None: what their size says.

    Raises:
        DataError: The column holds numbers and dates, or numbers of several units, and `unit` does not say which.
    """
    if unit is not None:
        return np.where(is_date, times, times / UNITS[unit])
    known = np.isfinite(times)
    size = np.digitize(np.abs(times), LEAST)
    kinds = {"dates": known & is_date, "numbers": known & ~is_date & (size == 0)}
    kinds |= {name: known & ~is_date & (size == place) for place, name in enumerate(UNITS, start=1)}
    found = [name for name, chosen in kinds.items() if chosen.any() and name != "numbers"]
    if len(found) > 1 or (found == ["dates"] and kinds["numbers"].any()):
        said = " and ".join(
            f"{NAMES.get(name, name)} ({int(kinds[name].sum()):,} rows, row {int(kinds[name].argmax())} first)"
            for name in (found if len(found) > 1 else ("dates", "numbers"))
        )
        fix = "write all times in one way, or state the numbers' unit, as in data.reader.read.time_unit: ms"
        raise DataError(path, None, f"mixes times in {said}, so their order is not known", fix=fix)
    return times / UNITS[found[0]] if found and found != ["dates"] else times


def _since_1970(dates: Any) -> Array:
    return np.asarray((dates - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(np.float64))
