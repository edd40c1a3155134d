"""Point values and draws agree with scikit-learn, the strange cases included."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from flywheel.report.bootstrap import Bootstrap
from flywheel.report.class_metrics import ClassMetrics, measure_classes

Array = np.ndarray[Any, Any]
NO_DRAWS = 0


def expected(target: Array, scores: Array) -> dict[str, float]:
    """The same metrics by scikit-learn; AUC as the mean over the classes that can be ranked."""
    predicted, num_classes = scores.argmax(axis=1), scores.shape[1]
    precision, recall, f1, _ = sk.precision_recall_fscore_support(target, predicted, average="macro", zero_division=0)
    areas = [
        sk.roc_auc_score(target == k, scores[:, k]) for k in range(num_classes) if 0 < (target == k).sum() < len(target)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # probabilities in float32 do not sum to one exactly
        log_loss = sk.log_loss(target, scores, labels=range(num_classes))
    return {
        "accuracy": sk.accuracy_score(target, predicted),
        "precision_macro": precision,
        "recall_macro": recall,
        "f1_macro": f1,
        "auc": float(np.mean(areas)) if areas else float("nan"),
        "log_loss": log_loss,
        "ece": calibration_error(target, scores),
    }


def calibration_error(target: Array, scores: Array) -> float:
    """Guo et al. 2017, equation 3, as a plain loop."""
    confidence, correct = scores.max(axis=1), scores.argmax(axis=1) == target
    error = 0.0
    for m in range(15):
        inside = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return error


def plain(num_rows: int = 400, num_classes: int = 5, seed: int = 0) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    target = random.integers(0, num_classes, num_rows)
    raised = np.exp(random.normal(size=(num_rows, num_classes)) + 1.5 * np.eye(num_classes)[target])
    return target, raised / raised.sum(axis=1, keepdims=True)


def never_predicted() -> tuple[Array, Array]:
    target, scores = plain()
    scores[:, 2] = 1e-6
    return target, scores / scores.sum(axis=1, keepdims=True)


def absent_from_test() -> tuple[Array, Array]:
    target, scores = plain()
    return target[target != 1], scores[target != 1]


def absent_from_both() -> tuple[Array, Array]:
    target, scores = never_predicted()
    return target[target != 2], scores[target != 2]


def perfect() -> tuple[Array, Array]:
    target = np.arange(40) % 4
    return target, np.eye(4)[target]


def many_ties() -> tuple[Array, Array]:
    target, scores = plain()
    coarse = np.round(scores * 4) + 1
    return target, coarse / coarse.sum(axis=1, keepdims=True)


CASES = {
    "plain": plain(),
    "float32": (plain()[0], plain()[1].astype(np.float32)),
    "binary": plain(num_classes=2),
    "never_predicted": never_predicted(),
    "absent_from_test": absent_from_test(),
    "absent_from_both": absent_from_both(),
    "perfect": perfect(),
    "many_ties": many_ties(),
    "one_class_in_test": (np.zeros(20, dtype=np.int64), plain(20)[1]),
    "one_row": (np.array([1]), np.array([[0.2, 0.5, 0.3]])),
}


@pytest.mark.parametrize("case", CASES)
def test_values_agree_with_scikit_learn(case: str) -> None:
    target, scores = CASES[case]
    found = measure_classes(target, scores, Bootstrap(len(target), NO_DRAWS, 0)).metrics
    for name, value in expected(target, scores).items():
        if np.isnan(value):
            assert found[name].value is None
            assert found[name].reason == "the test set holds one class only"
        else:
            assert found[name].value == pytest.approx(value, rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize("case", ["plain", "binary", "never_predicted", "many_ties"])
def test_draws_are_the_metrics_of_the_resampled_rows(case: str) -> None:
    target, scores = CASES[case]
    bootstrap = Bootstrap(len(target), 5, 7)
    found = measure_classes(target, scores, bootstrap).metrics
    counts = np.hstack(list(bootstrap.blocks())).astype(np.int64)
    for draw in range(5):
        rows = np.repeat(np.arange(len(target)), counts[:, draw])
        for name, value in expected(target[rows], scores[rows]).items():
            assert found[name].draws[draw] == pytest.approx(value, rel=1e-6, abs=1e-9), name


def test_metrics_of_each_class_agree_with_scikit_learn() -> None:
    target, scores = never_predicted()
    parts = measure_classes(target, scores, Bootstrap(len(target), 50, 0)).parts
    precision, recall, f1, _ = sk.precision_recall_fscore_support(target, scores.argmax(axis=1), zero_division=0)
    for k in range(5):
        assert parts["precision"][k].value == pytest.approx(precision[k])
        assert parts["recall"][k].value == pytest.approx(recall[k])
        assert parts["f1"][k].value == pytest.approx(f1[k])
        assert parts["auc"][k].value == pytest.approx(sk.roc_auc_score(target == k, scores[:, k]))
        low, high = parts["recall"][k].low, parts["recall"][k].high
        assert low is not None
        assert high is not None
        assert low <= recall[k] <= high


def test_class_without_test_rows_has_no_auc_and_says_why() -> None:
    target, scores = absent_from_test()
    metric = measure_classes(target, scores, Bootstrap(len(target), 10, 0)).parts["auc"][1]
    assert metric.value is None
    assert "no test row" in metric.reason


def test_binary_auc_is_the_ordinary_one() -> None:
    target, scores = CASES["binary"]
    found = measure_classes(target, scores, Bootstrap(len(target), NO_DRAWS, 0)).metrics["auc"].value
    assert found == pytest.approx(sk.roc_auc_score(target, scores[:, 1]))


def test_perfect_score_has_wilson_s_interval_and_what_is_no_share_has_none() -> None:
    found = measure_classes(*perfect(), Bootstrap(40, 100, 0))
    accuracy, auc = found.metrics["accuracy"], found.metrics["auc"]
    assert (accuracy.value, accuracy.high) == (1.0, 1.0)
    assert accuracy.low == pytest.approx(0.9124, abs=1e-4)  # R: binom::binom.wilson(40, 40)
    assert (auc.value, auc.low, auc.high) == (1.0, None, None)
    recall = found.parts["recall"][0]
    assert recall.low is not None
    assert recall.low < accuracy.low  # of fewer rows


def test_a_single_mistake_leaves_no_shorter_interval_than_none() -> None:
    target, scores = perfect()
    scores[0] = np.roll(scores[0], 1)
    one = measure_classes(target, scores, Bootstrap(40, 1000, 0)).metrics["accuracy"]
    assert (one.low, one.high) == pytest.approx((0.8712, 0.9956), abs=1e-4)  # R: binom::binom.wilson(39, 40)


def test_groups_widen_the_intervals_of_every_metric() -> None:
    """Each speaker's rows are all right or all wrong: 20 speakers are known, not 400 rows."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 20)
    target = random.integers(0, 2, 400)
    wrong = np.isin(groups, np.arange(6))
    scores = np.where((np.where(wrong, 1 - target, target) == np.arange(2)[:, None]).T, 0.8, 0.2)
    rows, grouped = (measure_classes(target, scores, Bootstrap(400, 1000, 0, one)).metrics for one in (None, groups))
    for name in ("accuracy", "recall_macro", "log_loss", "ece"):
        own, other = rows[name], grouped[name]
        assert own.low is not None
        assert own.high is not None
        assert other.low is not None
        assert other.high is not None
        assert own.value == other.value
        assert other.high - other.low > 2.5 * (own.high - own.low), name


