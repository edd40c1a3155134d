"""A classical model beside the network, on the same features, so that a reader sees whether the network is worth it."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from flywheel.preprocessor.base import Preprocessor
from flywheel.project.types import Json
from flywheel.report.bootstrap import Array
from flywheel.report.examples import Examples

MAX_FEATURES = 2048
"""More are projected at random to so many (Achlioptas 2003), or a large picture would not fit in memory."""
MAX_CELLS = 100_000_000
"""Rows x features x classes of one fit; beyond it fewer rows are used, which keeps a task under 20 seconds."""
CHUNK_ROWS = 1024


@dataclass(frozen=True)
class BaselineData:
    """What a baseline may learn from, and what it answers.

    Attributes:
        train: Rows to fit on.
        validation: Rows to choose settings on; None where there are none.
        test: Rows to answer.
        meta: Contents of `meta.json`.
        preprocessor: The preprocessor of the inputs.
        max_rows: Train rows it may use; 0: all.
        seed: The seed of the subsample.
    """

    train: Examples
    validation: Examples | None
    test: Examples
    meta: Json
    preprocessor: Preprocessor
    max_rows: int
    seed: int

    @property
    def num_classes(self) -> int:
        """Columns of the answer where the target is a class; 0 where it is none."""
        return int(self.meta.get("num_classes", 0))


class Baseline(ABC):
    """Something to compare a model with; built from the `evaluate.baseline` node.

    Attributes:
        name: A key of `metrics.json`.
        title: Its name for people.
    """

    name: ClassVar[str]
    title: ClassVar[str]

    @abstractmethod
    def predict(self, data: BaselineData) -> tuple[Array, str]:
        """Fit on train and answer test: scores [N, ...], and a note for the reader in full sentences."""


def logistic_regression(
    c: Sequence[float] = (0.001, 0.01, 0.1, 1.0), max_iterations: int = 200, tolerance: float = 1e-3
) -> Baseline:
    """Multinomial logistic regression on flattened, scaled inputs (scikit-learn, L-BFGS).

    Args:
        c: Inverse strengths of the L2 penalty to try, ascending; validation log-loss chooses.
        max_iterations: Most iterations of one fit.
        tolerance: Largest gradient at which a fit has converged.
    """
    if not c or any(strength <= 0 for strength in c):
        raise ValueError(f"c must hold positive numbers, not {list(c)}")
    return LogisticRegression(sorted(c), max_iterations, tolerance)


class LogisticRegression(Baseline):
    """See `logistic_regression`."""

    name = "logistic_regression"
    title = "logistic regression"

    def __init__(self, strengths: list[float], max_iterations: int, tolerance: float) -> None:
        self._strengths, self._max_iterations, self._tolerance = strengths, max_iterations, tolerance

    def predict(self, data: BaselineData) -> tuple[Array, str]:
        """Fit with the strength that validation likes best, and answer test."""
        projected, features = _features(data)
        limit = max(10 * data.num_classes, MAX_CELLS // (projected * data.num_classes))
        wanted = min(data.max_rows or data.train.num_rows, limit)
        chosen = stratified(data.train.target, wanted, data.seed)
        target = data.train.target[chosen]
        if len(np.unique(target)) < 2:
            scores = np.zeros((data.test.num_rows, data.num_classes))
            scores[:, target[0]] = 1.0
            return scores, "Train holds one class only, so logistic regression always answers it."
        fit, strength, converged = self._fit(data, features, features(data.train, chosen), target)
        scores = np.zeros((data.test.num_rows, data.num_classes))
        for index in _chunks(np.arange(data.test.num_rows)):
            scores[np.ix_(index, fit.classes_)] = fit.predict_proba(features(data.test, index))
        return scores, self._note(data, len(chosen), projected, strength, converged)

    def _fit(
        self, data: BaselineData, features: Callable[[Examples, Array], Array], x: Array, target: Array
    ) -> tuple[Any, float, bool]:
        """Go from the strongest penalty to weaker ones, each from the last one's weights, while validation gains."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression as Model

        if data.validation is None:
            strengths, x_check, check = self._strengths[len(self._strengths) // 2 :][:1], x, target
        else:
            held = stratified(data.validation.target, len(x), data.seed)
            strengths, x_check, check = self._strengths, features(data.validation, held), data.validation.target[held]
        tried: list[tuple[float, Any, float, bool]] = []
        for strength in strengths:
            fit = Model(C=strength, max_iter=self._max_iterations, tol=self._tolerance, warm_start=True)
            if tried:
                before = tried[-1][1]
                fit.coef_, fit.intercept_, fit.classes_ = before.coef_.copy(), before.intercept_.copy(), before.classes_
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ConvergenceWarning)
                fit.fit(x, target)
            converged = not any(issubclass(item.category, ConvergenceWarning) for item in caught)
            tried.append((_log_loss(fit, x_check, check), fit, strength, converged))
            if len(tried) > 1 and tried[-1][0] >= tried[-2][0]:
                break
        _, *best = min(tried, key=lambda one: one[0])
        return best[0], best[1], best[2]

    def _note(self, data: BaselineData, num_rows: int, projected: int, strength: float, converged: bool) -> str:
        whole = data.train.num_rows
        sample = f"a stratified sample of {num_rows:,} of the {whole:,} train rows"
        rows = f"all {whole:,} train rows" if num_rows == whole else sample
        chosen = ", chosen by log-loss on validation" if data.validation is not None else ""
        words = [
            f"Logistic regression was fitted on {rows} with {data.train.num_features:,} features a row and an"
            f" L2 penalty of C\u00a0=\u00a0{strength:g}{chosen}."
        ]
        if projected < data.train.num_features:
            words.append(f"The features were projected at random to {projected:,}.")
        if not converged:
            words.append(
                f"It stopped after {self._max_iterations} iterations before it had converged, so it may be"
                " slightly better than it looks here."
            )
        return " ".join(words)


