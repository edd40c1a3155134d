"""What is said to have drifted, and how often that is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flywheel.monitor.distribution import distribution_of
from flywheel.monitor.drift import compare, holm
from flywheel.monitor.settings import MonitorSettings
from flywheel.monitor.trait.base import Traits, row_traits

KINDS = ("image", "text", "audio", "tabular", "interactions")
SETTINGS = MonitorSettings()
NUM_WINDOWS, WINDOW_ROWS = 300, 100


def taken(traits: Traits, rows: np.ndarray[Any, Any]) -> Traits:
    return {name: values[rows] for name, values in traits.items()}


def reference(traits: Traits) -> dict[str, Any]:
    return {name: distribution_of(values) for name, values in traits.items()}


@pytest.mark.parametrize("name", KINDS)
def test_false_alarms_on_undrifted_windows_are_as_rare_as_promised(name: str, kinds: dict[str, Any]) -> None:
    """Reference and window are drawn anew from the same rows each time, so that whatever is found is false.

    `alpha` is 1%: of 300 windows three are expected at most, and more than nine are had once in 800 times.
    """
    traits = row_traits(kinds[name].inputs, kinds[name].rows(500, False))
    random, alarms = np.random.default_rng(0), 0
    for _ in range(NUM_WINDOWS):
        order = random.permutation(500)
        own = reference(taken(traits, order[WINDOW_ROWS:]))
        alarms += bool(compare(own, taken(traits, order[:WINDOW_ROWS]), SETTINGS).drifted)
    assert alarms <= 9


@pytest.mark.parametrize(
    ("name", "trait"),
    [
        ("image", "brightness"),
        ("text", "unknown words"),
        ("audio", "flatness"),
        ("tabular", "age"),
        ("interactions", "user"),
    ],
)
def test_a_real_change_is_found_and_named(name: str, trait: str, kinds: dict[str, Any]) -> None:
    kind = kinds[name]
    own = reference(row_traits(kind.inputs, kind.rows(500, False)))
    drift = compare(own, row_traits(kind.inputs, kind.rows(150, True)), SETTINGS)
    assert trait in [shift.name for shift in drift.drifted]
    assert len(drift.shifts) == len(own)


def test_a_large_window_does_not_cry_wolf_over_a_small_shift() -> None:
    random = np.random.default_rng(0)
    own = reference({"x": random.normal(0, 1, 20_000).astype(np.float32)})
    window = {"x": random.normal(0.1, 1, 20_000).astype(np.float32)}
    shift = compare(own, window, SETTINGS).shifts[0]
    assert shift.adjusted < 1e-6
    assert not shift.drifted
    assert compare(own, window, MonitorSettings(min_effect=0.02)).drifted


def test_too_few_rows_say_nothing() -> None:
    own = reference({"x": np.zeros(500, np.float32)})
    drift = compare(own, {"x": np.ones(99, np.float32)}, SETTINGS)
    assert (drift.enough, drift.shifts, drift.num_rows) == (False, [], 99)
    assert not compare(own, {}, SETTINGS).enough
    assert compare(own, {"x": np.ones(100, np.float32)}, SETTINGS).drifted


def test_traits_of_one_side_only_are_left_out() -> None:
    own = reference({"x": np.zeros(500, np.float32), "gone": np.zeros(500, np.float32)})
    drift = compare(own, {"x": np.zeros(200, np.float32), "new": np.ones(200, np.float32)}, SETTINGS)
    assert [shift.name for shift in drift.shifts] == ["x"]


def test_holm_is_the_step_down_of_the_paper() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
