"""Traits of a table's rows: the columns themselves, as they are sent."""

from __future__ import annotations

from typing import cast

import pandas as pd

from flywheel.modality.tabular.data.columns import NumericColumn
from flywheel.modality.tabular.data.preprocessor import TabularPreprocessor
from flywheel.monitor.trait.base import Traits, categories, numbers
from flywheel.preprocessor.base import Preprocessor
from flywheel.preprocessor.values import texts_of, values_of


def row_traits(inputs: Preprocessor, frame: pd.DataFrame) -> Traits:
    """Give every column that is an input: numbers and dates as numbers (NaN: missing), categories as texts."""
    table = cast(TabularPreprocessor, inputs)
    found: Traits = {}
    for column in table.columns:
        texts = texts_of(frame[column.name], table.rules)
        if isinstance(column, NumericColumn):
            found[column.name] = numbers(values_of(column.kind, texts, table.rules))
        else:
            found[column.name] = categories(texts)
    return found
