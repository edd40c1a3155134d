"""Rows as people have them, arrays, mappings, lists, become the frame that a preprocessor takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from flywheel.project.errors import DataError, nearest
from flywheel.project.types import Json

WHERE = "input"


def frame_of(data: Any, schema: Json, aliases: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Make a frame with one row an example.

    Args:
        data: A frame; a mapping of column to values; a list of mappings; or, where an example has one input only,
            an array [N, ...] or a list of that input's values.
        schema: JSON Schema of one request, as `Preprocessor.schema()` gives it.
        aliases: Other names of inputs, as `TaskPreprocessor.aliases` gives them.

    Raises:
        DataError: It is none of these, or a column is missing.
    """
    names = list(schema.get("properties", {}))
    if isinstance(data, pd.Series):
        data = list(data)
    if isinstance(data, list | tuple) and data and all(isinstance(row, Mapping) for row in data):
        data = {name: [row.get(name) for row in data] for name in dict.fromkeys(key for row in data for key in row)}
    if isinstance(data, np.ndarray | list | tuple):
        if len(names) != 1:
            raise DataError(WHERE, None, "holds values without names", fix=f"name the columns {', '.join(names)}")
        data = {names[0]: data}
    if isinstance(data, Mapping):
        data = _frame(data)
    if not isinstance(data, pd.DataFrame):
        raise DataError(WHERE, None, f"a {type(data).__name__} holds no rows", fix="give a frame, an array or a list")
    also = {old: new for old, new in (aliases or {}).items() if old in data.columns and new not in data.columns}
    frame: pd.DataFrame = data.rename(columns=also) if also else data
    for name in schema.get("required", []):
        if name not in frame.columns:
            raise DataError(WHERE, None, f"has no column '{name}'", fix=nearest(name, map(str, frame.columns)))
    return frame


def _frame(columns: Mapping[Any, Any]) -> pd.DataFrame:
    """Hold each row's value as it is, also where it is an array."""
    lengths = {name: len(values) if hasattr(values, "__len__") else -1 for name, values in columns.items()}
    if min(lengths.values(), default=0) < 0 or len(set(lengths.values())) > 1:
        raise DataError(WHERE, None, f"columns hold different numbers of rows: {lengths}", fix="give one value a row")
    return pd.DataFrame({name: np.fromiter(values, dtype=object) for name, values in columns.items()})


def plain(value: Any) -> Any:
    """Make plain JSON of a raw value: arrays become nested lists, numpy's numbers Python's."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value
