"""Whether classes can be learnt from: how many there are, and whether each has rows for train, validation and test."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from flywheel.init_task.guess import Guess, counted, listed
from flywheel.project.errors import DataError

MIN_ROWS = 10
MIN_CLASS_ROWS = 3
FEW_ROWS = 200
MANY_CLASSES = 1000
MAX_DROPPED = 0.05
"""`preprocess.max_dropped` of the groups in `conf/preprocess/`."""


def check_classes(guess: Guess, path: Path, what: str, counts: pd.Series, *, is_whole: bool, numeric: bool) -> None:
    """Refuse classes that cannot be learnt, leave out a few rare ones, warn of many.

    Args:
        guess: Takes the classes, notes and warnings.
        path: Path to name in messages.
        what: The target in words, such as `'species'`.
        counts: Rows of each class, most frequent first.
        is_whole: Whether all rows were counted.
        numeric: Whether the classes are numbers, which could be a quantity.

    Raises:
        DataError: There is one class only, almost every row has one of its own, or too many have too few rows.
    """
    total, num_classes = int(counts.sum()), len(counts)
    if num_classes < 2:
        name = counts.index[0] if num_classes else ""
        why = f"has one class only, '{name}': there is nothing to tell apart" if name else "has no classes"
        raise DataError(path, None, why, fix="add examples of another class")
    if num_classes > max(20, total / 2):
        why = f"{what} has {num_classes:,} classes in {total:,} rows: it looks like an identifier or free text"
        fix = "predict it as a quantity: --kind number" if numeric else "name another column: --target COLUMN"
        raise DataError(path, None, why, fix=fix)
    guess.num_classes = num_classes
    if num_classes > MANY_CLASSES:
        guess.warn(f"{what} has {num_classes:,} classes: the network's last layer and the report grow with them.")
    rare = counts[counts < MIN_CLASS_ROWS]
    if not len(rare):
        return
    shown = listed([f"'{name}' ({number})" for name, number in rare.items()], 3)
    few = f"{counted(len(rare), 'class')} with fewer than {MIN_CLASS_ROWS} rows: {shown}"
    if not is_whole:
        guess.warn(f"In the sample, {few}. If the whole data have no more, preprocessing refuses them.")
    elif rare.sum() > MAX_DROPPED * total or num_classes - len(rare) < 2:
        fix = "add rows of them, join them to other classes, or name another column: --target COLUMN"
        why = f"{what} has {few}; train, validation and test need one each"
        raise DataError(path, None, why, fix=fix)
    else:
        guess.num_classes = num_classes - len(rare)
        kept = counts.index.difference(rare.index)
        guess.target_settings["classes"] = sorted(map(str, kept), key=_order(list(map(str, kept))))
        guess.warn(f"Left out: {few}. `preprocess.target.classes` lists the others.")


def check_rows(
    guess: Guess, path: Path, num_rows: int, num_unlabelled: int, num_rare: int = 0, share: float | None = None
) -> None:
    """Count rows without a label, raise the limit of dropped rows if they are many, and refuse too few rows.

    Args:
        guess: Takes the number of rows, the limit and warnings.
        path: Path to name in messages.
        num_rows: Number of all rows found.
        num_unlabelled: The number of these rows that have no label.
        num_rare: Rows of classes that are left out.
        share: The largest share of rows that may be dropped in any split; None: those without a label and
            rare ones.

    Raises:
        DataError: Fewer than `MIN_ROWS` rows are left.
    """
    labelled = num_rows - num_unlabelled - num_rare
    guess.num_rows = labelled
    if labelled < MIN_ROWS:
        why = f"has {counted(labelled, 'labelled row')}, at least {MIN_ROWS} are needed for train, validation and test"
        raise DataError(path, None, why, fix="add rows")
    most = (num_unlabelled + num_rare) / num_rows if share is None else share
    if num_unlabelled:
        guess.warn(f"{counted(num_unlabelled, 'row')} of {num_rows:,} without a label: preprocess drops them.")
    if most > MAX_DROPPED:
        limit = min(math.ceil(most * 100 + 1) / 100, 1.0)
        guess.preprocess["max_dropped"] = limit
        raised = f"preprocess.max_dropped is raised from {MAX_DROPPED} to {limit}"
        what = f"That is {most:.0%} of the rows" if share is None else f"Up to {most:.0%} of a split's rows are dropped"
        guess.warn(f"{what}, so {raised}.")
    if labelled < FEW_ROWS:
        guess.warn(f"With {counted(labelled, 'row')} the test set is small: look at the intervals in the report.")


def _order(names: list[str]) -> Callable[[str], Any]:
    """How classes are sorted: those that are whole numbers as numbers."""
    return int if all(name.isascii() and name.isdigit() for name in names) else str
