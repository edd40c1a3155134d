"""Gradient boosting beside the network: what a table's rows are worth to the method that is hard to beat on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from flywheel.report.baseline import Baseline, BaselineData, stratified
from flywheel.report.bootstrap import Array
from flywheel.report.examples import Examples

MAX_BINS = 255
"""Of scikit-learn's histograms; a category with more codes is taken as a number."""
MAX_TREES = 5000
"""Over all classes: each tree of many classes is one of their number."""
CHUNK_ROWS = 8192


def gradient_boosting(
    max_iterations: int = 300, learning_rate: float = 0.1, max_leaf_nodes: int = 31, patience: int = 15
) -> Baseline:
    """Histogram gradient boosting (scikit-learn; Ke et al. 2017, "LightGBM"), for classes and for numbers.

    Args:
        max_iterations: Trees of one class at most.
        learning_rate: Share of a tree's answer that is added.
        max_leaf_nodes: Leaves of a tree at most.
        patience: Trees without a gain on validation after which it stops.
    """
    if max_iterations < 1 or not learning_rate > 0 or max_leaf_nodes < 2 or patience < 1:
        raise ValueError("max_iterations and patience >= 1, learning_rate > 0 and max_leaf_nodes >= 2 are required")
    return GradientBoosting(max_iterations, learning_rate, max_leaf_nodes, patience)


class GradientBoosting(Baseline):
    """See `gradient_boosting`."""

    name = "gradient_boosting"
    title = "gradient boosting"

    def __init__(self, max_iterations: int, learning_rate: float, max_leaf_nodes: int, patience: int) -> None:
        self._settings: dict[str, Any] = {
            "max_iter": max_iterations, "learning_rate": learning_rate, "max_leaf_nodes": max_leaf_nodes,
            "n_iter_no_change": patience,
        }  # fmt: skip

    def predict(self, data: BaselineData) -> tuple[Array, str]:
        """Fit on train, stop by validation, and answer test: probabilities, or numbers in the target's own units."""
        classes = data.num_classes > 0
        target = data.train.target
        chosen = _rows(target, data.max_rows, data.seed, classes)
        if classes and len(np.unique(target[chosen])) < 2:
            scores = np.zeros((data.test.num_rows, data.num_classes))
            scores[:, target[chosen][0]] = 1.0
            return scores, "Train holds one class only, so gradient boosting always answers it."
        model = self._model(data, classes)
        x, y = _table(data.train, chosen), target[chosen]
        held = _checked_rows(data, y, classes)
        if data.validation is None or not len(held):
            model.set_params(early_stopping=False)
            model.fit(x, y)
        else:
            model.fit(x, y, X_val=_table(data.validation, held), y_val=data.validation.target[held])
        answers = [self._answers(model, data, _table(data.test, index)) for index in _chunks(data.test.num_rows)]
        return np.concatenate(answers), self._note(data, len(chosen), int(model.n_iter_))

    def _model(self, data: BaselineData, classes: bool) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
        trees = min(self._settings["max_iter"], max(1, MAX_TREES // max(1, data.num_classes)))
        settings = {**self._settings, "max_iter": trees, "categorical_features": _category_columns(data) or None}
        return kind(**settings, early_stopping=True, random_state=data.seed)

    def _answers(self, model: Any, data: BaselineData, x: Array) -> Array:
        if data.num_classes:
            scores = np.zeros((len(x), data.num_classes))
            scores[:, model.classes_] = model.predict_proba(x)
            return scores
        scaled = model.predict(x) * data.meta.get("target_std", 1.0) + data.meta.get("target_mean", 0.0)
        return np.asarray(np.expm1(scaled) if data.meta.get("target_log1p") else scaled)

    def _note(self, data: BaselineData, num_rows: int, num_trees: int) -> str:
        whole = data.train.num_rows
        rows = f"all {whole:,} train rows" if num_rows == whole else f"a sample of {num_rows:,} of {whole:,} train rows"
        stopped = ", their number chosen on validation" if data.validation is not None else ""
        each = " a class" if data.num_classes > 2 else ""
        return f"Gradient boosting was fitted on {rows}, with {num_trees:,} trees{each}{stopped}."


def _rows(target: Array, max_rows: int, seed: int, classes: bool) -> Array:
    if not max_rows or max_rows >= len(target):
        return np.arange(len(target))
    if classes:
        return stratified(target, max_rows, seed)
    return np.sort(np.random.default_rng(seed).choice(len(target), size=max_rows, replace=False))


def _checked_rows(data: BaselineData, fitted: Array, classes: bool) -> Array:
    """Rows of validation that can be scored: a class that the fit has not seen cannot."""
    if data.validation is None:
        return np.empty(0, dtype=np.int64)
    target = data.validation.target
    return np.flatnonzero(np.isin(target, fitted)) if classes else np.arange(len(target))


def _table(part: Examples, index: Array) -> Array:
    """All inputs of some rows side by side, float64 [M, columns]: numbers as stored, categories as their codes."""
    flat = [values.numpy().reshape(len(index), -1) for values in part.inputs(index).values()]
    return np.concatenate(flat, axis=1).astype(np.float64)


def _category_columns(data: BaselineData) -> list[int]:
    """Columns of `_table` that hold codes of categories few enough to be split as sets."""
    found: list[int] = []
    start = 0
    for name, spec in data.meta["inputs"].items():
        width = int(np.prod(spec["shape"], dtype=np.int64))
        if name == "categories":
            sizes = data.meta.get("cardinalities", [])
            found += [start + place for place, codes in enumerate(sizes) if codes <= MAX_BINS]
        start += width
    return found


def _chunks(num_rows: int) -> list[Array]:
    return [np.arange(start, min(start + CHUNK_ROWS, num_rows)) for start in range(0, num_rows, CHUNK_ROWS)]


BASELINES = (gradient_boosting,)
"""What a task may name: `evaluate.baseline`."""
