"""What an estimator is: it offers candidates for a net's parameters, of which the best on validation is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flywheel.project.config import LossConfig
from flywheel.project.errors import ConfigError

_DEFAULTS: tuple[Any, ...] = (None, 0.0, "mean")


@dataclass(frozen=True)
class Rows:
    """One split, as an estimator sees it.

    Attributes:
        inputs: What the net takes, by name, each [N, ...].
        target: [N].
        weight: How much each row counts in the fit, float64 [N], its class's weight included; None: all the same.
        row_weight: The same without its class's weight, float32 [N].
    """

    inputs: Mapping[str, Tensor]
    target: Tensor
    weight: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None
    row_weight: Tensor | None = None

    def joined(self, other: Rows) -> Rows:
        """These rows, and then others; rows without weights weigh 1 beside rows that have them."""
        inputs = {name: torch.cat([values, other.inputs[name]]) for name, values in self.inputs.items()}
        weights = [np.ones(len(rows.target)) if rows.weight is None else rows.weight for rows in (self, other)]
        weight = None if self.weight is None and other.weight is None else np.concatenate(weights)
        return Rows(inputs, torch.cat([self.target, other.target]), weight)


@dataclass(frozen=True)
class FitProblem:
    """What is to be found.

    Attributes:
        net: Its parameters are not touched.
        train: The rows to fit.
        validation: The rows by which an estimator's caller chooses among its candidates.
        loss: The settings of the loss, which say what is fitted.
        seed: Of all that is drawn.
        num_threads: Threads to use.
    """

    net: nn.Module
    train: Rows
    validation: Rows
    loss: LossConfig
    seed: int
    num_threads: int


@dataclass(frozen=True)
class FitCandidate:
    """Parameters that the net could have.

    Attributes:
        step: What has been done to find it, such as the number of trees.
        train: The logits of train, as the net would give them.
        validation: Those of validation.
        state: Gives the net's state; called for the kept candidate alone, when the fit is over.
        figures: What the history says of it, beside loss and metrics; the same names for all candidates.
    """

    step: int
    train: Tensor
    validation: Tensor
    state: Callable[[], dict[str, Tensor]]
    figures: Mapping[str, float] = field(default_factory=dict)


def criterion_of(criterion: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of a criterion's class, and those of its arguments that are not at a value which changes nothing."""
    given = {key: value for key, value in criterion.items() if key != "_target_" and value not in _DEFAULTS}
    return str(criterion["_target_"]).rpartition(".")[2], given


def cannot_fit(model: str, name: str, arguments: Iterable[str]) -> ConfigError:
    """The error of a model that cannot be fitted to a criterion, because of its class or of arguments."""
    what = f"{model} cannot be fitted to {' with '.join([name, *arguments])}"
    return ConfigError(what, where="loss.criterion", fix="use loss=cross_entropy or loss=mean_squared_error")


class Estimator(ABC):
    """Finds parameters of one kind of net."""

    num_candidates: int
    """Candidates that there are at most."""
    patience: int
    """Candidates without an improvement on validation after which no more are asked for; 0: all are."""

    @abstractmethod
    def fit(self, problem: FitProblem) -> Iterator[FitCandidate]:
        """Offer candidates, one after the other. The same problem gives the same candidates, bit by bit.

        Raises:
            ConfigError: The net or the loss is none that it can fit.
        """
