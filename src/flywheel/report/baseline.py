"""A classical model beside the network, on the same features, so that a reader sees whether the network is worth it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from flywheel.preprocessor.base import Preprocessor
from flywheel.project.types import Json
from flywheel.report.bootstrap import Array
from flywheel.report.examples import Examples
from flywheel.report.logistic import Strengths, fit_logistic, rows_in_words

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
    """Something to compare a model with; built from a node of `evaluate.baselines`.

    Attributes:
        title: Its name for people.
    """

    title: ClassVar[str]

    @abstractmethod
    def predict(self, data: BaselineData) -> tuple[Array, str]:
        """Fit on train and answer test: scores [N, ...], and a note for the reader in full sentences."""


def logistic_regression(
    c: Sequence[float] = (0.001, 0.01, 0.1, 1.0), max_iterations: int = 200, tolerance: float = 1e-3
) -> Baseline:
    """Multinomial logistic regression on flattened, scaled inputs (scikit-learn, L-BFGS).

    Args:
        c: Inverse strengths of the L2 penalty to try; validation log-loss chooses.
        max_iterations: Most iterations of one fit.
        tolerance: Largest gradient at which a fit has converged.
    """
    return LogisticRegression(Strengths(c, max_iterations, tolerance))


class LogisticRegression(Baseline):
    """See `logistic_regression`; what it is fitted on may be other features of the inputs."""

    title = "logistic regression"

    def __init__(self, strengths: Strengths) -> None:
        self._strengths = strengths

    def features(self, data: BaselineData) -> Features:
        """What it is fitted on."""
        return _flat(data)

    def predict(self, data: BaselineData) -> tuple[Array, str]:
        """Fit with the strength that validation likes best, and answer test."""
        found = self.features(data)
        limit = max(10 * data.num_classes, MAX_CELLS // (found.number * data.num_classes))
        chosen = stratified(data.train.target, min(data.max_rows or data.train.num_rows, limit), data.seed)
        target = data.train.target[chosen]
        if len(np.unique(target)) < 2:
            return one_class(data, target, self.title)
        scaled = Scaled(found, data.train, chosen)
        check = None
        if data.validation is not None:
            held = stratified(data.validation.target, len(chosen), data.seed)
            check = scaled.of(data.validation, held), data.validation.target[held]
        fit = fit_logistic(scaled.of(data.train, chosen), target, check, self._strengths)
        pieces = _chunks(np.arange(data.test.num_rows))
        scores = np.concatenate([fit.scores(scaled.of(data.test, piece), data.num_classes) for piece in pieces])
        rows = rows_in_words(len(chosen), data.train.num_rows)
        start = f"Logistic regression was fitted on {rows} with {found.described}, and an {fit.penalty}."
        return scores, " ".join([start, *found.remarks, *fit.warning])


@dataclass(frozen=True)
class Features:
    """What a linear baseline is fitted on.

    Attributes:
        number: Columns.
        of: Gives them for some rows of a split, float32 [M, number].
        described: In words, after "with".
        remarks: Further sentences.
        standardise: Whether they are brought to mean 0 and deviation 1, as in the rows that it is fitted on.
    """

    number: int
    of: Callable[[Examples, Array], Array]
    described: str
    remarks: tuple[str, ...] = ()
    standardise: bool = False


class Scaled:
    """Features, standardised by the rows that a baseline is fitted on where they are to be.

    Args:
        features: What gives them.
        train: The split of these rows.
        chosen: Which rows they are.
    """

    def __init__(self, features: Features, train: Examples, chosen: Array) -> None:
        self._features = features
        self._mean: Array | None = None
        if features.standardise:
            x = self.of(train, chosen)
            self._mean, std = x.mean(axis=0), x.std(axis=0)
            self._std = np.where(std < 1e-6, np.float32(1), std)

    def of(self, part: Examples, index: Array) -> Array:
        """The features of some rows, float32 [M, number], a chunk at a time."""
        pieces = [self._features.of(part, piece) for piece in _chunks(index)]
        if self._mean is not None:
            pieces = [(piece - self._mean) / self._std for piece in pieces]
        return np.concatenate(pieces)


def one_class(data: BaselineData, target: Array, title: str) -> tuple[Array, str]:
    """What a classifier answers whose rows are all of one class."""
    scores = np.zeros((data.test.num_rows, data.num_classes))
    scores[:, target[0]] = 1.0
    return scores, f"Train holds one class only, so {title} always answers it."


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


def _flat(data: BaselineData) -> Features:
    """The inputs as the network gets them, projected where there are too many."""
    plain = data.train.num_features
    described = f"{plain:,} features a row"
    if plain <= MAX_FEATURES:
        return Features(plain, lambda part, index: part.features(index), described)
    from sklearn.random_projection import SparseRandomProjection

    project = SparseRandomProjection(MAX_FEATURES, random_state=data.seed, dense_output=True)
    project.fit(np.zeros((1, plain), dtype=np.float32))

    def projected(part: Examples, index: Array) -> Array:
        pieces = [project.transform(part.features(piece)).astype(np.float32) for piece in _chunks(index)]
        return np.concatenate(pieces)

    remark = f"The features were projected at random to {MAX_FEATURES:,}."
    return Features(MAX_FEATURES, projected, described, (remark,))


def _chunks(index: Array) -> list[Array]:
    return [index[start : start + CHUNK_ROWS] for start in range(0, len(index), CHUNK_ROWS)]
