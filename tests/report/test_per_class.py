from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flywheel.report.bootstrap import Bootstrap, Metric
from flywheel.report.class_metrics import measure_classes
from flywheel.report.per_class import MAX_BARS, class_frame, class_table, f1_picture


def test_rows_are_the_classes_with_their_support(make_scores: Callable[..., Any]) -> None:
    target, scores = make_scores()
    measured = measure_classes(target, scores, Bootstrap(300, 50, 0))
    frame = class_frame(target, scores, ["a", "b", "c", "d"], measured)
    assert frame["class"].tolist() == ["a", "b", "c", "d"]
    assert frame["num_rows"].tolist() == np.bincount(target).tolist()
    assert ((frame["f1_low"] <= frame["f1"]) & (frame["f1"] <= frame["f1_high"])).all()


def test_a_class_without_test_rows_is_not_defined_rather_than_not_a_number(make_scores: Callable[..., Any]) -> None:
    target, scores = make_scores()
    target, scores = target[target != 3], scores[target != 3]
    measured = measure_classes(target, scores, Bootstrap(len(target), 0, 0))
    table = class_table(class_frame(target, scores, ["a", "b", "c", "d"], measured))
    assert table.rows[3][0:2] == ["d", "0"]
    assert table.rows[3][-2:] == ["not defined", "not defined"]
    assert "nan" not in str(table.rows)


def test_weakest_class_comes_first_and_of_many_only_the_weakest() -> None:
    values = [Metric((k * 7 % 40) / 40) for k in range(40)]
    picture = f1_picture([f"c{k}" for k in range(40)], values, 0.5)
    labels = [label.get_text() for label in picture.figure.axes[0].get_yticklabels()]
    assert len(labels) == MAX_BARS
    assert labels[0] == "c0"
    assert "the 30 weakest of 40 classes" in picture.figure.axes[0].get_title(loc="left")
