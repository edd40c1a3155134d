"""Logistic regression whose penalty validation chooses: what the linear baselines of all kinds of data share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flywheel.report.bootstrap import Array


@dataclass(frozen=True)
class Strengths:
    """How a fit is searched for.

    Attributes:
        c: Inverse strengths of the L2 penalty to try; validation log-loss chooses.
        max_iterations: Most iterations of one fit.
        tolerance: Largest gradient at which a fit has converged.
    """

    c: Sequence[float]
    max_iterations: int
    tolerance: float

    def __post_init__(self) -> None:
        """Refuse penalties that cannot be.

        Raises:
            ValueError: One is.
        """
        if not self.c or any(strength <= 0 for strength in self.c):
            raise ValueError(f"c must hold positive numbers, not {list(self.c)}")


@dataclass(frozen=True)
class Fit:
    """A fitted model (scikit-learn's), and what is to be said of it.

    Attributes:
        model: Answers with probabilities of `model.classes_`.
        strength: The C that was chosen.
        num_tried: How many iterations a fit may have, where it did not converge; 0: it did.
        by_validation: Whether validation chose.
    """

    model: Any
    strength: float
    num_tried: int
    by_validation: bool

    def scores(self, x: Any, num_classes: int) -> Array:
        """Probabilities of all classes, [N, num_classes]; 0 of those that train lacks."""
        found = np.zeros((x.shape[0], num_classes))
        found[:, self.model.classes_] = self.model.predict_proba(x)
        return found

    @property
    def penalty(self) -> str:
        """The penalty in words."""
        chosen = ", chosen by log-loss on validation" if self.by_validation else ""
        return f"L2 penalty of C\u00a0=\u00a0{self.strength:g}{chosen}"

    @property
    def warning(self) -> list[str]:
        """A sentence where it did not converge."""
        if not self.num_tried:
            return []
        return [
            f"It stopped after {self.num_tried} iterations before it had converged, so it may be slightly better"
            " than it looks here."
        ]


def fit_logistic(x: Any, target: Array, check: tuple[Any, Array] | None, strengths: Strengths) -> Fit:
    """Go from the strongest penalty to weaker ones, each from the last one's weights, while validation gains.

    Args:
        x: Rows of train, dense or sparse.
        target: Their classes, two at least.
        check: Rows of validation and their classes; None: the penalty in the middle is taken.
        strengths: What is tried.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    ascending = sorted(strengths.c)
    tried: list[tuple[float, Fit]] = []
    for strength in ascending if check else ascending[len(ascending) // 2 :][:1]:
        model = LogisticRegression(
            C=strength, max_iter=strengths.max_iterations, tol=strengths.tolerance, warm_start=True
        )
        if tried:
            before = tried[-1][1].model
            model.coef_, model.intercept_ = before.coef_.copy(), before.intercept_.copy()
            model.classes_ = before.classes_
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(x, target)
        stopped = any(issubclass(item.category, ConvergenceWarning) for item in caught)
        fit = Fit(model, strength, strengths.max_iterations if stopped else 0, check is not None)
        tried.append((_log_loss(model, *check) if check else 0.0, fit))
        if len(tried) > 1 and tried[-1][0] >= tried[-2][0]:
            break
    return min(tried, key=lambda one: one[0])[1]


def rows_in_words(num_rows: int, whole: int, sample: str = "a stratified sample") -> str:
    """Which rows of train a baseline was fitted on."""
    if num_rows == whole:
        return f"all {whole:,} train rows"
    return f"{sample} of {num_rows:,} of the {whole:,} train rows"


def _log_loss(model: Any, x: Any, target: Array) -> float:
    """Mean log-loss; rows of a class that the fit has not seen count as surely wrong."""
    column = {label: k for k, label in enumerate(model.classes_)}
    at = np.array([column.get(label, -1) for label in target])
    given = np.where(at >= 0, model.predict_proba(x)[np.arange(len(at)), at], 0.0)
    return float(-np.log(np.maximum(given, np.finfo(np.float32).eps)).mean())
