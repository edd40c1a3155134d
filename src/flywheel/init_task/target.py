"""Which column is to be told from the others, and whether it is a class or a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from flywheel.errors import DataError, nearest
from flywheel.init_task import columns as kinds
from flywheel.init_task.columns import Column, given_labels, look_at
from flywheel.init_task.guess import CLASS, NUMBER, counted, listed
from flywheel.init_task.notation import read_numbers
from flywheel.init_task.sample import TableSample
from flywheel.preprocessor.tabular_values import ValueRules

MAX_NUMBER_CLASSES = 20
MIN_ROWS_A_NUMBER = 5
MAX_STRANGE = 10
RULE = (
    f"words are classes; whole numbers with at most {MAX_NUMBER_CLASSES} values, {MIN_ROWS_A_NUMBER} rows a value or "
    "more, are classes; other numbers are a quantity"
)
TARGET_NAMES = (
    "label", "labels", "target", "class", "y", "outcome", "response", "category", "diagnosis", "species", "sentiment",
    "intent", "topic", "result", "survived", "churn", "churned", "default", "fraud", "is_fraud", "spam", "is_spam",
    "quality", "grade", "price", "value",
)  # fmt: skip
_NO_TARGET = (kinds.IDENTIFIER, kinds.TEXT, kinds.DATE, kinds.CONSTANT, kinds.EMPTY)


@dataclass(frozen=True)
class Target:
    """What is to be told.

    Attributes:
        name: Its column.
        kind: `CLASS` or `NUMBER`.
        why_column: Why this column.
        why_kind: Why this kind.
        num_unlabelled: Rows of the sample without a value.
        strange: Values of a numeric target that are no numbers; they count as missing.
    """

    name: str
    kind: str
    why_column: str
    why_kind: str
    num_unlabelled: int
    strange: tuple[str, ...] = ()


def choose(
    sample: TableSample, columns: Sequence[Column], rules: ValueRules, wanted: str | None, kind: str | None
) -> Target:
    """Choose the target's column and its kind.

    Args:
        sample: The rows.
        columns: What each column holds.
        rules: How values are written.
        wanted: The column that the user named; None: by its name, or else by its place.
        kind: `CLASS` or `NUMBER` where the user said it.

    Raises:
        DataError: There is no such column, none can be meant, or it holds nothing to be told.
    """
    found_column, why = _column(sample, columns, wanted)
    column = look_at(sample.frame[found_column.name], rules, given_labels)
    values = given_labels(sample.frame[column.name])
    if not column.num_present:
        mend = "label some rows, or name another --target"
        raise DataError(sample.path, None, f"column '{column.name}' holds no labels", mend=mend)
    if column.num_distinct == 1:
        one = f"all {len(values):,} labels of '{column.name}' are '{column.example}'"
        why_not = f"{one}: there is nothing to tell apart"
        raise DataError(sample.path, None, why_not, mend="add rows of another class, or name another --target")
    as_numbers = read_numbers(values, rules)
    strange = values[as_numbers.isna()]
    found, why_kind = _kind(column, len(values), kind)
    if found == NUMBER and len(strange):
        names = [str(name) for name in strange.value_counts().index]
        if len(strange) == len(values) or len(names) > MAX_STRANGE:
            why_not = f"'{column.name}' is no number in {counted(len(strange), 'row')} (such as '{names[0]}')"
            raise DataError(sample.path, int(strange.index[0]), why_not, mend="mend these values, or say --kind class")
        return Target(column.name, found, why, why_kind, column.num_missing + len(strange), tuple(names))
    return Target(column.name, found, why, why_kind, column.num_missing)


def _column(sample: TableSample, columns: Sequence[Column], wanted: str | None) -> tuple[Column, str]:
    by_name = {column.name: column for column in columns}
    if wanted is not None:
        if wanted in by_name:
            return by_name[wanted], "you named it"
        if wanted in sample.nested:
            raise DataError(sample.path, None, f"column '{wanted}' holds lists or objects", mend="give plain values")
        near = [name for name in by_name if name.strip().lower() == wanted.strip().lower()]
        if len(near) == 1:
            return by_name[near[0]], f"you named '{wanted}'"
        raise DataError(sample.path, None, f"no column '{wanted}'", mend=nearest(wanted, by_name))
    plain = {name.strip().lower(): column for name, column in by_name.items()}
    for name in TARGET_NAMES:
        if name in plain:
            return plain[name], "by its name"
    for place, column in (("last", columns[-1]), ("first", columns[0])):
        if len(columns) > 1 and column.kind not in _NO_TARGET and (column.kind != kinds.MIXED):
            return column, f"the {place} column, as none has a target's name; --target COLUMN names another"
    mend = f"name it: --target COLUMN, one of {listed(list(by_name), 12)}"
    raise DataError(sample.path, None, "no column looks like a target", mend=mend)


def _kind(column: Column, num_given: int, wanted: str | None) -> tuple[str, str]:
    if wanted is not None:
        return wanted, "you said so"
    each = num_given / max(column.num_distinct, 1)
    if column.meant == kinds.NUMBER:
        return NUMBER, f"most values are numbers, but not {listed([repr(value) for value in column.strange], 3)}"
    if not column.is_numeric:
        return CLASS, "its values are words"
    distinct = counted(column.num_distinct, "different value")
    few = column.num_distinct <= MAX_NUMBER_CLASSES and (each >= MIN_ROWS_A_NUMBER or column.num_distinct == 2)
    if column.is_whole and few:
        return CLASS, f"whole numbers with {distinct}, {each:,.0f} rows each on average"
    what = "whole numbers" if column.is_whole else "numbers with fractions"
    return NUMBER, f"{what} with {distinct}"


def class_counts(sample: TableSample, target: Target, distinct: Sequence[str] | None = None) -> pd.Series:
    """Rows of each class, most frequent first.

    Args:
        sample: The table's rows, or some of them.
        target: What is to be told.
        distinct: Columns in which rows must differ to count as two (copies of a text); None: every row counts.
    """
    labels = given_labels(sample.frame[target.name])
    if distinct is not None:
        rows = sample.frame.loc[labels.index, list(dict.fromkeys([*distinct, target.name]))]
        labels = labels[~rows.duplicated()]
    return labels.value_counts()
