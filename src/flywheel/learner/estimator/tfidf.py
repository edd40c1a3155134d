"""TF-IDF and a linear model over it: the idf and the weights of `flywheel.model.tfidf_linear.TfidfLinear`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flywheel.learner.estimator.base import FitProblem, Rows
from flywheel.learner.estimator.penalty_path import Array, Design, PenaltyPath, sparse_rows
from flywheel.model.ngram_linear import PADDING_ID
from flywheel.model.tfidf_linear import TfidfLinear, TfidfWeights
from flywheel.project.errors import ConfigError

_ROWS = 512
"""Texts whose n-grams are laid out at a time."""


class PenalisedTfidf(PenaltyPath):
    """TF-IDF by train, then logistic regression with a cross-entropy, ridge regression with the mean squared error.

    An idf is log((1 + texts) / (1 + texts with the n-gram)) + 1, and 0 for an n-gram of too few texts. The penalty on
    the squared weights is chosen by the monitored metric on validation. It is 1 / `C` of scikit-learn's
    LogisticRegression, and `alpha` of its Ridge.

    Args:
        min_rows: Texts of train that an n-gram has at least.
        strongest: The first penalty.
        weakest: The last penalty.
        num_penalties: How many there are, evenly spaced in their logarithm.
        patience: Penalties without an improvement on validation after which it stops; 0: all are tried.
        tolerance: A fit ends where no derivative of the mean loss is larger.
        max_iterations: Iterations of a fit at most.
    """

    def __init__(
        self,
        min_rows: int = 1,
        strongest: float = 10.0,
        weakest: float = 0.01,
        num_penalties: int = 7,
        patience: int = 2,
        tolerance: float = 1e-5,
        max_iterations: int = 1000,
    ) -> None:
        super().__init__(strongest, weakest, num_penalties, patience, tolerance, max_iterations)
        if min_rows < 1:
            raise ValueError(f"min_rows must be 1 or more, not {min_rows}")
        self._min_rows = min_rows

    def design(self, problem: FitProblem) -> Design:
        """A column for each n-gram with an idf, with the values that the net itself gives.

        Raises:
            ConfigError: The net is not `TfidfLinear`.
        """
        from scipy.sparse import hstack

        if not isinstance(problem.net, TfidfLinear):
            what = f"fits flywheel.model.tfidf_linear.TfidfLinear, not {type(problem.net).__name__}"
            raise ConfigError(what, where="model.fit", fix="take `model=tfidf_linear`")
        net = copy.deepcopy(problem.net)
        blocks = [_Block("words", net.words, lambda inputs: net.word_features(inputs["tokens"]))]
        if net.pieces is not None:
            pieces: Callable[[Mapping[str, Tensor]], Tensor] = lambda inputs: net.piece_features(  # noqa: E731
                inputs.get("characters")
            )
            blocks.append(_Block("pieces", net.pieces, pieces))
        for block in blocks:
            block.learn_idf(problem.train, self._min_rows)
        train, validation = (
            hstack([block.columns(rows) for block in blocks], format="csr")
            for rows in (problem.train, problem.validation)
        )

        def state(weights: Tensor, bias: Tensor) -> dict[str, Tensor]:
            found, first = {"bias": bias}, 0
            for block in blocks:
                used, idf = block.used, block.part.idf
                whole = torch.zeros((len(idf), net.num_outputs))
                whole[used] = weights[first : first + len(used)].float()
                found |= {f"{block.name}.idf": idf, f"{block.name}.table.weight": whole}
                first += len(used)
            return found

        return Design(train, validation, state)


@dataclass
class _Block:
    """One kind of n-grams."""

    name: str
    part: TfidfWeights
    features: Callable[[Mapping[str, Tensor]], Tensor]

    @property
    def used(self) -> Tensor:
        """The rows of the n-grams that have an idf, in order."""
        return self.part.idf.nonzero().flatten()

    def learn_idf(self, rows: Rows, min_rows: int) -> None:
        """Count the rows that have each n-gram."""
        counts = np.zeros(len(self.part.idf), dtype=np.int64)
        for places, values in self._values(rows):
            counts += np.bincount(places[values > 0], minlength=len(counts))
        idf = np.log((1 + len(rows.target)) / (1 + counts)) + 1
        idf[counts < min_rows] = 0.0
        idf[PADDING_ID] = 0.0
        self.part.idf.copy_(torch.from_numpy(idf))

    def columns(self, rows: Rows) -> Any:
        """A column for each n-gram that has an idf."""
        from scipy.sparse import vstack

        used = self.used.numpy()
        column = np.zeros(len(self.part.idf), dtype=np.int32)
        column[used] = np.arange(len(used))
        parts = [sparse_rows(column[places], values, len(used)) for places, values in self._values(rows)]
        return vstack(parts, format="csr")

    @torch.inference_mode()
    def _values(self, rows: Rows) -> Iterator[tuple[Array, Array]]:
        for start in range(0, len(rows.target), _ROWS):
            batch = {name: given[start : start + _ROWS] for name, given in rows.inputs.items()}
            places, values = self.part.values(self.features(batch))
            yield places.numpy(), values.numpy()
