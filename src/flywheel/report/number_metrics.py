"""Metrics of predicted numbers, on many resamples at once.

Everything is a function of row weights [N, b], as in `class_metrics`.
"""

from __future__ import annotations

import numpy as np

from flywheel.report.base import Measured
from flywheel.report.bootstrap import Array, Bootstrap, Metric
from flywheel.report.class_metrics import Groups

NUM_GROUPS = 10
CONSTANT = 1e-12  # share of the squares below which a spread is rounding


class NumberMetrics:
    """All metrics of one set of predictions, ready to be computed under any weights.

    Args:
        target: float [N], in the target's own units.
        predicted: Predictions, float [N], likewise.
    """

    def __init__(self, target: Array, predicted: Array) -> None:
        self.num_rows = len(target)
        self._target = target.astype(np.float64)
        # Sums of squares about a middle value: of large numbers with a small spread nothing is lost.
        self._centred = self._target - self._target.mean()
        self._error = np.abs(predicted.astype(np.float64) - self._target)
        self._order = np.argsort(self._error, kind="stable")
        self._groups = Groups(group_of(predicted), NUM_GROUPS)

    def compute(self, weights: Array) -> dict[str, Array]:
        """[N, b] -> each main metric [b], and `mae/group` [NUM_GROUPS, b]."""
        total = weights.sum(axis=0)
        squares = self._error**2 @ weights
        spread = self._centred**2 @ weights - (self._centred @ weights) ** 2 / total
        known = spread > CONSTANT * np.maximum(self._target**2 @ weights, np.finfo(np.float64).tiny)
        r2 = 1 - np.divide(squares, spread, out=np.full_like(spread, np.nan), where=known)
        count, errors = self._groups.sums(weights), self._groups.sums(weights * self._error[:, None])
        by_group = np.divide(errors, count, out=np.full_like(errors, np.nan), where=count > 0)
        return {
            "rmse": np.sqrt(squares / total),
            "mae": self._error @ weights / total,
            "r2": r2,
            "median_error": self._median(weights, total),
            "mae/group": by_group,
        }

    def _median(self, weights: Array, total: Array) -> Array:
        """The weighted median of the absolute errors: of an even number, the mean of the two in the middle."""
        reached = np.cumsum(weights[self._order], axis=0)
        lower = (reached < total / 2).sum(axis=0)
        upper = (reached <= total / 2).sum(axis=0)
        errors = self._error[self._order]
        found: Array = (errors[lower] + errors[np.minimum(upper, len(errors) - 1)]) / 2
        return found


def measure_numbers(target: Array, predicted: Array, bootstrap: Bootstrap) -> Measured:
    """Measure predicted numbers against the target, with intervals.

    Args:
        target: float [N], in the target's own units.
        predicted: Predictions, float [N], likewise.
        bootstrap: The bootstrap of N rows.
    """
    metrics = NumberMetrics(target, predicted)
    value = metrics.compute(np.ones((metrics.num_rows, 1)))
    blocks = [metrics.compute(weights) for weights in bootstrap.blocks()]
    draws = {name: np.concatenate([block[name] for block in blocks], axis=-1) for name in value} if blocks else {}
    none = np.empty(0)
    why = {"r2": "all test rows have the same target"}
    main = {
        name: Metric.of(found[0], draws.get(name, none), why.get(name, ""))
        for name, found in value.items()
        if "/" not in name
    }
    groups = [
        Metric.of(one[0], draws["mae/group"][place] if blocks else none, "no test row is in this group")
        for place, one in enumerate(value["mae/group"])
    ]
    return Measured(main, {"mae": groups})


def group_of(predicted: Array) -> Array:
    """Which tenth of the rows, by their prediction, each row is in: 0 the lowest; int64 [N].

    Equal predictions share a group, so a model that says one thing has one group.
    """
    _, place = np.unique(predicted, return_inverse=True)
    rank = np.searchsorted(np.sort(place), place, side="left")
    found: Array = (rank * NUM_GROUPS // len(predicted)).astype(np.int64)
    return found
