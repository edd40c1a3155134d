"""Guesses which column is the target, and whether it is a class or a number."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from flywheel.init_task import columns as kinds
from flywheel.init_task.columns import ColumnGuess, given_labels, look_at
from flywheel.init_task.guess import CLASS, NUMBER, Wanted, counted, listed
from flywheel.init_task.notation import read_numbers
from flywheel.init_task.sample import TableSample
from flywheel.preprocessor.values import ValueRules
from flywheel.project.errors import DataError, nearest

MAX_NUMBER_CLASSES = 20
MIN_ROWS_A_NUMBER = 5
MAX_STRANGE = 10
RULE = (
    f"words are classes; whole numbers with at most {MAX_NUMBER_CLASSES} values, {MIN_ROWS_A_NUMBER} rows a value or "
    "more, are classes; other numbers are a quantity"
)
SURE_NAMES = (
    "label", "labels", "target", "outcome", "response", "diagnosis", "species", "sentiment", "survived", "churn",
    "churned", "fraud", "is_fraud", "spam", "is_spam",
)  # fmt: skip
"""Names of targets wherever they stand, if no other column has such a name."""
END_NAMES = (
    "class", "y", "category", "intent", "topic", "result", "default", "quality", "grade", "price", "value",
)  # fmt: skip
"""Names that inputs have as well: those of a target where they stand last or first."""
AXES = ("x", "z")
"""Beside one of these, `y` is a coordinate."""
_NO_TARGET = (kinds.IDENTIFIER, kinds.TEXT, kinds.DATE, kinds.CONSTANT, kinds.EMPTY)


@dataclass(frozen=True)
class TargetGuess:
    """The guessed target.

    Attributes:
        name: Column of the target.
        kind: `CLASS` or `NUMBER`.
        why_column: Reason for this column.
        why_kind: Reason for this kind.
        num_unlabelled: Rows of the sample without a value.
        strange: Values of a numeric target that are not numbers; they count as missing.
    """

    name: str
    kind: str
    why_column: str
    why_kind: str
    num_unlabelled: int
    strange: tuple[str, ...] = ()


def choose(
    sample: TableSample, columns: Sequence[ColumnGuess], rules: ValueRules, wanted: Wanted, taken: Collection[str] = ()
) -> TargetGuess:
    """Choose the target's column and its kind.

    Args:
        sample: The sampled rows.
        columns: The guessed columns.
        rules: Format of the values.
        wanted: The user's options.
        taken: Columns that have another role.

    Raises:
        DataError: There is no such column, none can be meant, several can and nobody is there to be asked, or it holds
            nothing to be predicted.
    """
    found_column, why = _column(sample, columns, wanted, taken)
    column = look_at(sample.frame[found_column.name], rules, given_labels)
    values = given_labels(sample.frame[column.name])
    if not column.num_present:
        fix = "label some rows, or name another --target"
        raise DataError(sample.path, None, f"column '{column.name}' holds no labels", fix=fix)
    if column.num_distinct == 1:
        one = f"all {len(values):,} labels of '{column.name}' are '{column.example}'"
        why_not = f"{one}: there is nothing to tell apart"
        raise DataError(sample.path, None, why_not, fix="add rows of another class, or name another --target")
    as_numbers = read_numbers(values, rules)
    strange = values[as_numbers.isna()]
    found, why_kind = _kind(column, len(values), wanted.kind)
    if found == NUMBER and len(strange):
        names = [str(name) for name in strange.value_counts().index]
        if len(strange) == len(values) or len(names) > MAX_STRANGE:
            why_not = f"'{column.name}' is not a number in {counted(len(strange), 'row')} (such as '{names[0]}')"
            raise DataError(sample.path, int(strange.index[0]), why_not, fix="fix these values, or use --kind class")
        return TargetGuess(column.name, found, why, why_kind, column.num_missing + len(strange), tuple(names))
    return TargetGuess(column.name, found, why, why_kind, column.num_missing)


def _column(
    sample: TableSample, columns: Sequence[ColumnGuess], wanted: Wanted, taken: Collection[str]
) -> tuple[ColumnGuess, str]:
    if wanted.target is not None:
        return named(sample, columns, wanted.target, wanted.why)
    able = [column for column in columns if column.kind not in _NO_TARGET and column.name not in taken]
    able = [column for column in able if column.kind != kinds.MIXED] or able
    by_name = _by_name([column for column in columns if column.name not in taken])
    if len(by_name) == 1:
        return by_name[0], "by its name"
    if len(able) == 1 and len(columns) > 1:
        return able[0], "no other column can be one"
    likely = sorted(able, key=lambda column: (column not in by_name, -columns.index(column)))
    if not likely:
        fix = f"name it: --target COLUMN, one of {listed([column.name for column in columns], 12)}"
        raise DataError(sample.path, None, "no column looks like a target", fix=fix)
    if wanted.ask is None:
        shown = listed([f"'{column.name}' ({column.kind})" for column in likely], 8)
        fix = "name the one to be predicted: --target COLUMN"
        raise DataError(sample.path, None, f"the target is not certain: it may be {shown}", fix=fix)
    answer = wanted.ask(f"{sample.path.name}: which column is to be predicted?", [column.name for column in likely])
    return named(sample, columns, answer, "you named it")


def named(sample: TableSample, columns: Sequence[ColumnGuess], name: str, why: str) -> tuple[ColumnGuess, str]:
    """The column that the user named, and why it is taken.

    Raises:
        DataError: There is none, or it holds lists or objects.
    """
    by_name = {column.name: column for column in columns}
    if name in by_name:
        return by_name[name], why
    if name in sample.nested:
        raise DataError(sample.path, None, f"column '{name}' holds lists or objects", fix="give plain values")
    near = [own for own in by_name if own.strip().lower() == name.strip().lower()]
    if len(near) == 1:
        return by_name[near[0]], f"you named '{name}'"
    raise DataError(sample.path, None, f"no column '{name}'", fix=nearest(name, by_name))


def _by_name(columns: Sequence[ColumnGuess]) -> list[ColumnGuess]:
    """Columns with a target's name; some names are one at either end of the table only."""
    plain = {column.name.strip().lower(): column for column in columns}
    ends = [columns[place].name.strip().lower() for place in (0, -1)] if columns else []
    if any(axis in plain for axis in AXES):
        ends = [name for name in ends if name != "y"]
    return [column for name, column in plain.items() if name in SURE_NAMES or (name in END_NAMES and name in ends)]


def _kind(column: ColumnGuess, num_given: int, wanted: str | None) -> tuple[str, str]:
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


def class_counts(sample: TableSample, target: TargetGuess, distinct: Sequence[str] | None = None) -> pd.Series:
    """Rows of each class, most frequent first.

    Args:
        sample: The table's rows, or some of them.
        target: The target.
        distinct: Columns in which rows must differ to count as two (copies of a text); None: every row counts.
    """
    labels = given_labels(sample.frame[target.name])
    if distinct is not None:
        rows = sample.frame.loc[labels.index, list(dict.fromkeys([*distinct, target.name]))]
        labels = labels[~rows.duplicated()]
    return labels.value_counts()
