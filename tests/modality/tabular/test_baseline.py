from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flywheel.modality.tabular.baseline import gradient_boosting, logistic_regression, ridge_regression
from flywheel.project.errors import ConfigError
from flywheel.project.instantiate import build
from flywheel.project.kind import BASELINE
from flywheel.report.baseline import BaselineData
from flywheel.report.examples import Examples

INPUTS = {"numeric": {"dtype": "float32", "shape": [2]}, "categories": {"dtype": "int32", "shape": [1]}}
CLASSES = {"inputs": INPUTS, "cardinalities": [40], "num_classes": 2}
NUMBERS = {"inputs": INPUTS, "cardinalities": [40], "target_mean": 100.0, "target_std": 10.0, "target_log1p": False}
Make = Callable[..., BaselineData]


@pytest.fixture
def data(tmp_path: Path) -> Make:
    """Rows whose target depends on one number, and on whether a category's code is odd."""

    def part(name: str, rows: int, seed: int, classes: bool) -> Examples:
        from safetensors.numpy import save_file

        random = np.random.default_rng(seed)
        numeric = random.normal(size=(rows, 2)).astype(np.float32)
        codes = random.integers(0, 40, (rows, 1)).astype(np.int32)
        signal = numeric[:, 0] + 2.0 * (codes[:, 0] % 2) - 1
        target = (signal > 0).astype(np.int64) if classes else signal.astype(np.float32)
        arrays = {"numeric": numeric, "categories": codes, "target": target, "row": np.arange(rows)}
        save_file(arrays, tmp_path / f"{name}.safetensors")
        return Examples(tmp_path / f"{name}.safetensors", INPUTS)

    def make(meta: dict[str, Any], max_rows: int = 0, **given: Any) -> BaselineData:
        sizes = {"train": 600, "validation": 150, "test": 200}
        classes = "num_classes" in meta
        parts = {name: part(name, rows, seed, classes) for seed, (name, rows) in enumerate(sizes.items())}
        return BaselineData(**{**parts, "meta": meta, "preprocessor": None, "max_rows": max_rows, "seed": 0, **given})

    return make


def test_classes(data: Make) -> None:
    given = data(CLASSES)
    scores, note = gradient_boosting().predict(given)
    assert scores.shape == (200, 2)
    assert scores.sum(axis=1) == pytest.approx(1)
    assert (scores.argmax(axis=1) == given.test.target).mean() > 0.9
    assert note.startswith("Gradient boosting was fitted on all 600 train rows, with ")
    assert note.endswith("trees, their number chosen on validation.")


def test_numbers_are_answered_in_the_targets_own_units(data: Make) -> None:
    given = data(NUMBERS)
    scores, _ = gradient_boosting().predict(given)
    own = given.test.target * 10.0 + 100.0
    assert np.sqrt(np.mean((scores - own) ** 2)) < 0.4 * own.std()
    logs, _ = gradient_boosting(max_iterations=5).predict(
        data({**NUMBERS, "target_mean": 1.0, "target_std": 0.1, "target_log1p": True})
    )
    assert (logs > 0).all()
    assert np.log1p(logs).mean() == pytest.approx(1.0, abs=0.1)


def test_categories_are_categories(data: Make) -> None:
    """Odd and even codes cannot be told apart by few thresholds."""
    sets = gradient_boosting(max_iterations=10, max_leaf_nodes=4).predict(data(NUMBERS))[0]
    order = gradient_boosting(max_iterations=10, max_leaf_nodes=4).predict(data({**NUMBERS, "cardinalities": [999]}))[0]
    own = data(NUMBERS).test.target * 10.0 + 100.0
    assert np.mean((sets - own) ** 2) < 0.7 * np.mean((order - own) ** 2)


def test_a_linear_model_knows_categories(data: Make) -> None:
    given = data(CLASSES)
    scores, note = logistic_regression().predict(given)
    assert scores.sum(axis=1) == pytest.approx(1)
    assert (scores.argmax(axis=1) == given.test.target).mean() > 0.9
    assert note.startswith(
        "Logistic regression was fitted on all 600 train rows with 42 standardised columns, and an L2"
    )
    given = data(NUMBERS)
    scores, note = ridge_regression().predict(given)
    own = given.test.target * 10.0 + 100.0
    assert np.sqrt(np.mean((scores - own) ** 2)) < 0.2 * own.std()
    assert note.endswith("chosen by squared error on validation.")
    assert "a sample of 100 of the 600 train rows" in ridge_regression().predict(data(NUMBERS, max_rows=100))[1]


def test_ridge_regression_is_scikit_learn_s_and_stays_within_train(data: Make) -> None:
    from sklearn.linear_model import Ridge

    given = data({**NUMBERS, "cardinalities": [999]}, validation=None)  # too many codes: numbers alone
    numeric = {name: part.inputs(np.arange(part.num_rows))["numeric"].numpy() for name, part in
               (("train", given.train), ("test", given.test))}  # fmt: skip
    mean, std = numeric["train"].mean(axis=0), numeric["train"].std(axis=0)
    theirs = Ridge(alpha=10).fit((numeric["train"] - mean) / std, given.train.target)
    expected = theirs.predict((numeric["test"] - mean) / std)
    low, high = given.train.target.min(), given.train.target.max()
    scores, _ = ridge_regression(c=[0.1]).predict(given)
    np.testing.assert_allclose(scores, np.clip(expected, low, high) * 10 + 100, rtol=1e-4)


@pytest.mark.parametrize("meta", [CLASSES, NUMBERS])
def test_it_is_deterministic_and_can_do_with_less(data: Make, meta: dict[str, Any]) -> None:
    first, note = gradient_boosting(max_iterations=20).predict(data(meta, max_rows=100, validation=None))
    again, _ = gradient_boosting(max_iterations=20).predict(data(meta, max_rows=100, validation=None))
    assert (first == again).all()
    assert note == "Gradient boosting was fitted on a sample of 100 of 600 train rows, with 20 trees."


def test_one_class_is_always_answered(data: Make) -> None:
    given = data(CLASSES)
    given.train.target[:] = 1
    scores, note = gradient_boosting().predict(given)
    assert (scores == [0, 1]).all()
    assert "one class only" in note


def test_it_is_built_from_configuration() -> None:
    node = {"_target_": "flywheel.modality.tabular.baseline.gradient_boosting"}
    assert build(node, BASELINE, where="evaluate.baselines.trees").title == "gradient boosting"
    with pytest.raises(ConfigError, match="learning_rate > 0"):
        build({**node, "learning_rate": 0}, BASELINE, where="evaluate.baselines.trees")
