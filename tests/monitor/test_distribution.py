from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from flywheel.monitor.distribution import (
    NUM_CATEGORIES,
    NUM_QUANTILES,
    CategoryDistribution,
    NumberDistribution,
    chi_square_p_value,
    distribution_of,
    jensen_shannon,
    psi,
)


def numbers(count: int, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, count).astype(np.float32)


def test_the_distance_of_numbers_is_scipy_s() -> None:
    own, other = numbers(400), numbers(300, 0.5, seed=1)
    found = NumberDistribution.of(own).distance(other)
    wanted = stats.ks_2samp(own, other)
    assert found.effect == pytest.approx(wanted.statistic)
    assert found.p_value == pytest.approx(wanted.pvalue, rel=0.35)
    q25, q75 = np.quantile(own, [0.25, 0.75])
    assert found.wasserstein == pytest.approx(stats.wasserstein_distance(own, other) / (q75 - q25), rel=0.05)


def test_a_summary_stands_for_all_values() -> None:
    own = numbers(20_000)
    found = NumberDistribution.of(own)
    assert len(found.quantiles) == NUM_QUANTILES
    assert found.num_rows == 20_000
    wanted = stats.ks_2samp(own, other := numbers(1000, 0.2, seed=1))
    assert found.distance(other).effect == pytest.approx(wanted.statistic, abs=1 / NUM_QUANTILES)


def test_missing_numbers_count_as_a_change() -> None:
    own, other = numbers(1000), numbers(1000, seed=1)
    other[:300] = np.nan
    assert NumberDistribution.of(own).distance(other).effect == pytest.approx(0.3, abs=0.05)
    only = NumberDistribution.of(np.full(10, np.nan, np.float32))
    assert only.distance(np.full(10, np.nan, np.float32)).effect == 0
    assert only.distance(own).effect == 1


def test_a_constant_is_no_distance_from_itself() -> None:
    found = NumberDistribution.of(np.zeros(100, np.float32)).distance(np.zeros(50, np.float32))
    assert (found.effect, found.p_value, found.wasserstein) == (0, 1, 0)


def test_the_test_of_categories_is_scipy_s() -> None:
    own, other = np.array([60, 30, 10.0]), np.array([40, 35, 25.0])
    wanted = stats.chi2_contingency(np.stack([own, other]), correction=False).pvalue
    assert chi_square_p_value(own, other) == pytest.approx(wanted)


def test_rare_and_new_categories_are_taken_together() -> None:
    own = np.array(["a"] * 900 + [f"rare {place}" for place in range(100)], dtype=object)
    found = CategoryDistribution.of(own)
    assert len(found.counts) == NUM_CATEGORIES + 1
    same = found.distance(np.array(["a"] * 90 + [f"rare {place}" for place in range(0, 100, 10)], dtype=object))
    assert same.p_value > 0.05
    moved = found.distance(np.array(["a"] * 40 + [f"new {place}" for place in range(60)], dtype=object))
    assert moved.p_value < 1e-6
    assert moved.effect == pytest.approx(0.5, abs=0.06)


def test_one_category_alone_says_nothing() -> None:
    only = distribution_of(np.array(["a"] * 5, dtype=object))
    assert only.distance(np.array(["a"] * 3, dtype=object)).p_value == 1


def test_psi_and_jensen_shannon_are_those_of_the_books() -> None:
    own, other = np.array([0.5, 0.5]), np.array([0.8, 0.2])
    assert psi(own, other) == pytest.approx(0.3 * np.log(1.6) - 0.3 * np.log(0.4))
    assert psi(own, own) == jensen_shannon(own, own) == 0
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1
