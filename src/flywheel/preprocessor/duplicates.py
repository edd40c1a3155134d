"""Exact duplicates, found by 128-bit fingerprints of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from flywheel.types import Json

MAX_NAMED = 100
"""Pairs that are named one by one; all are counted."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Matches:
    """Rows that equal an earlier one, or one of another split.

    Attributes:
        rows: Their numbers, ascending.
        equals: For each, the number of the row it equals.
        same_label: For each, whether the labels agree too.
    """

    rows: Array
    equals: Array
    same_label: Array

    def to_json(self) -> Json:
        """Counts, and the first pairs as [row, equal row]."""
        pairs = np.stack([self.rows, self.equals], axis=1)[:MAX_NAMED]
        same = int(self.same_label.sum())
        return {"num_rows": len(self.rows), "other_label": len(self.rows) - same, "first": pairs.tolist()}


def first_equal(digests: Array) -> Array:
    """For each row, the position of the first row with the same fingerprint (its own, if there is none before)."""
    order = np.lexsort((digests[:, 0], digests[:, 1]))  # stable: equal rows stay in their order
    ordered = digests[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    group_starts = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    first = np.empty_like(order)
    first[order] = order[group_starts]
    return first


def within(rows: Array, digests: Array, codes: Array) -> Matches:
    """Find which of `rows` equal an earlier one of them.

    Args:
        rows: Row numbers, ascending.
        digests: Of all rows, uint64 [N, 2].
        codes: Labels of all rows.
    """
    equals = rows[first_equal(digests[rows])]
    repeated = equals != rows
    return _matches(rows[repeated], equals[repeated], codes, codes)


def across(
    rows: Array, digests: Array, codes: Array, others: Array, other_digests: Array, other_codes: Array
) -> Matches:
    """Find which of `rows` equal one of the rows `others`, which have fingerprints and labels of their own."""
    first = first_equal(np.concatenate([other_digests[others], digests[rows]]))[len(others) :]
    found = first < len(others)
    return _matches(rows[found], others[first[found]], codes, other_codes)


def _matches(rows: Array, equals: Array, codes: Array, other_codes: Array) -> Matches:
    return Matches(rows, equals, codes[rows] == other_codes[equals])