def test_calibration_error_lies_within_its_interval_although_resampling_raises_it() -> None:
    """A well calibrated model: the error of every resample is larger than its own."""
    random = np.random.default_rng(0)
    scores = random.dirichlet(np.ones(3), 500)
    target = np.array([random.choice(3, p=row) for row in scores])
    ece = measure_classes(target, scores, Bootstrap(500, 500, 0)).metrics["ece"]
    assert ece.value is not None
    assert ece.low is not None
    assert ece.high is not None
    assert np.median(ece.draws) > ece.value
    assert ece.low <= ece.value <= ece.high


def test_few_rows_leave_resamples_with_one_class_out_of_the_auc_interval() -> None:
    target = np.array([0, 1, 1])
    scores = np.array([[0.6, 0.4], [0.3, 0.7], [0.7, 0.3]])
    auc = measure_classes(target, scores, Bootstrap(3, 200, 0)).metrics["auc"]
    assert np.isnan(auc.draws).any()
    assert auc.low is not None
    assert auc.low <= 1.0


def test_auc_stops_drawing_when_it_would_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flywheel.report.class_metrics.AUC_CELLS", 1)
    target, scores = plain(num_rows=5000)
    found = measure_classes(target, scores, Bootstrap(5000, 100, 0)).metrics
    assert 0 < np.isfinite(found["auc"].draws).sum() < 100
    assert np.isfinite(found["accuracy"].draws).all()
    assert found["auc"].low is not None


def test_ten_thousand_rows_of_ten_classes_take_seconds() -> None:
    target, scores = plain(10_000, 10)
    start = time.process_time()
    measure_classes(target, scores.astype(np.float32), Bootstrap(10_000, 200, 0))
    assert time.process_time() - start < 3  # 0.2 s on an idle core; 1,000 resamples take 0.8 s


def test_weights_of_one_give_the_test_set_itself() -> None:
    target, scores = plain()
    found = ClassMetrics(target, scores).compute(np.ones((len(target), 2)))
    assert found["accuracy"].tolist() == [(scores.argmax(axis=1) == target).mean()] * 2
