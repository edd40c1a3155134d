"""A table row's parts: its columns, each brought to what is usual in train, and known categories to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from flywheel.modality.tabular.data.columns import CategoryColumn, Column, NumericColumn
from flywheel.modality.tabular.data.preprocessor import TabularPreprocessor
from flywheel.preprocessor.base import Preprocessor
from flywheel.project.types import Json
from flywheel.serving.row import Load, Parts, characters_of, objects, one_each

MAX_CHOICES = 200
ISO = "ISO8601"


def choices_of(inputs: Preprocessor) -> dict[str, list[Json]]:
    """Give the values of each category, the most frequent first."""
    columns = [one for one in cast(TabularPreprocessor, inputs).columns if isinstance(one, CategoryColumn)]
    return {one.name: [{"value": value} for value in one.values[:MAX_CHOICES]] for one in columns}


def load_of(inputs: Preprocessor, row: Json) -> Load:
    """Count the characters of the columns that are used."""
    columns = cast(TabularPreprocessor, inputs).columns
    return Load(characters=sum(characters_of(row.get(column.name)) for column in columns))


def parts_of(inputs: Preprocessor, frame: pd.DataFrame) -> list[Parts]:
    """Give the columns; numbers are hidden by train's median, categories by its most frequent one."""
    table = cast(TabularPreprocessor, inputs)
    columns = [(column, usual_of(column, table.rules.date_formats)) for column in table.columns]
    shown = [(column.name, usual) for column, usual in columns if usual is not None]
    hidden = frame.iloc[[0] * len(shown)].reset_index(drop=True)
    for place, (name, usual) in enumerate(shown):
        values = [frame[name].iloc[0] if name in frame.columns else None] * len(shown)
        values[place] = usual
        hidden[name] = objects(values)
    about = {
        "names": [name for name, _ in shown],
        "values": [_plain(frame[name].iloc[0]) if name in frame.columns else None for name, _ in shown],
        "usual": [usual for _, usual in shown],
    }
    return [Parts("columns", hidden, one_each(len(shown)), about)]


def usual_of(column: Column, date_formats: Sequence[str]) -> Any:
    """What a column is in train, as people write it: the median, or the most frequent value; None: not known.

    Args:
        column: The name of a column of the table.
        date_formats: Date formats of the table; the first one is used.
    """
    if isinstance(column, NumericColumn):
        if column.kind == "date":
            day = np.datetime64(int(np.floor(column.fill)), "D")
            form = next(iter(date_formats), ISO)
            return str(day) if form == ISO else day.item().strftime(form)
        return bool(column.fill) if column.kind == "boolean" else column.fill
    return column.values[0] if isinstance(column, CategoryColumn) and column.values else None


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, str | int | float | bool) and value == value else None
