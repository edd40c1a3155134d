"""Bootstrap intervals: how far a metric would move if the test set were drawn again.

Each resample draws as many rows as there are, with replacement, and is held as a count per row, so that metrics are
weighted sums and hundreds of resamples are computed at once. The same seed gives the same resamples, which pairs
the draws of two models on one test set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

CONFIDENCE = 0.95
BLOCK_CELLS = 160_000
"""Counts held at a time (1.3 MB as float64): blocks that fit the processor's cache are several times as fast."""


@dataclass(frozen=True)
class Metric:
    """A measured value with its 95% interval.

    Attributes:
        value: None where the metric is not defined on this test set.
        low: Lower bound; None where no resample defines the metric.
        high: Upper bound, likewise.
        reason: Why the value is None.
        draws: The metric on each resample, NaN where it is not defined; empty where there are none.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""
    draws: Array = field(default_factory=lambda: np.empty(0), repr=False, compare=False)

    @classmethod
    def of(cls, value: float, draws: Array, reason: str = "not defined on this test set") -> Metric:
        """Make a metric of its value and its draws; NaN becomes None with the reason."""
        if not np.isfinite(value):
            return cls(None, reason=reason, draws=draws)
        low, high = interval(value, draws)
        return cls(float(value), low, high, draws=draws)

    def minus(self, other: Metric) -> Metric:
        """The paired difference: both metrics must come from the same resamples."""
        if self.value is None or other.value is None:
            return Metric(None, reason=self.reason or other.reason)
        return Metric.of(self.value - other.value, self.draws - other.draws)


@dataclass(frozen=True)
class Bootstrap:
    """Resamples of `num_rows` rows.

    Attributes:
        num_rows: Rows of the test set.
        num_draws: How many resamples; 0 turns intervals off.
        seed: The same seed gives the same resamples.
    """

    num_rows: int
    num_draws: int
    seed: int

    def blocks(self) -> Iterator[Array]:
        """Yield float64 [num_rows, b]: column j counts how often each row is in resample j."""
        random = np.random.default_rng(self.seed)
        width = max(1, min(256, BLOCK_CELLS // max(1, self.num_rows)))
        for start in range(0, self.num_draws, width):
            counts = [self._counts(random) for _ in range(min(width, self.num_draws - start))]
            yield np.stack(counts, axis=1).astype(np.float64)

    def _counts(self, random: np.random.Generator) -> Array:
        drawn = random.integers(0, self.num_rows, size=self.num_rows)
        return np.bincount(drawn, minlength=self.num_rows)


def interval(value: float, draws: Array, confidence: float = CONFIDENCE) -> tuple[float | None, float | None]:
    """The bias-corrected percentile interval (Efron 1987, "Better bootstrap confidence intervals", with a = 0).

    The plain percentile interval can miss the value itself where resampling shifts a metric, as it does for
    calibration error; this one moves the percentiles by the shift. Where there is no shift, both are the same.

    Args:
        value: The metric on the test set.
        draws: The metric on each resample; NaN draws are left out.
        confidence: Share of such intervals that hold the true value.

    Returns:
        The bounds, or (None, None) without draws.
    """
    usable = draws[np.isfinite(draws)]
    if not usable.size:
        return None, None
    below = (np.count_nonzero(usable < value) + 0.5 * np.count_nonzero(usable == value)) / usable.size
    edge = 1.0 / (usable.size + 1)
    normal = NormalDist()
    shift = 2 * normal.inv_cdf(min(max(below, edge), 1 - edge))
    reach = normal.inv_cdf(0.5 + confidence / 2)
    low, high = np.quantile(usable, [normal.cdf(shift - reach), normal.cdf(shift + reach)])
    return float(low), float(high)
