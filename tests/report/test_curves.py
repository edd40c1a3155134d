from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from flywheel.report.curves import (
    GRID,
    average_precision,
    precision_curve,
    precision_frame,
    roc_curve,
    roc_frame,
    roc_picture,
)

MakeScores = Callable[..., Any]


@pytest.mark.parametrize("decimals", [8, 1])
def test_roc_goes_through_the_points_of_scikit_learn(make_scores: MakeScores, decimals: int) -> None:
    target, scores = make_scores()
    of_class, score = target == 0, scores[:, 0].round(decimals)
    rate, hit, _ = sk.roc_curve(of_class, score, drop_intermediate=False)
    highest = [hit[rate <= x].max() for x in rate]
    on_grid = np.interp(GRID, rate, highest)
    inner = ~np.isin(GRID.round(6), rate.round(6))
    assert roc_curve(of_class, score)[inner] == pytest.approx(on_grid[inner], abs=0.02)
    assert np.trapezoid(roc_curve(of_class, score), GRID) == pytest.approx(sk.roc_auc_score(of_class, score), abs=0.01)


def test_precision_is_the_one_at_the_first_threshold_that_reaches_the_recall(make_scores: MakeScores) -> None:
    target, scores = make_scores(60)
    of_class, score = target == 1, scores[:, 1]
    curve = precision_curve(of_class, score)
    for recall, found in zip(GRID[1:], curve[1:], strict=True):
        thresholds = np.unique(score)[::-1]
        first = next(t for t in thresholds if of_class[score >= t].sum() / of_class.sum() >= recall - 1e-12)
        assert found == pytest.approx(of_class[score >= first].mean())


def test_average_precision_agrees_with_scikit_learn(make_scores: MakeScores) -> None:
    target, scores = make_scores()
    for score in (scores[:, 2], scores[:, 2].round(1)):
        assert average_precision(target == 2, score) == pytest.approx(sk.average_precision_score(target == 2, score))


def test_curves_of_a_class_without_rows_are_empty_and_left_out_of_the_mean(make_scores: MakeScores) -> None:
    target, scores = make_scores()
    kept = target != 3
    names = ["a", "b", "c", "d"]
    for frame in (roc_frame(target[kept], scores[kept], names), precision_frame(target[kept], scores[kept], names)):
        assert frame.iloc[:, 5].isna().all()
        assert frame.iloc[:, 1].to_numpy() == pytest.approx(frame.iloc[:, 2:5].mean(axis=1).to_numpy())


def test_curves_of_one_class_only_can_still_be_drawn() -> None:
    target, scores = np.zeros(5, dtype=np.int64), np.tile([0.7, 0.3], (5, 1))
    frame = roc_frame(target, scores, ["a", "b"])
    picture = roc_picture(frame, [None, None], None)
    assert picture.figure.axes[0].get_legend() is None


def test_column_names_keep_class_names_apart_from_the_mean(make_scores: MakeScores) -> None:
    target, scores = make_scores(num_classes=2)
    frame = roc_frame(target, scores, ["true_positive_rate", "x/y"])
    assert list(frame) == [
        "false_positive_rate",
        "true_positive_rate",
        "true_positive_rate/true_positive_rate",
        "true_positive_rate/x/y",
    ]
