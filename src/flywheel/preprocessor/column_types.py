"""Decides the kind of each column of a table: from the configuration, or else from train alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flywheel.preprocessor.column_evidence import ColumnEvidence
from flywheel.project.errors import DataError

KINDS = ("number", "category", "boolean", "date", "identifier")
MEANT = 0.95
"""Share of a column's values that makes its kind likely: if others remain, a person must say what they are."""
MANY = 0.5
"""Distinct values, as a share of all, above which words name rows instead of grouping them."""
FEW_ROWS = 20
"""Rows below which nothing is taken for a name of rows."""
TEXT_WORDS = 4.0
NOUNS = {"number": "number", "boolean": "truth value", "date": "date"}


@dataclass(frozen=True)
class TypeDecision:
    """The kind of a column.

    Attributes:
        kind: number, category, boolean or date; None: it is not an input.
        why: The reason, for people.
    """

    kind: str | None
    why: str


def decide(name: str, seen: ColumnEvidence, declared: str | None, *, drop_constant: bool) -> TypeDecision:
    """Decide the kind of a column.

    Args:
        name: The name of the column.
        seen: Evidence of its values in train.
        declared: Kind that the configuration states; None: none.
        drop_constant: Whether a column with one value is not an input.

    Raises:
        DataError: Nearly all values are of one kind, so that the others are likely mistakes.
    """
    if declared == "identifier":
        return TypeDecision(None, "identifier, as types says")
    if not seen.num_present:
        return TypeDecision(None, "no values in train")
    if drop_constant and seen.counts is not None and len(seen.counts) == 1 and not seen.num_missing:
        return TypeDecision(None, f"constant: '{next(iter(seen.counts))}' in every row of train")
    if declared is not None:
        return TypeDecision(declared, "as types says")
    return _inferred(name, seen)


def _inferred(name: str, seen: ColumnEvidence) -> TypeDecision:
    total = seen.num_present
    if seen.pair:
        return TypeDecision("boolean", "two words for true and false")
    if seen.num_numbers == total:
        return _of_numbers(name, seen)
    _refuse_mixed(name, seen, "number", seen.num_numbers, seen.no_number)
    if seen.num_dates == total:
        return TypeDecision("date", "all values are dates")
    _refuse_mixed(name, seen, "date", seen.num_dates, seen.no_date)
    distinct = seen.max_distinct + 1 if seen.counts is None else len(seen.counts)
    if total >= FEW_ROWS and (seen.counts is None or distinct > MANY * total):
        number = f"more than {seen.max_distinct:,}" if seen.counts is None else f"{distinct:,}"
        what = "free text" if seen.num_words >= TEXT_WORDS * total else "names of rows"
        return TypeDecision(None, f"looks like {what}: {number} different values in {total:,} rows")
    return TypeDecision("category", f"words, {distinct:,} different ones")


def _of_numbers(name: str, seen: ColumnEvidence) -> TypeDecision:
    total = seen.num_present
    if seen.num_codes:
        return TypeDecision("category", "whole numbers with leading zeros are codes")
    if not seen.num_fractions and total >= FEW_ROWS:
        if seen.rising:
            return TypeDecision(None, "looks like a row number: whole numbers that rise from each row to the next")
        if _is_id(name) and (seen.counts is None or len(seen.counts) > MANY * total):
            return TypeDecision(None, "looks like an identifier, by its name and its many different values")
        if _is_id(name):
            return TypeDecision("category", "whole numbers in a column named like an identifier are codes")
    return TypeDecision("number", "all values are numbers")


def _is_id(name: str) -> bool:
    word = name.strip().lower().replace("-", "_").replace(" ", "_")
    return word in ("id", "uuid", "guid", "key", "index") or word.endswith(("_id", "_uuid", "_key")) or (
        len(name) > 2 and name.endswith("ID")
    )  # fmt: skip


def _refuse_mixed(name: str, seen: ColumnEvidence, kind: str, number: int, first: tuple[int, str] | None) -> None:
    if first is None or number < MEANT * seen.num_present:
        return
    row, text = first
    why = (
        f"column '{name}': {seen.num_present - number:,} of {seen.num_present:,} values are not {NOUNS[kind]}s, "
        f"'{text[:40]}' first"
    )
    fix = (
        f"say what they are in preprocess.inputs: types: {{{name}: {kind}}} drops such rows, {{{name}: category}} takes"
        f" all values as they stand, or add '{text[:40]}' to missing"
    )
    raise DataError("train", row, why, fix=fix)


def check_types(types: Mapping[str, str]) -> None:
    """Refuse kinds that do not exist.

    Raises:
        ValueError: One is not among `KINDS`.
    """
    for name, kind in types.items():
        if kind not in KINDS:
            raise ValueError(f"types: '{name}' is a '{kind}', which is not one of {', '.join(KINDS)}")
