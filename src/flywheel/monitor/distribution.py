"""How a trait is distributed in the reference, in a few hundred numbers, and how far a window's values are from it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from flywheel.monitor.trait.base import Array, numbers
from flywheel.project.types import Json

NUM_QUANTILES = 512
NUM_CATEGORIES = 50
NUM_BINS = 10
OTHER = "(other)"
LEAST_EXPECTED = 5.0
TINY_SHARE = 1e-4


@dataclass(frozen=True)
class Distance:
    """How far a window's values are from the reference.

    Attributes:
        p_value: The p-value of the two-sample test, before any correction for the number of traits.
        effect: The smallest share of rows that would have to change for both to be alike, in [0, 1].
        psi: Population stability index over the reference's tenths, or over the categories.
        jensen_shannon: Distance of the same shares, in [0, 1] (base 2).
        wasserstein: Mean way from one distribution to the other, in interquartile ranges; None for categories.
    """

    p_value: float
    effect: float
    psi: float
    jensen_shannon: float
    wasserstein: float | None = None


class Distribution(ABC):
    """A trait's values in the reference."""

    kind: ClassVar[str]
    num_rows: int

    @abstractmethod
    def distance(self, values: Array) -> Distance:
        """Compare a window's values, [N] of the same kind, at least one."""

    @abstractmethod
    def shares(self, values: Array | None = None) -> tuple[list[str], Array]:
        """Names of bins, and the share of the reference (or of `values`) in each, for pictures."""

    @abstractmethod
    def to_json(self) -> Json:
        """What there is to keep but for the quantiles."""


