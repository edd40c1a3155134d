from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from flywheel.project.config import PublishedConfig
from flywheel.project.errors import ConfigError
from flywheel.report.base import MetricKind
from flywheel.report.bootstrap import Metric
from flywheel.report.classification import ClassificationReport
from flywheel.report.published import published_section, reached

SHARE = MetricKind("Accuracy", "")
ERROR = MetricKind("Error", "", higher_is_better=False, percent=False)
REPORT = ClassificationReport(list("abcd"))


def published(value: float, metric: str = "accuracy") -> PublishedConfig:
    return PublishedConfig(metric, value, "Somebody 1998, table 2.")


@pytest.mark.parametrize(
    ("kind", "metric", "words"),
    [
        (SHARE, Metric(0.92, 0.90, 0.94), "Ours is 92.00%, 6.70 points below it: clearly worse (90.0 to 94.0%)."),
        (SHARE, Metric(0.988, 0.98, 0.995), "Ours is 98.80%, 0.10 points above it; our interval (98.0 to 99.5%) holds"
                                            " the published figure."),
        (SHARE, Metric(0.999, 0.99, 1.0), "Ours is 99.90%, 1.20 points above it: clearly better (99.0 to 100.0%)."),
        (SHARE, Metric(0.987), "Ours is 98.70%, the same."),
        (SHARE, Metric(None, reason="no rows"), "Ours is not defined: no rows."),
        (ERROR, Metric(0.5, 0.4, 0.6), "Ours is 0.5, 0.487 below it: clearly better (0.400 to 0.600)."),
    ],
)  # fmt: skip
def test_one_sentence_says_where_ours_lies(kind: MetricKind, metric: Metric, words: str) -> None:
    assert reached(published(0.987), kind, metric) == words


def test_the_section_has_both_figures_side_by_side(make_evidence: Callable[..., Any]) -> None:
    evidence = make_evidence()
    section = published_section(published(0.987), REPORT, evidence)
    ours = evidence.model.measured.metrics["accuracy"].value
    assert section.lead.startswith("Accuracy: 98.70% was published (Somebody 1998, table 2). Ours is")
    assert section.table is not None
    assert [row[:2] for row in section.table.rows] == [["published", "98.70%"], ["ours", f"{100 * ours:.2f}%"]]
    (picture,) = section.pictures
    (axes,) = picture.figure.axes
    drawn = [np.asarray(line.get_xdata()).tolist() for line in axes.lines if line.get_marker() in ("D", "o")]
    assert drawn == [[0.987], [ours]]


def test_a_metric_without_a_value_is_shown_as_such(make_evidence: Callable[..., Any]) -> None:
    evidence = make_evidence()
    metrics = {**evidence.model.measured.metrics, "accuracy": Metric(None, reason="no rows")}
    model = replace(evidence.model, measured=replace(evidence.model.measured, metrics=metrics))
    section = published_section(published(0.9), REPORT, replace(evidence, model=model))
    assert section.table is not None
    assert section.table.rows[1][1] == "not defined"


def test_a_metric_that_the_report_lacks_is_named(make_evidence: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.published\.metric: no metric 'acuracy'.*accuracy"):
        published_section(published(0.9, "acuracy"), REPORT, make_evidence())
