"""Puts pictures and labels of consecutive rows into one frame, as every picture reader yields it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from flywheel.reader.format.value import object_column

MAX_CHUNK_BYTES = 64 * 1024 * 1024
"""Decoded pixels that a reader puts into one frame at most, however many rows it was asked for."""


def image_frame(
    images: Iterable[Any], labels: Any, first_row: int, errors: Sequence[str | None] | None = None
) -> pd.DataFrame:
    """Make a frame with the columns `image`, `label` and, where some row is bad, `error`.

    Args:
        images: A picture a row; None where there is none.
        labels: Label of each row.
        first_row: Number of the first row in the raw file.
        errors: What is wrong with each row, or None.
    """
    column = object_column(images)
    index = pd.RangeIndex(first_row, first_row + len(column))
    columns: dict[str, Any] = {"image": column, "label": labels}
    if errors is not None and any(errors):
        columns["error"] = pd.Series(errors, index=index, dtype=object)
    return pd.DataFrame(columns, index=index)


def rows_per_chunk(rows: int, row_bytes: int) -> int:
    """Limit a number of rows so that a chunk of them stays within `MAX_CHUNK_BYTES`."""
    return max(1, min(rows, MAX_CHUNK_BYTES // max(1, row_bytes)))
