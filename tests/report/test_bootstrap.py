from __future__ import annotations

import numpy as np
import pytest

from flywheel.report.bootstrap import Bootstrap, Metric, interval


def draws_of_mean(values: np.ndarray, num_draws: int = 2000) -> np.ndarray:
    blocks = list(Bootstrap(len(values), num_draws, 0).blocks())
    return np.concatenate([values @ block / len(values) for block in blocks])


def test_each_resample_has_as_many_rows_as_the_test_set() -> None:
    blocks = list(Bootstrap(50, 333, 0).blocks())
    assert sum(block.shape[1] for block in blocks) == 333
    assert all((block.sum(axis=0) == 50).all() for block in blocks)


def test_the_same_seed_gives_the_same_resamples_and_another_seed_others() -> None:
    first, again, other = (np.hstack(list(Bootstrap(40, 20, seed).blocks())) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_interval_of_a_mean_is_the_one_of_the_textbook() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, 400)
    low, high = interval(values.mean(), draws_of_mean(values))
    reach = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - reach, abs=0.02)
    assert high == pytest.approx(values.mean() + reach, abs=0.02)


def test_interval_moves_towards_the_value_when_resampling_shifts_the_metric() -> None:
    draws = np.random.default_rng(0).normal(1.0, 0.1, 5000)
    shifted_low, shifted_high = interval(0.9, draws)
    low, high = interval(1.0, draws)
    assert shifted_low is not None
    assert shifted_high is not None
    assert low is not None
    assert high is not None
    assert shifted_low < low
    assert shifted_high < high
    assert shifted_low < 0.9 < shifted_high


@pytest.mark.parametrize("value", [-100.0, 100.0])
def test_interval_is_finite_when_the_value_is_beyond_all_draws(value: float) -> None:
    low, high = interval(value, np.linspace(0, 1, 11))
    assert low is not None
    assert high is not None
    assert 0 <= low <= high <= 1


def test_interval_without_usable_draws_is_unknown() -> None:
    assert interval(1.0, np.array([np.nan])) == (None, None)
    assert interval(1.0, np.empty(0)) == (None, None)


def test_metric_that_is_not_a_number_says_why() -> None:
    metric = Metric.of(float("nan"), np.array([1.0]), "one class only")
    assert (metric.value, metric.low, metric.high, metric.reason) == (None, None, None, "one class only")


def test_difference_is_paired() -> None:
    values = np.random.default_rng(0).normal(size=300)
    better = values + 0.1
    metric, other = (Metric.of(float(v.mean()), draws_of_mean(v)) for v in (better, values))
    apart = metric.minus(other)
    assert metric.low is not None
    assert other.high is not None
    assert metric.low < other.high
    assert apart.low == pytest.approx(0.1)
    assert apart.high == pytest.approx(0.1)


def test_difference_to_an_undefined_metric_is_undefined_for_the_same_reason() -> None:
    assert Metric.of(0.5, np.array([0.5])).minus(Metric(None, reason="no rows")).reason == "no rows"
