"""Linear models under a penalty on their weights: one candidate for each penalty, from strong to weak."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flywheel.learner.estimator.base import Estimator, FitCandidate, FitProblem, cannot_fit, criterion_of

Array = np.ndarray[Any, Any]
Loss = Callable[[Array, Array], tuple[Array, Array]]
"""Gives each row's loss, [N], and its derivatives, [N, K], of logits [N, K] and targets [N]."""


@dataclass(frozen=True)
class Design:
    """What a linear model is fitted on.

    Attributes:
        train: A row each, a column a weight; sparse.
        validation: The same of the other split.
        state: Gives the net's state, of weights [columns, outputs] and biases [outputs].
    """

    train: Any
    validation: Any
    state: Callable[[Tensor, Tensor], dict[str, Tensor]]


class PenaltyPath(Estimator):
    """Minimises the sum of the rows' losses plus half the penalty times the squared weights; biases are free.

    The penalty is Ridge's `alpha` in scikit-learn, and 1 / `C` of its LogisticRegression. Each fit starts from the one
    before. It is L-BFGS (Liu & Nocedal 1989, Math. Program. 45) in double precision, on one thread: the same bits
    whatever `trainer.num_threads` is.

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
        strongest: float,
        weakest: float,
        num_penalties: int,
        patience: int,
        tolerance: float,
        max_iterations: int,
    ) -> None:
        if not 0 < weakest <= strongest or num_penalties < 1 or patience < 0:
            raise ValueError("0 < weakest <= strongest, num_penalties >= 1 and patience >= 0 are required")
        if not tolerance > 0 or max_iterations < 1:
            raise ValueError("tolerance > 0 and max_iterations >= 1 are required")
        self.penalties = np.geomspace(strongest, weakest, num_penalties)
        self.num_candidates, self.patience = num_penalties, patience
        self._options = {"gtol": tolerance, "ftol": 64 * np.finfo(float).eps, "maxiter": max_iterations, "maxls": 50}

    @abstractmethod
    def design(self, problem: FitProblem) -> Design:
        """Lay out the rows as the net's weights see them.

        Raises:
            ConfigError: The net is none that this estimator can fit.
        """

    def fit(self, problem: FitProblem) -> Iterator[FitCandidate]:
        """Offer the weights under each penalty.

        Raises:
            ConfigError: The net is none that this estimator can fit, or there is no linear model for the loss.
        """
        net: Any = problem.net
        design = self.design(problem)
        loss = loss_of(problem.loss.criterion, net.num_outputs)
        # Of two classes the first one's logit is 0: logistic regression.
        columns = 1 if loss is logistic else net.num_outputs
        weight = np.ones(design.train.shape[0]) if problem.train.weight is None else problem.train.weight
        objective = partial(_objective, design.train, problem.train.target.numpy(), weight, loss, columns)
        found, steps = np.zeros((design.train.shape[1] + 1) * columns), 0
        for penalty in self.penalties:
            found, made = self._minimise(partial(objective, float(penalty)), found)
            steps += made
            parameters = np.zeros((design.train.shape[1] + 1, net.num_outputs))
            parameters[:, -columns:] = found.reshape(-1, columns)
            weights, bias = torch.from_numpy(parameters[:-1]), torch.from_numpy(parameters[-1])
            train, validation = _logits(design.train, parameters), _logits(design.validation, parameters)
            state, figures = partial(design.state, weights, bias), {"penalty": float(penalty)}
            yield FitCandidate(steps, train, validation, state, figures)

    def _minimise(self, objective: Callable[[Array], tuple[float, Array]], start: Array) -> tuple[Array, int]:
        from scipy.optimize import minimize
        from threadpoolctl import threadpool_limits  # comes with scikit-learn

        with threadpool_limits(limits=1, user_api="blas"):
            found = minimize(objective, start, jac=True, method="L-BFGS-B", options=self._options)
        return found.x, int(found.nit)


def loss_of(criterion: Mapping[str, Any], num_outputs: int) -> Loss:
    """The loss of a linear model for a criterion.

    Args:
        criterion: The node of the settings.
        num_outputs: Outputs of the net.

    Raises:
        ConfigError: There is none.
    """
    name, strange = criterion_of(criterion)
    found: Loss | None = None
    if name == "CrossEntropyLoss" and num_outputs > 1:
        found = logistic if num_outputs == 2 else softmax
    elif num_outputs == 1:
        found = {"BinaryCrossEntropy": logistic, "MSELoss": squared}.get(name)
    if found is None or strange:
        raise cannot_fit(f"a linear model of {num_outputs} output{'s' * (num_outputs > 1)}", name, strange)
    return found


def squared(logits: Array, target: Array) -> tuple[Array, Array]:
    """Half the squared error, as ridge regression has it."""
    error = logits - target[:, None]
    return error[:, 0] ** 2 / 2, error


def logistic(logits: Array, target: Array) -> tuple[Array, Array]:
    """The cross-entropy of two classes, from one logit."""
    from scipy.special import expit

    hot = target[:, None]
    return (np.logaddexp(0, logits) - hot * logits)[:, 0], expit(logits) - hot


def softmax(logits: Array, target: Array) -> tuple[Array, Array]:
    """The cross-entropy of several classes."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    share = np.exp(shifted)
    total = share.sum(axis=1, keepdims=True)
    share /= total
    rows = np.arange(len(target))
    losses = np.log(total[:, 0]) - shifted[rows, target]
    share[rows, target] -= 1
    return losses, share


def sparse_rows(places: Array, values: Array, width: int) -> Any:
    """A sparse matrix whose row i has `values[i]` in the columns `places[i]`; both [N, W]. Zeros are left out."""
    from scipy.sparse import csr_array

    bounds = np.arange(0, values.size + 1, max(1, values.shape[1]))
    made = csr_array((values.ravel(), places.ravel(), bounds), shape=(len(values), width), dtype=np.float64)
    made.eliminate_zeros()
    return made


def _objective(
    rows: Any, target: Array, weight: Array, loss: Loss, columns: int, penalty: float, flat: Array
) -> tuple[float, Array]:
    """What is minimised, over the sum of the rows' weights, and its derivatives."""
    parameters, total = flat.reshape(-1, columns), weight.sum()
    losses, slopes = loss(rows @ parameters[:-1] + parameters[-1], target)
    slopes *= weight[:, None] / total
    pull = parameters[:-1] * (penalty / total)
    gradient = np.concatenate([rows.T @ slopes + pull, slopes.sum(axis=0, keepdims=True)])
    return float((losses * weight).sum() / total + (pull * parameters[:-1]).sum() / 2), gradient.ravel()


def _logits(rows: Any, parameters: Array) -> Tensor:
    logits = torch.from_numpy(rows @ parameters[:-1] + parameters[-1]).float()
    return logits.flatten() if logits.shape[1] == 1 else logits
