from __future__ import annotations

import numpy as np
import pytest

from flywheel.report.base import MetricKind
from flywheel.report.bootstrap import Bootstrap, Metric, interval, newcombe, wilson


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


def test_whole_groups_are_drawn_as_a_cluster_bootstrap_by_hand_draws_them() -> None:
    """Beside an implementation that joins the rows of the drawn groups, group by group."""
    groups = np.array([7, 2, 2, 7, 4, 4, 4, 9, 9, 2])
    values = np.random.default_rng(0).normal(size=10)
    blocks = np.hstack(list(Bootstrap(10, 4000, 1, groups).blocks()))
    names = np.unique(groups)
    assert all(len(np.unique(blocks[groups == name], axis=0)) == 1 for name in names)
    found = values @ blocks / blocks.sum(axis=0)
    random = np.random.default_rng(5)
    by_hand = []
    for _ in range(4000):
        rows = np.concatenate([np.flatnonzero(groups == name) for name in random.choice(names, len(names))])
        by_hand.append(values[rows].mean())
    quantiles = [0.025, 0.25, 0.5, 0.75, 0.975]
    assert np.quantile(found, quantiles) == pytest.approx(np.quantile(by_hand, quantiles), abs=0.05)
    assert found.std() == pytest.approx(np.std(by_hand), rel=0.05)


def test_rows_that_are_groups_of_their_own_are_drawn_like_rows() -> None:
    alone, rows = (np.hstack(list(Bootstrap(30, 50, 3, groups).blocks())) for groups in (np.arange(30), None))
    assert np.array_equal(alone, rows)


def test_a_single_group_has_no_interval() -> None:
    assert list(Bootstrap(5, 100, 0, np.zeros(5, np.int32)).blocks()) == []


def test_all_groups_right_is_a_share_of_groups_not_of_rows() -> None:
    bootstrap = Bootstrap(200, 100, 0, np.arange(200) // 10)
    metric = Metric.of(1.0, np.ones(100), share=bootstrap.share())
    assert (metric.low, metric.high) == pytest.approx((0.8389, 1.0), abs=1e-4)  # R: binom::binom.wilson(20, 20)


@pytest.mark.parametrize(("share", "number", "low", "high"), [
    (1.0, 40, 0.9124, 1.0), (0.0, 10, 0.0, 0.2775), (0.5, 10, 0.2366, 0.7634),
])  # fmt: skip
def test_wilson_interval(share: float, number: int, low: float, high: float) -> None:
    assert wilson(share, number, 0.95) == pytest.approx((low, high), abs=1e-4)  # R: binom::binom.wilson


def test_newcombe_interval() -> None:
    """The example of Fagerland, Lydersen and Laake 2014: airways before and after a transplantation."""
    one, other = (np.repeat(np.array(cells, bool), (1, 1, 7, 12)) for cells in ((1, 1, 0, 0), (1, 0, 1, 0)))
    assert newcombe(one, other, 0.95) == pytest.approx((-0.507, -0.026), abs=1e-3)


def test_models_that_no_row_tells_apart_are_not_known_to_be_equal() -> None:
    right = np.ones(40, bool)
    metric = Metric.of(1.0, np.ones(100), share=Bootstrap(40, 100, 0).share(holds=right))
    apart = metric.minus(metric)
    assert (apart.value, apart.low, apart.high) == pytest.approx((0.0, -0.0876, 0.0876), abs=1e-4)


def test_a_metric_that_is_no_share_has_no_interval_where_every_resample_is_the_same() -> None:
    metric = Metric.of(1.0, np.ones(100))
    assert (metric.value, metric.low, metric.high) == (1.0, None, None)
    assert MetricKind("AUC", "area", percent=False).show_interval(metric) == "no interval"
    assert MetricKind("AUC", "area", percent=False).show_interval(Metric.of(1.0, np.empty(0))) == ""
