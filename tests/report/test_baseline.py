from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from flywheel.modality.image.data.preprocessor import ImagePreprocessor
from flywheel.project.errors import ConfigError
from flywheel.project.instantiate import build
from flywheel.project.kind import BASELINE
from flywheel.report.baseline import BaselineData, logistic_regression, stratified

MakeExamples = Callable[..., Any]

META = {"num_classes": 3}


def blobs(num_rows: int, num_classes: int = 3, num_features: int = 4, seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    target = np.arange(num_rows) % num_classes
    centres = 3 * np.random.default_rng(99).normal(size=(num_classes, num_features))
    return centres[target] + random.normal(size=(num_rows, num_features)), target


@pytest.fixture
def data(make_examples: MakeExamples) -> Callable[..., BaselineData]:
    def make(num_features: int = 4, max_rows: int = 0, **given: Any) -> BaselineData:
        parts = {
            name: make_examples(name, *blobs(rows, num_features=num_features, seed=seed))
            for seed, (name, rows) in enumerate({"train": 240, "validation": 90, "test": 120}.items())
        }
        own = {"meta": META, "preprocessor": ImagePreprocessor(), "max_rows": max_rows, "seed": 0}
        return BaselineData(**{**parts, **own, **given})

    return make


def accuracy(scores: Any, data: BaselineData) -> float:
    return float((scores.argmax(axis=1) == data.test.target).mean())


def test_it_learns_and_answers_with_probabilities(data: Callable[..., BaselineData]) -> None:
    given = data()
    scores, note = logistic_regression().predict(given)
    assert accuracy(scores, given) > 0.9
    assert scores.sum(axis=1) == pytest.approx(1)
    assert note.startswith("Logistic regression was fitted on all 240 train rows with 4 features a row")
    assert note.endswith("chosen by log-loss on validation.")


def test_a_subsample_is_stated(data: Callable[..., BaselineData]) -> None:
    _, note = logistic_regression().predict(data(max_rows=30))
    assert "a stratified sample of 30 of the 240 train rows" in note


def test_the_same_seed_gives_the_same_scores(data: Callable[..., BaselineData]) -> None:
    first, again = (logistic_regression().predict(data(max_rows=30))[0] for _ in range(2))
    assert np.array_equal(first, again)


def test_a_fit_that_did_not_converge_is_stated_and_no_warning(data: Callable[..., BaselineData]) -> None:
    _, note = logistic_regression(c=[100.0], max_iterations=2).predict(data())
    assert "It stopped after 2 iterations before it had converged" in note


def test_validation_chooses_the_penalty(make_examples: MakeExamples, data: Callable[..., BaselineData]) -> None:
    """Labels that are noise in train: the strongest penalty is best."""
    x, _ = blobs(240)
    noise = make_examples("train", x, np.random.default_rng(0).integers(0, 3, 240))
    _, note = logistic_regression(c=[10.0, 1e-6]).predict(data(train=noise))
    assert "C\u00a0=\u00a01e-06" in note


def test_without_validation_it_takes_a_middle_penalty_and_does_not_say_chosen(
    data: Callable[..., BaselineData],
) -> None:
    given = data(validation=None)
    scores, note = logistic_regression(c=[0.01, 0.1, 1.0]).predict(given)
    assert "C\u00a0=\u00a00.1." in note
    assert accuracy(scores, given) > 0.9


def test_many_features_are_projected_and_stated(
    data: Callable[..., BaselineData], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flywheel.report.baseline.MAX_FEATURES", 20)
    given = data(num_features=500)
    scores, note = logistic_regression().predict(given)
    assert accuracy(scores, given) > 0.9
    assert "with 500 features a row" in note
    assert "projected at random to 20." in note


def test_a_large_fit_uses_fewer_rows(data: Callable[..., BaselineData], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flywheel.report.baseline.MAX_CELLS", 4 * 3 * 60)
    assert "a stratified sample of 60 of the 240 train rows" in logistic_regression().predict(data())[1]


def test_a_class_that_train_lacks_gets_no_probability(
    make_examples: MakeExamples, data: Callable[..., BaselineData]
) -> None:
    x, target = blobs(240)
    scores, _ = logistic_regression().predict(data(train=make_examples("train", x[target != 1], target[target != 1])))
    assert (scores[:, 1] == 0).all()
    assert scores[:, [0, 2]].sum(axis=1) == pytest.approx(1)


def test_train_of_one_class_is_stated(make_examples: MakeExamples, data: Callable[..., BaselineData]) -> None:
    x, _ = blobs(20)
    scores, note = logistic_regression().predict(data(train=make_examples("train", x, np.full(20, 2))))
    assert (scores.argmax(axis=1) == 2).all()
    assert "one class only" in note


def test_a_bad_penalty_names_its_key() -> None:
    node = {"_target_": "flywheel.report.baseline.logistic_regression", "c": [0.0]}
    with pytest.raises(ConfigError, match=r"evaluate\.baselines\.one.*c must hold positive numbers"):
        build(node, BASELINE, where="evaluate.baselines.one")


def test_stratified_keeps_shares_and_every_class() -> None:
    target = np.repeat([0, 1, 2], [700, 299, 1])
    chosen = stratified(target, 100, seed=5)
    assert np.bincount(target[chosen]).tolist() == [70, 30, 1]
    assert (np.diff(chosen) > 0).all()
    assert np.array_equal(chosen, stratified(target, 100, seed=5))
    assert not np.array_equal(chosen, stratified(target, 100, seed=6))


def test_stratified_takes_all_where_there_are_not_more() -> None:
    assert stratified(np.array([1, 0, 1]), 3, seed=0).tolist() == [0, 1, 2]
