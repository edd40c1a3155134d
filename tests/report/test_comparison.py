from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from flywheel.report.base import MetricKind, tone_of
from flywheel.report.bootstrap import Metric
from flywheel.report.classification import KINDS
from flywheel.report.comparison import comparison_frame, comparison_picture, comparison_table

HIGHER, LOWER = MetricKind("A", ""), MetricKind("B", "", higher_is_better=False, percent=False)


@pytest.mark.parametrize(
    ("low", "high", "higher", "lower"),
    [(0.1, 0.3, "good", "bad"), (-0.3, -0.1, "bad", "good"), (-0.1, 0.2, "even", "even"), (0.0, 0.2, "even", "even")],
)
def test_a_difference_is_clear_when_its_interval_leaves_out_zero(
    low: float, high: float, higher: str, lower: str
) -> None:
    metric = Metric((low + high) / 2, low, high)
    assert (tone_of(metric, HIGHER), tone_of(metric, LOWER)) == (higher, lower)


def test_a_difference_without_an_interval_is_not_clear() -> None:
    assert tone_of(Metric(0.5), HIGHER) == "even"
    assert tone_of(Metric(None, reason="x"), HIGHER) == "even"


def test_values_are_written_for_people() -> None:
    assert HIGHER.show(0.9123) == "91.2%"
    assert HIGHER.show_interval(Metric(0.9, 0.8912, 0.9123)) == "89.1 to 91.2%"
    assert HIGHER.show_difference(-0.0123) == "−1.2 points"
    assert LOWER.show(0.24687) == "0.247"
    assert LOWER.show_difference(0.0123) == "+0.012"
    assert LOWER.show(None) == "not defined"
    assert LOWER.show_interval(Metric(0.5)) == ""


def test_table_and_frame_hold_all_contenders(make_evidence: Callable[..., Any]) -> None:
    evidence = make_evidence(skill=4.0, baseline_skill=1.0)
    table = comparison_table(evidence, KINDS)
    assert table.header[1:] == ["this model", "logistic regression", "model − logistic regression"]
    assert len(table.rows) == len(KINDS)
    assert re.fullmatch(r"\+[\d.]+ points \(\+[\d.]+ to \+[\d.]+ points\), clearly better", table.rows[0][3])
    frame = comparison_frame(evidence, list(KINDS))
    assert frame["of"].tolist() == ["model"] * 7 + ["logistic_regression"] * 7
    assert frame["difference"].isna().tolist() == [True] * 7 + [False] * 7


def test_an_undefined_metric_is_named_so_in_the_picture(make_evidence: Callable[..., Any]) -> None:
    evidence = make_evidence()
    evidence.model.measured.metrics["auc"] = Metric(None, reason="one class")
    picture = comparison_picture(evidence, KINDS, ("auc", "log_loss"))
    assert "AUC: this model not defined" in picture.alt
    assert "not defined" in [text.get_text() for text in picture.figure.axes[0].texts]
