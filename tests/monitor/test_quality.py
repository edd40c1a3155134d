from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from flywheel.modality.interactions.data.target import ItemTarget
from flywheel.monitor.quality import Quality, figure, less, measure_quality, subjects_of, wilson
from flywheel.monitor.settings import MonitorSettings
from flywheel.monitor.window import Window, read_window
from flywheel.preprocessor.number_target import NumberTarget
from flywheel.preprocessor.target import ClassTarget
from flywheel.serving.version.record import Prediction

CLASSES = ClassTarget(["cat", "dog"])
TESTED = {"accuracy": 0.9, "accuracy_low": 0.88, "accuracy_high": 0.92, "num_test": 900}
SETTINGS = MonitorSettings()


def window(traffic: Any) -> Window:
    return read_window(traffic, "digits", None, 1000)


def fill(traffic: Any, right: int, wrong: int, version: int = 1) -> None:
    for place in range(right + wrong):
        traffic.add({"label": "cat"}, label="cat" if place < right else "dog", version=version, minutes=place)


def value_of(found: Quality) -> tuple[float, int]:
    assert found.live is not None
    return found.live.value, found.live.num_rows


def test_the_interval_of_a_share_is_wilson_s() -> None:
    wanted = binomtest(37, 50).proportion_ci(0.95, "wilson")
    assert wilson(37 / 50, 50, 0.95) == pytest.approx((wanted.low, wanted.high))
    assert figure(np.array([1.0] * 37 + [0.0] * 13), 0.95).low == pytest.approx(wanted.low)
    assert figure(np.ones(10), 0.95).high == 1.0


def test_the_interval_of_errors_is_a_bootstrap_s_and_always_the_same() -> None:
    errors = np.random.default_rng(0).exponential(2.0, 400)
    found = figure(errors, 0.95)
    assert found == figure(errors, 0.95)
    reach = 1.96 * errors.std() / 20
    assert found.high - found.low == pytest.approx(2 * reach, rel=0.15)


def test_rows_of_one_person_are_not_independent() -> None:
    """Ten people, each of whom is always answered rightly or always wrongly: ten are known, not a hundred."""
    scores = np.repeat([1.0] * 8 + [0.0] * 2, 10)
    people = np.arange(100) // 10
    rows, grouped = figure(scores, 0.95), figure(scores, 0.95, groups=people)
    assert grouped.value == rows.value
    assert grouped.high - grouped.low > 2 * (rows.high - rows.low)
    right = figure(np.ones(100), 0.95, groups=people)
    assert (right.low, right.high) == pytest.approx(wilson(1.0, 10, 0.95))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = [
        Prediction(str(place), "digits", 1, "", now, None, "", {}, subject=subject)
        for place, subject in enumerate(("a", "a", None, "b"))
    ]
    found = subjects_of(made)
    assert found is not None
    assert found[0] == found[1]
    assert len(set(found.tolist())) == 3
    assert subjects_of(made[1:]) is None


def test_the_difference_of_two_shares_is_newcombe_s() -> None:
    """Newcombe 1998, table II: 56 of 70 and 48 of 80, method 10: 0.0524 to 0.3339."""
    found = less(figure(np.array([1] * 56 + [0] * 14), 0.95), figure(np.array([1] * 48 + [0] * 32), 0.95))
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_quality_that_has_fallen_is_said_and_a_small_loss_is_not(traffic: Any) -> None:
    fill(traffic, right=70, wrong=30)
    found = measure_quality(CLASSES, window(traffic), TESTED, SETTINGS, 1)
    assert found.fallen
    assert value_of(found) == (pytest.approx(0.7), 100)
    fine = type(traffic)()
    fill(fine, right=86, wrong=14)
    assert not measure_quality(CLASSES, window(fine), TESTED, SETTINGS, 1).fallen


def test_too_few_rows_and_no_rows_say_nothing(traffic: Any) -> None:
    assert measure_quality(CLASSES, window(traffic), TESTED, SETTINGS, 1).live is None
    fill(traffic, right=0, wrong=49)
    found = measure_quality(CLASSES, window(traffic), TESTED, SETTINGS, 1)
    assert (found.enough, found.fallen) == (False, False)
    assert measure_quality(CLASSES, window(traffic), {}, MonitorSettings(min_labelled=1), 1).difference is None


def test_versions_are_told_apart(traffic: Any) -> None:
    fill(traffic, right=20, wrong=80, version=1)
    fill(traffic, right=90, wrong=10, version=2)
    found = measure_quality(CLASSES, window(traffic), TESTED, SETTINGS, 2)
    assert [(one.name, one.value) for one in found.by_version] == [("1", pytest.approx(0.2)), ("2", pytest.approx(0.9))]
    assert value_of(found) == (pytest.approx(0.9), 100)
    assert not found.fallen
    assert sum(step.num_rows for step in found.over_time) == 200


def test_an_outcome_comes_before_a_word_and_the_latest_word_before_others(traffic: Any) -> None:
    from dataclasses import replace

    row = traffic.add({"label": "cat"}, label="dog", source="outcome")
    said = traffic.said[0]
    later = replace(
        said.feedback, feedback_id="later", label="cat", source="person", time=said.feedback.time.replace(hour=13)
    )
    traffic.said.append(type(said)(row, later))
    assert window(traffic).known[0][1].label == "dog"
    traffic.said.append(type(said)(row, replace(later, feedback_id="outcome", source="outcome", label="bird")))
    assert window(traffic).known[0][1].label == "bird"


def test_a_word_without_a_label_counts(traffic: Any) -> None:
    for correct in (True, False, True, True):
        traffic.add({"label": "cat"}, correct=correct)
    found = measure_quality(CLASSES, window(traffic), TESTED, SETTINGS, 1)
    assert value_of(found) == (0.75, 4)


def test_numbers_are_judged_by_their_error_and_more_of_it_is_worse(traffic: Any) -> None:
    for place in range(100):
        traffic.add({"label": 10.0}, label=10.0 + 3 * (-1) ** place + place / 100)
    traffic.add({"label": 10.0}, correct=False)
    traffic.add({"label": 10.0}, label="no number")
    tested = {"mae": 1.0, "mae_low": 0.9, "mae_high": 1.1, "num_test": 100}
    found = measure_quality(NumberTarget(), window(traffic), tested, SETTINGS, 1)
    assert found.metric == "mae"
    assert found.fallen
    assert value_of(found)[1] == 100


def test_lists_are_judged_by_whether_they_hold_the_item(traffic: Any) -> None:
    items = [str(item) for item in range(20)]
    traffic.add({"label": "0", "items": items}, label=9)
    traffic.add({"label": "0", "items": items}, label="10")
    traffic.add({"label": "0", "items": items}, correct=True)
    found = measure_quality(ItemTarget(), window(traffic), {}, SETTINGS, 1)
    assert (found.metric, found.live and found.live.value, found.live and found.live.num_rows) == (
        "hit_rate_10",
        0.5,
        2,
    )


def test_a_window_holds_the_latest_rows_and_all_that_is_known(traffic: Any) -> None:
    for place in range(30):
        traffic.add({"label": "cat"}, label="cat" if place < 5 else None, minutes=-place)
    found = read_window(traffic, "digits", None, 10)
    assert [row.prediction_id for row in found.predictions] == [f"p{place}" for place in range(9, -1, -1)]
    assert len(found.known) == 5
