from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as reference

from flywheel.report.bootstrap import Bootstrap
from flywheel.report.number_metrics import NUM_GROUPS, NumberMetrics, group_of, measure_numbers

RANDOM = np.random.default_rng(0)
TARGET = RANDOM.normal(1e4, 30, 201)
PREDICTED = (TARGET + RANDOM.normal(3, 10, 201)).astype(np.float32)


def wanted(target: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    return {
        "rmse": reference.root_mean_squared_error(target, predicted),
        "mae": reference.mean_absolute_error(target, predicted),
        "r2": reference.r2_score(target, predicted),
        "median_error": reference.median_absolute_error(target, predicted),
    }


@pytest.mark.parametrize("num_rows", [2, 3, 10, 200, 201])
def test_metrics_are_those_of_scikit_learn(num_rows: int) -> None:
    target, predicted = TARGET[:num_rows], PREDICTED[:num_rows].astype(np.float64)
    found = measure_numbers(target, predicted, Bootstrap(num_rows, 0, 0)).metrics
    assert {name: metric.value for name, metric in found.items()} == pytest.approx(wanted(target, predicted), rel=1e-9)


def test_weights_are_repeated_rows() -> None:
    times = np.random.default_rng(1).integers(0, 4, len(TARGET))
    found = NumberMetrics(TARGET, PREDICTED).compute(times[:, None].astype(float))
    repeated = wanted(np.repeat(TARGET, times), np.repeat(PREDICTED.astype(np.float64), times))
    assert {name: found[name][0] for name in repeated} == pytest.approx(repeated, rel=1e-9)


def test_intervals_hold_the_value_and_are_the_same_again() -> None:
    first, second = (measure_numbers(TARGET, PREDICTED, Bootstrap(201, 200, 0)) for _ in range(2))
    for name, metric in first.metrics.items():
        assert metric.low < metric.value < metric.high, name
        assert metric == second.metrics[name]
    assert len(first.parts["mae"]) == NUM_GROUPS


def test_a_constant_target_has_no_r2() -> None:
    found = measure_numbers(np.full(4, 0.1), np.array([0.1, 0.2, 0.3, 0.4]), Bootstrap(4, 50, 0)).metrics
    assert found["r2"].value is None
    assert found["r2"].reason == "all test rows have the same target"
    assert found["rmse"].value == pytest.approx(0.187, abs=1e-3)


def test_groups_are_tenths_of_the_predictions() -> None:
    assert np.bincount(group_of(RANDOM.permutation(100))).tolist() == [10] * 10
    assert set(group_of(np.full(50, 3.0)).tolist()) == {0}
    assert group_of(np.array([1.0, 2.0])).tolist() == [0, 5]
