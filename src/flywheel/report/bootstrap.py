"""Bootstrap intervals: how far a metric would move if the test set were drawn again.

Each resample draws as many rows as there are, with replacement, and is held as a count per row, so that metrics are
weighted sums and hundreds of resamples are computed at once. The same seed gives the same resamples, which pairs
the draws of two models on one test set.

Where rows come in groups (the clips of a speaker, the visits of a patient), they are not independent, and whole groups
are drawn instead: the cluster bootstrap (Field and Welsh 2007, "Bootstrapping clustered data", JRSS B 69, 369-390).

Resampling cannot show a mistake that no row has: of a share with few mistakes, or two models that differ in few rows,
it gives intervals that are too short, and none at all where every resample is the same. There the intervals are
Wilson's (`wilson`) and Newcombe's (`newcombe`); a metric that is no share has no interval then.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

CONFIDENCE = 0.95
BLOCK_CELLS = 160_000
"""Counts held at a time (1.3 MB as float64): blocks that fit the processor's cache are several times as fast."""
FEW = 10
"""Successes or failures below which the interval of a share is Wilson's: the normal approximation's usual bound."""
FEW_DISCORDANT = 25
"""Rows that only one of two models answers rightly, below which the interval of their difference is Newcombe's."""

Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class Share:
    """What is known of a metric that is the share of rows of which something holds.

    Attributes:
        trials: Number of independent rows, or groups of rows, that it is a share of.
        is_grouped: Whether these are groups.
        holds: Whether it holds, for every row of the test set, bool [N]; None where the share is of some rows only, or
            of groups.
    """

    trials: int
    is_grouped: bool = False
    holds: Array | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Metric:
    """A measured value with its 95% interval.

    Attributes:
        value: The value; None where the metric is not defined on this test set.
        low: Lower bound; None where no resample defines the metric, or all give the same value.
        high: Upper bound of the interval.
        reason: Reason why the value is None.
        draws: The metric on each resample, NaN where it is not defined; empty where there are none.
        share: Details of the share; None where the metric is not a share.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""
    draws: Array = field(default_factory=lambda: np.empty(0), repr=False, compare=False)
    share: Share | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls, value: float, draws: Array, reason: str = "not defined on this test set", share: Share | None = None
    ) -> Metric:
        """Make a metric of its value and its draws; NaN becomes None with the reason."""
        if not np.isfinite(value):
            return cls(None, reason=reason, draws=draws)
        low, high = interval(value, draws)
        if share is not None and draws.size and _is_rare(value, share, is_constant=_is_point(low, high)):
            low, high = wilson(value, share.trials, CONFIDENCE)
        elif _is_point(low, high):
            low = high = None
        return cls(float(value), low, high, draws=draws, share=share)

    def minus(self, other: Metric) -> Metric:
        """The paired difference: both metrics must come from the same resamples."""
        if self.value is None or other.value is None:
            return Metric(None, reason=self.reason or other.reason)
        low, high = paired_interval(self, other, CONFIDENCE)
        return Metric(self.value - other.value, low, high, draws=self.draws - other.draws)


@dataclass(frozen=True)
class Bootstrap:
    """Resamples of `num_rows` rows.

    Attributes:
        num_rows: Rows of the test set.
        num_draws: Number of resamples; 0 turns intervals off.
        seed: The same seed gives the same resamples.
        groups: int [num_rows], the group of each row, 0 and up; whole groups are drawn. None: rows are drawn.
    """

    num_rows: int
    num_draws: int
    seed: int
    groups: Array | None = field(default=None, repr=False, compare=False)

    @property
    def num_groups(self) -> int | None:
        """How many groups there are; None where rows are drawn."""
        return None if self.groups is None else len(np.unique(self.groups))

    def share(self, rows: Array | None = None, holds: Array | None = None) -> Share:
        """Describe a metric that is a share, for `Metric.of`.

        Args:
            rows: bool [num_rows], the rows that it is a share of; None: all.
            holds: bool [num_rows], of which rows it holds; for a share of all rows.
        """
        if self.groups is None:
            return Share(self.num_rows if rows is None else int(np.count_nonzero(rows)), holds=holds)
        return Share(len(np.unique(self.groups if rows is None else self.groups[rows])), is_grouped=True)

    def blocks(self) -> Iterator[Array]:
        """Yield float64 [num_rows, b]: column j counts how often each row is in resample j; none of a single group."""
        if self.num_groups == 1:
            return
        random = np.random.default_rng(self.seed)
        width = max(1, min(256, BLOCK_CELLS // max(1, self.num_rows)))
        for start in range(0, self.num_draws, width):
            counts = [self._counts(random) for _ in range(min(width, self.num_draws - start))]
            yield np.stack(counts, axis=1).astype(np.float64)

    def _counts(self, random: np.random.Generator) -> Array:
        if self.groups is None:
            drawn = random.integers(0, self.num_rows, size=self.num_rows)
            return np.bincount(drawn, minlength=self.num_rows)
        known, place = np.unique(self.groups, return_inverse=True)
        drawn = random.integers(0, len(known), size=len(known))
        counts: Array = np.bincount(drawn, minlength=len(known))[place]
        return counts


def interval(value: float, draws: Array, confidence: float = CONFIDENCE) -> Bounds:
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


def paired_interval(one: Metric, other: Metric, confidence: float) -> Bounds:
    """The interval of the difference of two metrics of one test set, from the same resamples.

    A difference that is the same on every row has an interval without length; that of shares is never known so well.

    Args:
        one: A metric whose value is known.
        other: Another such metric.
        confidence: Share of such intervals that hold the true difference.

    Returns:
        The bounds, or (None, None) without draws, and where every resample gives the same difference of shares.
    """
    first, second = (None if metric.share is None else metric.share.holds for metric in (one, other))
    if first is not None and second is not None and one.draws.size and (first != second).sum() < FEW_DISCORDANT:
        return newcombe(first, second, confidence)
    low, high = interval((one.value or 0.0) - (other.value or 0.0), one.draws - other.draws, confidence)
    return (None, None) if one.share is not None and _is_point(low, high) else (low, high)


def wilson(share: float, number: int, confidence: float) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927, "Probable inference, the law of succession").

    Recommended for few rows, and shares near 0 and 1, by Brown, Cai and DasGupta 2001 ("Interval estimation for a
    binomial proportion").

    Args:
        share: The share of trials that succeeded.
        number: The number of independent trials, at least one.
        confidence: Share of such intervals that hold the true share.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre = (share + z * z / (2 * number)) / (1 + z * z / number)
    reach = z / (1 + z * z / number) * math.sqrt(share * (1 - share) / number + z * z / (4 * number * number))
    # Where all or none are successes one bound is the share itself; rounding must not put it beside it.
    return (0.0 if share == 0 else max(0.0, centre - reach)), (1.0 if share == 1 else min(1.0, centre + reach))


def newcombe(one: Array, other: Array, confidence: float) -> tuple[float, float]:
    """The interval of the difference of two shares of the same rows, also where hardly a row tells them apart.

    Method 10 of Newcombe 1998 ("Improved confidence intervals for the difference between binomial proportions based on
    paired data", Statistics in Medicine 17, 2635-2650): both shares' Wilson intervals, joined with their correlation.

    Args:
        one: bool [N], of which rows the first holds.
        other: The same of the other model, bool [N].
        confidence: Share of such intervals that hold the true difference.
    """
    number = len(one)
    both, neither = int((one & other).sum()), int((~one & ~other).sum())
    only_one, only_other = int((one & ~other).sum()), int((~one & other).sum())
    totals = (both + only_one) * (only_other + neither) * (both + only_other) * (only_one + neither)
    found = both * neither - only_one * only_other
    corrected = max(found - number / 2, 0.0) if found > 0 else float(found)
    correlation = corrected / math.sqrt(totals) if totals else 0.0
    p1, p2 = (both + only_one) / number, (both + only_other) / number
    (l1, u1), (l2, u2) = wilson(p1, number, confidence), wilson(p2, number, confidence)

    def reach(down: float, up: float) -> float:
        return math.sqrt(max(down * down - 2 * correlation * down * up + up * up, 0.0))

    difference = p1 - p2
    return difference - reach(p1 - l1, u2 - p2), difference + reach(u1 - p1, p2 - l2)


def _is_point(low: float | None, high: float | None) -> bool:
    """Whether an interval has no length, but for rounding: every resample, or nearly every one, gives one value."""
    return low is not None and high is not None and math.isclose(low, high, rel_tol=1e-9, abs_tol=1e-12)


def _is_rare(value: float, share: Share, *, is_constant: bool) -> bool:
    """Whether resampling cannot show how far a share may be from its value.

    Of groups nobody knows how many mistakes they are worth, but where all are right, or none.
    """
    if share.is_grouped:
        return is_constant and value in (0.0, 1.0)
    return min(value, 1 - value) * share.trials < FEW