@dataclass(frozen=True)
class NumberDistribution(Distribution):
    """Numbers: at most `NUM_QUANTILES` values that stand for all, in order; a missing one stands below all others.

    Attributes:
        quantiles: float32 [Q], ascending; minus infinity for missing values.
        num_rows: Number of summarised values.
    """

    kind: ClassVar[str] = "number"
    quantiles: Array
    num_rows: int

    @classmethod
    def of(cls, values: Array) -> NumberDistribution:
        """Summarise numbers, at least one."""
        ordered = np.sort(_held(values))
        if len(ordered) > NUM_QUANTILES:
            places = (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES * len(ordered)
            return cls(ordered[places.astype(int)], len(ordered))
        return cls(ordered, len(ordered))

    def distance(self, values: Array) -> Distance:
        """Two-sample Kolmogorov-Smirnov; its statistic is the effect."""
        own, other = self.quantiles, np.sort(_held(values))
        points = np.concatenate([own, other])
        below_own = np.searchsorted(own, points, side="right") / len(own)
        below_other = np.searchsorted(other, points, side="right") / len(other)
        effect = float(np.abs(below_own - below_other).max())
        _, expected = self.shares()
        _, found = self.shares(values)
        return Distance(
            ks_p_value(effect, self.num_rows, len(other)), effect, psi(expected, found),
            jensen_shannon(expected, found), self._wasserstein(other),
        )  # fmt: skip

    def shares(self, values: Array | None = None) -> tuple[list[str], Array]:
        """Shares between the tenths of the reference; the outer bins are open."""
        edges = np.unique(np.quantile(self.quantiles, np.arange(1, NUM_BINS) / NUM_BINS, method="lower"))
        held = self.quantiles if values is None else _held(values)
        counts = np.bincount(np.searchsorted(edges, held, side="left"), minlength=len(edges) + 1)
        shown = [f"{edge:.4g}" if np.isfinite(edge) else "missing" for edge in edges]
        names = [f"to {shown[0]}", *(f"to {name}" for name in shown[1:]), f"above {shown[-1]}"]
        return names, counts / counts.sum()

    def to_json(self) -> Json:
        """Its kind and how many values there were."""
        return {"kind": self.kind, "num_rows": self.num_rows}

    def _wasserstein(self, other: Array) -> float | None:
        own, other = self.quantiles[np.isfinite(self.quantiles)], other[np.isfinite(other)]
        if not len(own) or not len(other):
            return None
        low, high = np.quantile(own, [0.25, 0.75])
        scale = float(high - low) or float(own.std()) or 1.0
        places = (np.arange(200) + 0.5) / 200
        return float(np.abs(np.quantile(own, places) - np.quantile(other, places)).mean() / scale)


@dataclass(frozen=True)
class CategoryDistribution(Distribution):
    """Categories: the most frequent ones with their counts, the rest as one.

    Attributes:
        counts: Category -> rows, `(other)` for those that are not named.
        num_rows: The sum of the counts.
    """

    kind: ClassVar[str] = "category"
    counts: dict[str, int]
    num_rows: int

    @classmethod
    def of(cls, values: Array) -> CategoryDistribution:
        """Summarise categories, at least one."""
        counted = Counter(map(str, values))
        ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
        counts = dict(ranked[:NUM_CATEGORIES])
        counts[OTHER] = len(values) - sum(counts.values())
        return cls(counts, len(values))

    def distance(self, values: Array) -> Distance:
        """Chi-square test of homogeneity, rare categories taken together; half the sum of differences is the effect."""
        _, expected = self.shares()
        _, found = self.shares(values)
        effect = float(np.abs(expected - found).sum() / 2)
        p_value = chi_square_p_value(expected * self.num_rows, found * len(values))
        return Distance(p_value, effect, psi(expected, found), jensen_shannon(expected, found))

    def shares(self, values: Array | None = None) -> tuple[list[str], Array]:
        """The share of each category; what the reference has not counts as `(other)`."""
        names = list(self.counts)
        if values is None:
            counts = np.array(list(self.counts.values()), np.float64)
        else:
            given = Counter(str(value) if str(value) in self.counts else OTHER for value in values)
            counts = np.array([given[name] for name in names], np.float64)
        return names, counts / counts.sum()

    def to_json(self) -> Json:
        """Its kind and its counts."""
        return {"kind": self.kind, "num_rows": self.num_rows, "counts": self.counts}


def distribution_of(values: Array) -> Distribution:
    """Summarise a trait's values: objects are categories, others numbers."""
    return CategoryDistribution.of(values) if values.dtype == object else NumberDistribution.of(values)


def ks_p_value(statistic: float, num_own: int, num_other: int) -> float:
    """The asymptotic p-value of a two-sample Kolmogorov-Smirnov statistic.

    With the correction for small samples of Stephens (1970). Ties, of which discrete traits have many, make it too
    large, never too small.
    """
    from scipy.stats import kstwobign

    root = math.sqrt(num_own * num_other / (num_own + num_other))
    return float(kstwobign.sf((root + 0.12 + 0.11 / root) * statistic))


def chi_square_p_value(own: Array, other: Array) -> float:
    """The p-value of a 2 x K table; the categories that are expected fewer than five times are one."""
    from scipy.stats import chi2

    table = np.stack([own, other])
    expected = table.sum(axis=0) * min(own.sum(), other.sum()) / table.sum()
    rare = expected < LEAST_EXPECTED
    if rare.any():
        table = np.concatenate([table[:, ~rare], table[:, rare].sum(axis=1, keepdims=True)], axis=1)
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 1.0
    wanted = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    return float(chi2.sf(((table - wanted) ** 2 / wanted).sum(), table.shape[1] - 1))


def psi(expected: Array, found: Array) -> float:
    """The population stability index: the sum of (found - expected) ln(found / expected)."""
    expected, found = np.maximum(expected, TINY_SHARE), np.maximum(found, TINY_SHARE)
    return float(((found - expected) * np.log(found / expected)).sum())


def jensen_shannon(expected: Array, found: Array) -> float:
    """The Jensen-Shannon distance to base 2 (Endres and Schindelin 2003): the root of the divergence."""
    middle = (expected + found) / 2

    def divergence(shares: Array) -> float:
        there = shares > 0
        return float((shares[there] * np.log2(shares[there] / middle[there])).sum())

    return math.sqrt(max(0.0, (divergence(expected) + divergence(found)) / 2))


def _held(values: Array) -> Array:
    """Numbers as they are compared: float32, missing ones below all others."""
    held = numbers(values)
    return np.where(np.isnan(held), np.float32(-np.inf), held)
