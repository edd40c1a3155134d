"""What a table could be learnt from in another way as well: said, so that the user may choose."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from flywheel.init_task.classes import MAX_DROPPED
from flywheel.init_task.columns import DATE, NUMBER, ColumnGuess, given_labels
from flywheel.init_task.guess import counted
from flywheel.init_task.sample import TableSample
from flywheel.preprocessor.pipeline.survey import read_weights
from flywheel.project.errors import DataError

RARE = 0.05
"""Share of the rows below which a class is rare."""
LABELS_APART = (";", "|", ",")
MIN_SEVERAL = 0.2
"""Share of values with several labels from which a column holds such."""
_WEIGHT = re.compile(
    r"(sample|case|row|instance|observation|obs|survey|frequency)[ _.-]?weights?|fnlwgt", re.IGNORECASE
)


def weight_of(columns: Sequence[ColumnGuess], target: str) -> str | None:
    """The column that says how much each row counts, by its name; None: there is none."""
    found = (column for column in columns if column.kind == NUMBER and _WEIGHT.fullmatch(column.name.strip()))
    return next((column.name for column in found if column.name != target), None)


def check_weights(sample: TableSample, name: str) -> None:
    """Refuse a column of weights that many rows have none in: `preprocess` would drop all these.

    Raises:
        DataError: More than `MAX_DROPPED` of the rows looked at have none.
    """
    faults = read_weights(sample.frame[name])[1].dropna()
    if len(faults) > MAX_DROPPED * len(sample.frame):
        many = f"{len(faults):,} of {len(sample.frame):,} rows looked at"
        why = f"column '{name}' is not a weight in {many}; of this one, "
        fix = "write numbers above 0, with a decimal point, or name another --weight"
        raise DataError(sample.path, int(faults.index[0]), why + faults.iloc[0], fix=fix)


def by_time(inputs: Sequence[ColumnGuess]) -> str:
    """That the latest rows could be the test set; empty: no input is a date."""
    name = next((column.name for column in inputs if column.kind == DATE), None)
    if name is None:
        return ""
    return f"'{name}' is a date, and the test rows are drawn from all times; --time {name} tests on the latest."


def of_classes(target: ColumnGuess, values: pd.Series) -> list[str]:
    """Advice on a class target: several labels a row, an order, a rare class.

    Args:
        target: Column of the target.
        values: The column's values, as in the file.
    """
    labels = given_labels(values)
    shares = labels.value_counts(normalize=True)
    return [said for said in (_several(target.name, labels), _order(target, shares), _rare(shares)) if said]


def _several(name: str, labels: pd.Series) -> str:
    for mark in LABELS_APART:
        if labels.str.contains(mark, regex=False).mean() < MIN_SEVERAL:
            continue
        parts = labels.str.split(mark, regex=False)
        alone = {part.strip() for each in parts for part in each}
        if len(alone) < labels.nunique():
            return (
                f"'{name}' seems to hold several labels a row, separated by '{mark}' ({len(alone)} in all): each "
                f"of the {counted(labels.nunique(), 'combination')} is learnt as a class. "
                "For one label, make a column of it."
            )
    return ""


def _order(target: ColumnGuess, shares: pd.Series) -> str:
    if not target.is_whole or len(shares) < 3:
        return ""
    return f"'{target.name}' counts; its classes are learnt without their order. --kind number predicts the quantity."


def _rare(shares: pd.Series) -> str:
    name, share = shares.index[-1], float(shares.iloc[-1])
    if share >= RARE or len(shares) > 2:
        return ""
    return (
        f"'{name}' is {share:.1%} of the rows, so that accuracy says little: look at its recall and precision, and at "
        "`/register: auc` in conf/task/."
    )
