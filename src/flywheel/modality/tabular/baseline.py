"""Gradient boosting and a linear model beside the network: what a table's rows are worth to the usual methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flywheel.project.types import Json
from flywheel.report.baseline import (
    MAX_CELLS,
    Baseline,
    BaselineData,
    Features,
    LogisticRegression,
    Scaled,
    one_class,
    stratified,
)
from flywheel.report.bootstrap import Array
from flywheel.report.examples import Examples
from flywheel.report.logistic import Strengths, rows_in_words

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
        chosen = chosen_rows(target, data.max_rows, data.seed, classes)
        if classes and len(np.unique(target[chosen])) < 2:
            return one_class(data, target[chosen], self.title)
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
        return in_own_units(model.predict(x), data.meta)

    def _note(self, data: BaselineData, num_rows: int, num_trees: int) -> str:
        whole = data.train.num_rows
        rows = f"all {whole:,} train rows" if num_rows == whole else f"a sample of {num_rows:,} of {whole:,} train rows"
        stopped = ", their number chosen on validation" if data.validation is not None else ""
        each = " a class" if data.num_classes > 2 else ""
        return f"Gradient boosting was fitted on {rows}, with {num_trees:,} trees{each}{stopped}."


def logistic_regression(
    c: Sequence[float] = (0.001, 0.01, 0.1, 1.0, 10.0), max_iterations: int = 300, tolerance: float = 1e-4
) -> Baseline:
    """Logistic regression on standardised columns, one for each category (scikit-learn).

    Args:
        c: Inverse strengths of the L2 penalty to try; validation log-loss chooses.
        max_iterations: Most iterations of one fit.
        tolerance: Largest gradient at which a fit has converged.
    """
    return ColumnsLogisticRegression(Strengths(c, max_iterations, tolerance))


def ridge_regression(c: Sequence[float] = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)) -> Baseline:
    """Ridge regression on standardised columns, one for each category.

    Args:
        c: Inverse strengths of the L2 penalty to try; squared error on validation chooses.
    """
    return RidgeRegression(Strengths(c, 1, 1.0).c)


class ColumnsLogisticRegression(LogisticRegression):
    """See `logistic_regression`."""

    def features(self, data: BaselineData) -> Features:
        """Numbers, and categories."""
        return _columns(data)


class RidgeRegression(Baseline):
    """See `ridge_regression`."""

    title = "ridge regression"

    def __init__(self, strengths: Sequence[float]) -> None:
        self._strengths = sorted(strengths)

    def predict(self, data: BaselineData) -> tuple[Array, str]:
        """Fit with the strength that validation likes best, and answer test within the range of train."""
        found = _columns(data)
        limit = min(data.max_rows or data.train.num_rows, MAX_CELLS // (4 * found.number))
        chosen = chosen_rows(data.train.target, max(limit, 10), data.seed, classes=False)
        scaled, target = Scaled(found, data.train, chosen), data.train.target[chosen].astype(np.float64)
        x, middle = scaled.of(data.train, chosen).astype(np.float64), target.mean()
        values, vectors = np.linalg.eigh(x.T @ x)
        turned = vectors.T @ (x.T @ (target - middle))
        weights = {c: vectors @ (turned / (np.maximum(values, 0) + 1 / c)) for c in self._strengths}
        c = self._strengths[len(self._strengths) // 2]
        if data.validation is not None:
            held = chosen_rows(data.validation.target, max(limit, 10), data.seed, classes=False)
            x_held, right = scaled.of(data.validation, held), data.validation.target[held]
            c = min(self._strengths, key=lambda c: float(((x_held @ weights[c] + middle - right) ** 2).mean()))
        answers = [scaled.of(data.test, index) @ weights[c] + middle for index in _chunks(data.test.num_rows)]
        clipped = np.clip(np.concatenate(answers), target.min(), target.max())
        return in_own_units(clipped, data.meta), self._note(data, len(chosen), found, c)

    def _note(self, data: BaselineData, num_rows: int, found: Features, c: float) -> str:
        rows = rows_in_words(num_rows, data.train.num_rows, "a sample")
        chosen = ", chosen by squared error on validation" if data.validation is not None else ""
        penalty = f"L2 penalty of C\u00a0=\u00a0{c:g}{chosen}"
        return f"Ridge regression was fitted on {rows} with {found.described}, and an {penalty}."


def _columns(data: BaselineData) -> Features:
    """All inputs side by side; a category of no more than `MAX_BINS` codes is a column a code, others are left out."""
    sizes = data.meta.get("cardinalities", [])

    def flat(name: str, values: Array) -> list[Array]:
        if name != "categories":
            return [values.reshape(len(values), -1)]
        few = [place for place, size in enumerate(sizes) if size <= MAX_BINS]
        return [values[:, place, None] == np.arange(sizes[place]) for place in few]

    def columns(part: Examples, index: Array) -> Array:
        found = [one for name, values in part.inputs(index).items() for one in flat(name, values.numpy())]
        return np.concatenate([np.zeros((len(index), 0), np.float32), *found], axis=1).astype(np.float32)

    number = max(1, columns(data.train, np.arange(1)).shape[1])
    return Features(number, columns, f"{number:,} standardised columns", standardise=True)


def in_own_units(answers: Array, meta: Json) -> Array:
    """Undo what was done to a number that is to be learnt."""
    scaled = answers * meta.get("target_std", 1.0) + meta.get("target_mean", 0.0)
    return np.asarray(np.expm1(scaled) if meta.get("target_log1p") else scaled)


def chosen_rows(target: Array, max_rows: int, seed: int, classes: bool) -> Array:
    """Rows to fit on: all, or a sample of so many."""
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


BASELINES = (gradient_boosting, logistic_regression, ridge_regression)
"""What a task may name in `evaluate.baselines`."""
