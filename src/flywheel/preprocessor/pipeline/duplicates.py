"""Exact duplicates, found by 128-bit fingerprints of the rows' inputs and by their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from flywheel.project.types import Json

MAX_NAMED = 100
"""Pairs that are named one by one; all are counted."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Matches:
    """Rows whose inputs equal those of an earlier row, or of a row of another split.

    Attributes:
        rows: Their numbers, ascending.
        equals: For each such row, the number of the first row it equals.
        same_label: For each such row, whether a row it equals also has its label: then it may be a copy.
        num_others: Rows of the other split that are equal to one of `rows`; None within one split.
        num_dropped: Number of `rows` that were dropped for it.
    """

    rows: Array
    equals: Array
    same_label: Array
    num_others: int | None = None
    num_dropped: int = 0

    def to_json(self) -> Json:
        """Counts, and the first pairs as [row, equal row]."""
        pairs = np.stack([self.rows, self.equals], axis=1)[:MAX_NAMED]
        same = int(self.same_label.sum())
        found: Json = {"num_rows": len(self.rows), "other_label": len(self.rows) - same, "dropped": self.num_dropped}
        if self.num_others is not None:
            found["num_others"] = self.num_others
        return found | {"first": pairs.tolist()}


def first_equal(keys: Array) -> Array:
    """For each row, the position of the first row with the same keys (its own, if there is none before).

    Args:
        keys: uint64 [N, K]: fingerprints, and labels where they count.
    """
    order = np.lexsort(keys.T)  # stable: equal rows stay in their order
    ordered = keys[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    group_starts = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    first = np.empty_like(order)
    first[order] = order[group_starts]
    return first


def within(rows: Array, digests: Array, labels: Array) -> Matches:
    """Find which of `rows` equal an earlier one of them.

    Args:
        rows: Row numbers, ascending.
        digests: The digests of all rows' inputs, uint64 [N, 2].
        labels: Hashes of the labels of all rows, uint64 [N].
    """
    equals = rows[first_equal(digests[rows])]
    repeated = equals != rows
    same_label = first_equal(_labelled(rows, digests, labels)) != np.arange(len(rows))
    return Matches(rows[repeated], equals[repeated], same_label[repeated])


def across(
    rows: Array, digests: Array, labels: Array, others: Array, other_digests: Array, other_labels: Array
) -> Matches:
    """Find which of `rows` equal one of the rows `others`, which have fingerprints and labels of their own."""
    inputs = first_equal(np.concatenate([other_digests[others], digests[rows]]))
    keys = [_labelled(others, other_digests, other_labels), _labelled(rows, digests, labels)]
    same_label = first_equal(np.concatenate(keys))[len(others) :] < len(others)
    first = inputs[len(others) :]
    found = first < len(others)
    num_others = int(np.isin(inputs[: len(others)], first[found]).sum())
    return Matches(rows[found], others[first[found]], same_label[found], num_others)


def num_copies(rows: Array, digests: Array, labels: Array) -> Array:
    """Count, for each of `rows`, those that have its inputs and its label, itself included: int64 [n].

    Args:
        rows: Row numbers.
        digests: The digests of all rows' inputs, uint64 [N, 2].
        labels: Hashes of the labels of all rows, uint64 [N].
    """
    first = first_equal(_labelled(rows, digests, labels))
    return np.bincount(first, minlength=len(rows))[first]


def contradictory(digests: Array, labels: Array) -> Array:
    """Say which rows have the inputs of another row, but not its label: bool [N].

    Args:
        digests: The digests of the rows' inputs, uint64 [N, 2].
        labels: Hashes of their labels, uint64 [N].
    """
    first = first_equal(digests)
    differs = labels != labels[first]
    return np.isin(first, first[differs])


def _labelled(rows: Array, digests: Array, labels: Array) -> Array:
    return np.concatenate([digests[rows], labels[rows, None]], axis=1)
