"""Whether a target follows from one column, or from two, by a function: learnt on some rows, judged on others.

A column need not rename the target to give it away: where many values mean one class (sub-grades and their grade), or
a class is a range of a number, no model is needed either. What is found must hold on rows that the function was not
made from, without exception in a thousand, and be more than the most frequent class would say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

EXACT = 1e-7
"""Largest share of a numeric target's variance that a function may leave and still count as exact."""
LEARNT_SHARE = 0.6
MAX_WRONG = 1e-3
MIN_JUDGED = 20
MIN_OTHERS = 10
"""Judged rows of other classes than the most frequent one that a function must get right: fewer may be chance."""
MIN_KNOWN = 0.5
"""Share of judged rows whose value was among the learnt ones."""
NEAR, FAR = 10, 50
"""Rows on either side of a bound: the nearest, and those by which the nearest are measured."""
DENSE = 2.0
"""How much wider apart the nearest rows may be than those further away, if the bound cuts through the values."""
MAX_GAP = 0.25
"""Share of the nearest rows' width that may lie between the two classes."""


@dataclass(frozen=True)
class Halves:
    """Which rows a function is learnt from, bool [N]; the others judge it."""

    learnt: Array

    @classmethod
    def draw(cls, num_rows: int, groups: Array | None = None) -> Halves:
        """Draw them, seeded; rows of one group stay together, as they will in train and test.

        Args:
            num_rows: Number of rows, N.
            groups: Code of each row's group, int [N]; None: every row is its own.
        """
        codes = np.arange(num_rows) if groups is None else groups
        drawn = np.random.default_rng(0).random(int(codes.max(initial=-1)) + 1) < LEARNT_SHARE
        return cls(drawn[codes])


def decides_class(values: Array, target: Array, halves: Halves) -> bool:
    """Whether each value means one class.

    Args:
        values: Code of each row's value, int [N]; -1 where it is missing.
        target: Code of each row's class, int [N].
        halves: For each row, which half it is in.
    """
    learnt, judged = halves.learnt & (values >= 0), ~halves.learnt & (values >= 0)
    if judged.sum() < MIN_JUDGED or values.max(initial=-1) < 1:
        return False
    num_classes = int(target.max()) + 1
    keys, counts = np.unique(values[learnt] * num_classes + target[learnt], return_counts=True)
    best = np.full(int(values.max()) + 1, -1)
    order = np.argsort(counts, kind="stable")
    best[keys[order] // num_classes] = keys[order] % num_classes  # the most frequent class of a value comes last
    said, true = best[values[judged]], target[judged]
    known = said >= 0
    usual = np.bincount(target[learnt], minlength=num_classes).argmax() if learnt.any() else -1
    if known.sum() < max(MIN_JUDGED, MIN_KNOWN * len(known)) or (true[known] != usual).sum() < MIN_OTHERS:
        return False
    return bool((said[known] != true[known]).sum() <= MAX_WRONG * known.sum())


def ranges_decide(numbers: Array, target: Array) -> bool:
    """Whether the classes are ranges of a number, whose bounds cut through the values.

    Classes that lie apart by nature have no rows, or thinly spread ones, between them; a bound that somebody has set
    has about as many rows near it as elsewhere. Only the latter is a function of the number.

    Args:
        numbers: float64 [N]; NaN where one is missing.
        target: Code of each row's class, int [N].
    """
    held = np.isfinite(numbers)
    values, classes = numbers[held], target[held]
    distinct = np.unique(values)
    if len(distinct) < 4 or held.sum() < MIN_KNOWN * len(numbers) or held.sum() < 2 * FAR:
        return False
    if len(distinct) < 0.9 * len(values):  # values on a grid, such as whole numbers: as if they were not rounded
        step = float(np.diff(distinct).min())
        values = values + np.random.default_rng(0).uniform(-0.5, 0.5, len(values)) * step
    order = np.argsort(values, kind="stable")
    values, classes = values[order], classes[order]
    bounds = np.flatnonzero(np.diff(classes)) + 1
    starts, ends = np.r_[0, bounds], np.r_[bounds, len(values)]
    if not len(bounds) or len(bounds) > 2 * (int(target.max()) + 1) or (ends - starts).min() < 2 * NEAR:
        return False
    return all(_cuts_through(values, int(bound)) for bound in bounds)


def _cuts_through(values: Array, bound: int) -> bool:
    """Whether values are about as dense next to a bound as further away; `bound` is the first row behind it."""
    low, high = max(bound - FAR, 0), min(bound + FAR, len(values)) - 1
    near = values[bound + NEAR - 1] - values[bound - NEAR]
    far = (values[high] - values[bound + NEAR - 1]) + (values[bound - NEAR] - values[low])
    if values[bound] - values[bound - 1] > MAX_GAP * near:
        return False
    num_far = high - low + 1 - 2 * NEAR
    return bool(near / (2 * NEAR) <= DENSE * far / max(num_far, 1))


def decides_number(values: Array, target: Array, halves: Halves) -> bool:
    """Whether each value means one number.

    Args:
        values: Code of each row's value, int [N]; -1 where it is missing.
        target: float64 [N], finite.
        halves: For each row, which half it is in.
    """
    learnt, judged = halves.learnt & (values >= 0), ~halves.learnt & (values >= 0)
    if not learnt.any() or values.max(initial=-1) < 1:
        return False
    size = int(values.max()) + 1
    counts = np.bincount(values[learnt], minlength=size)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.bincount(values[learnt], target[learnt], minlength=size) / counts
    said = means[values[judged]]
    return _explains(said, target[judged])


def line_decides(numbers: Array, target: Array, halves: Halves) -> bool:
    """Whether a numeric target is a number, scaled and shifted.

    Args:
        numbers: float64 [N]; NaN where one is missing.
        target: float64 [N], finite.
        halves: For each row, which half it is in.
    """
    held = np.isfinite(numbers)
    learnt, judged = halves.learnt & held, ~halves.learnt & held
    if learnt.sum() < MIN_JUDGED or np.ptp(numbers[learnt]) == 0:
        return False
    x, y = numbers[learnt] - numbers[learnt].mean(), target[learnt] - target[learnt].mean()
    slope = float(x @ y / (x @ x))
    said = target[learnt].mean() + slope * (numbers[judged] - numbers[learnt].mean())
    return slope != 0 and _explains(said, target[judged])


def _explains(said: Array, true: Array) -> bool:
    """Whether predictions (NaN: there is none) leave nothing of a numeric target."""
    known = np.isfinite(said)
    if known.sum() < max(MIN_JUDGED, MIN_KNOWN * len(said)) or true[known].std() == 0:
        return False
    return bool(np.mean((said[known] - true[known]) ** 2) <= EXACT * true[known].var())
