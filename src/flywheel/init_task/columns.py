"""What one column of a table holds: numbers, dates, categories, free text, row names, or nothing of use.

The kinds of inputs are those that the tabular preprocessor will infer, by its own rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from flywheel.preprocessor.column_evidence import MAX_DISTINCT, ColumnEvidence
from flywheel.preprocessor.column_types import MANY, TEXT_WORDS, decide
from flywheel.preprocessor.values import MISSING, ValueRules
from flywheel.project.errors import DataError
from flywheel.reader.format.value import plain_text
from flywheel.reader.table import NO_LABEL

NUMBER, DATE, CATEGORY, BOOLEAN = "number", "date", "category", "boolean"
TEXT, IDENTIFIER, CONSTANT, EMPTY, MIXED = "text", "identifier", "constant", "empty", "mixed"

MOSTLY = 0.8
"""Share of numbers, or dates, from which a column was meant to hold them."""


@dataclass(frozen=True)
class ColumnGuess:
    """What was seen of one column.

    Attributes:
        name: The name of the column.
        kind: One of the kinds above.
        why: The reason, for people.
        num_present: Rows with a value.
        num_missing: Rows without one.
        num_distinct: Different values.
        example: The most frequent value.
        meant: What most values of a mixed column are: `NUMBER` or `DATE`.
        strange: The other values of a mixed column, the most frequent first.
        words: Mean number of words of a value.
        is_numeric: Whether all values are numbers.
        is_whole: Whether all of them are whole ones.
    """

    name: str
    kind: str
    why: str
    num_present: int
    num_missing: int
    num_distinct: int
    example: str = ""
    meant: str = ""
    strange: tuple[str, ...] = ()
    words: float = 0.0
    is_numeric: bool = False
    is_whole: bool = False

    @property
    def share_distinct(self) -> float:
        """Different values, as a share of all."""
        return self.num_distinct / max(self.num_present, 1)


def given(values: pd.Series) -> pd.Series:
    """The values that are there, white space round them taken away; the tabular preprocessor says what is missing."""
    plain = _plain(values)
    return plain[~plain.str.lower().isin(MISSING)]


def given_labels(values: pd.Series) -> pd.Series:
    """The labels that are there; the table's reader says what is missing, and `none` may be a class's name."""
    plain = _plain(values)
    return plain[~plain.isin(NO_LABEL)]


def _plain(values: pd.Series) -> pd.Series:
    """Each text in its one form, as the preprocessors see it."""
    return values.map(plain_text)


def look_at(values: pd.Series, rules: ValueRules, present: Callable[[pd.Series], pd.Series] = given) -> ColumnGuess:
    """Say what a column of texts holds.

    Args:
        values: Text of each row, as `TableSample.frame` has it.
        rules: Format of the values.
        present: Gives the values that are not missing.
    """
    name, held = str(values.name), present(values)
    counts = held.value_counts()
    number, missing = len(held), len(values) - len(held)
    if not number:
        return ColumnGuess(name, EMPTY, "no values", 0, missing, 0)
    seen = ColumnEvidence(MAX_DISTINCT, rules)
    texts = held.to_numpy(object) if not missing else values.str.strip().where(values.index.isin(held.index), None)
    seen.add(np.asarray(texts, dtype=object), np.arange(len(values)))
    kind, why, meant = _kind(name, seen, len(counts))
    strange = tuple(str(value) for value in counts.index if not _is(meant, str(value), rules)) if meant else ()
    return ColumnGuess(
        name, kind, why, number, missing, len(counts), str(counts.index[0]), meant, strange,
        seen.num_words / number, seen.num_numbers == number, seen.num_numbers == number and not seen.num_fractions,
    )  # fmt: skip


def _kind(name: str, seen: ColumnEvidence, num_distinct: int) -> tuple[str, str, str]:
    """The kind, why, and for mixed columns what most values are."""
    total = seen.num_present
    if num_distinct == 1 and not seen.num_missing:
        return CONSTANT, "one value in all rows", ""
    for meant, number in ((NUMBER, seen.num_numbers), (DATE, seen.num_dates)):
        if MOSTLY * total <= number < total:
            return MIXED, f"{number:,} {meant}s and {total - number:,} others", meant
    if seen.num_words >= TEXT_WORDS * total and num_distinct > MANY * total:
        return TEXT, f"free text, {seen.num_words / total:.0f} words on average", ""
    try:
        decision = decide(name, seen, None, drop_constant=True)
    except DataError as error:  # no mixture that is left is near enough to one kind
        return CATEGORY, error.why, ""
    return decision.kind or IDENTIFIER, decision.why, ""


def _is(kind: str, value: str, rules: ValueRules) -> bool:
    seen = ColumnEvidence(1, rules)
    seen.add(np.array([value], dtype=object), np.arange(1))
    return bool(seen.num_numbers if kind == NUMBER else seen.num_dates)
