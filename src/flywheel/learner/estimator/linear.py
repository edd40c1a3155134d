"""Logistic and ridge regression for tables: the weights of `flywheel.model.linear.Linear`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flywheel.learner.estimator.base import FitProblem
from flywheel.learner.estimator.penalty_path import Design, PenaltyPath, sparse_rows
from flywheel.model.linear import Linear
from flywheel.project.errors import ConfigError


class PenalisedLinear(PenaltyPath):
    """Logistic regression with a cross-entropy, ridge regression (Hoerl & Kennard 1970) with the mean squared error.

    The penalty on the squared weights is chosen by the monitored metric on validation. It is `alpha` of scikit-learn's
    Ridge, and 1 / `C` of its LogisticRegression; numbers of one scale (preprocess.inputs.normalise) make it fair.

    Args:
        strongest: The first penalty.
        weakest: The last penalty.
        num_penalties: How many there are, evenly spaced in their logarithm.
        patience: Penalties without an improvement on validation after which it stops; 0: all are tried.
        tolerance: A fit ends where no derivative of the mean loss is larger.
        max_iterations: Iterations of a fit at most.
    """

    def __init__(
        self,
        strongest: float = 1e4,
        weakest: float = 1e-4,
        num_penalties: int = 9,
        patience: int = 0,
        tolerance: float = 1e-8,
        max_iterations: int = 1000,
    ) -> None:
        super().__init__(strongest, weakest, num_penalties, patience, tolerance, max_iterations)

    def design(self, problem: FitProblem) -> Design:
        """A column for each number, and for each code of each category.

        Raises:
            ConfigError: The net is not `Linear`.
        """
        net = problem.net
        if not isinstance(net, Linear):
            what = f"fits the weights of flywheel.model.linear.Linear, not {type(net).__name__}"
            raise ConfigError(what, where="model.fit", fix="take `model=logistic_regression` or `model=ridge`")
        return Design(
            _columns(net, problem.train.inputs), _columns(net, problem.validation.inputs), partial(_state, net)
        )


def _columns(net: Linear, inputs: Mapping[str, Tensor]) -> Any:
    numeric, codes = inputs.get("numeric"), inputs.get("categories")
    sizes = [0 if net.numeric is None else net.numeric.in_features, *net.cardinalities]
    places, values = [], []
    if numeric is not None:
        values.append(numeric.numpy().astype(np.float64))
        places.append(np.broadcast_to(np.arange(sizes[0]), numeric.shape))
    if codes is not None:
        places.append(codes.numpy() + np.cumsum(sizes)[:-1])
        values.append(np.ones(codes.shape))
    return sparse_rows(np.concatenate(places, axis=1), np.concatenate(values, axis=1), sum(sizes))


def _state(net: Linear, weights: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """Weights [columns, outputs] and biases, by the names of the net's own."""
    first = 0 if net.numeric is None else net.numeric.in_features
    state = {"bias": bias} | ({"numeric.weight": weights[:first].T} if first else {})
    parts = torch.split(weights[first:], net.cardinalities) if net.cardinalities else ()
    return state | {f"codes.{place}.weight": part for place, part in enumerate(parts)}