def stratified(target: Array, num_rows: int, seed: int) -> Array:
    """Draw rows so that each class keeps its share (largest remainders), at least one row a class.

    Returns:
        Sorted indices; all of them where `num_rows` is not less than there are.
    """
    if num_rows >= len(target):
        return np.arange(len(target))
    classes, counts = np.unique(target, return_counts=True)
    share = counts * (num_rows / len(target))
    quota = np.floor(share).astype(np.int64)
    left = np.argsort(quota - share, kind="stable")[: num_rows - quota.sum()]
    quota[left] += 1
    quota = np.maximum(quota, 1)
    random = np.random.default_rng(seed)
    drawn = [
        random.choice(np.flatnonzero(target == one), size=take, replace=False)
        for one, take in zip(classes, quota, strict=True)
    ]
    return np.sort(np.concatenate(drawn))


def _features(data: BaselineData) -> tuple[int, Callable[[Examples, Array], Array]]:
    """How many features there are, and what gives them for some rows of a split, a chunk at a time."""
    plain = data.train.num_features
    if plain <= MAX_FEATURES:
        return plain, lambda part, index: part.features(index)
    from sklearn.random_projection import SparseRandomProjection

    project = SparseRandomProjection(MAX_FEATURES, random_state=data.seed, dense_output=True)
    project.fit(np.zeros((1, plain), dtype=np.float32))

    def projected(part: Examples, index: Array) -> Array:
        pieces = [project.transform(part.features(piece)).astype(np.float32) for piece in _chunks(index)]
        return np.concatenate(pieces)

    return MAX_FEATURES, projected


def _chunks(index: Array) -> list[Array]:
    return [index[start : start + CHUNK_ROWS] for start in range(0, len(index), CHUNK_ROWS)]


def _log_loss(fit: Any, x: Array, target: Array) -> float:
    """Mean log-loss; rows of a class that the fit has not seen count as surely wrong."""
    column = {label: k for k, label in enumerate(fit.classes_)}
    at = np.array([column.get(label, -1) for label in target])
    given = np.where(at >= 0, fit.predict_proba(x)[np.arange(len(x)), at], 0.0)
    return float(-np.log(np.maximum(given, np.finfo(np.float32).eps)).mean())
