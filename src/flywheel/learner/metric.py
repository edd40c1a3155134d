"""Metrics for each epoch that torchmetrics lacks: of probabilities, and of rankings.

Those of rankings are over the logits of a catalogue, or of sampled candidates. They rest on the rank of the wanted
item: the number of items that score higher, and half of those that score the same, so that a network that gives every
item one score is not rewarded for it.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


def ranks_of(logits: Tensor, target: Tensor) -> Tensor:
    """The rank of each row's wanted item, from 0: float32 [B], halves where there are ties.

    Args:
        logits: [B, C].
        target: int64 [B], the wanted item's column.
    """
    wanted_B1 = logits.gather(1, target[:, None])
    above_B = (logits > wanted_B1).sum(dim=1)
    equal_B = (logits == wanted_B1).sum(dim=1) - 1
    return above_B.float() + equal_B.float() / 2


class RankingMetric(Metric):
    """The mean over rows of a gain that the wanted item's rank gives.

    Args:
        name: The name of the sum. It differs between any two metrics: torchmetrics takes metrics whose first sums are
            equal, as 0 and 0 are, for one.
        **kwargs: Options of `torchmetrics.Metric`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    num_rows: Tensor

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._name = name
        self.add_state(name, default=torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("num_rows", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @abstractmethod
    def gain(self, rank: Tensor) -> Tensor:
        """What a rank (from 0) is worth."""

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Take in logits [B, C] and targets int64 [B]."""
        found = getattr(self, self._name) + self.gain(ranks_of(logits, target)).sum()
        setattr(self, self._name, found)
        self.num_rows += len(target)

    def compute(self) -> Tensor:
        """The mean."""
        mean: Tensor = getattr(self, self._name) / self.num_rows.clamp(min=1)
        return mean


class HitRate(RankingMetric):
    """Share of rows whose wanted item is among the first k.

    Args:
        k: Length of the list.
    """

    def __init__(self, k: int = 10, **kwargs: Any) -> None:
        super().__init__(f"hits_{_at_least_one(k)}", **kwargs)
        self.k = k

    def gain(self, rank: Tensor) -> Tensor:
        """1 for a rank below k."""
        return (rank < self.k).float()


class NDCG(RankingMetric):
    """Normalised discounted cumulative gain of the first k, with one wanted item a row (Järvelin & Kekäläinen 2002).

    Args:
        k: Length of the list.
    """

    def __init__(self, k: int = 10, **kwargs: Any) -> None:
        super().__init__(f"gains_{_at_least_one(k)}", **kwargs)
        self.k = k

    def gain(self, rank: Tensor) -> Tensor:
        """1 / log2(rank + 2) for a rank below k."""
        return torch.where(rank < self.k, 1 / torch.log2(rank + 2), torch.zeros_like(rank))


class MRR(RankingMetric):
    """Mean of 1 / (1 + rank)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("reciprocals", **kwargs)

    def gain(self, rank: Tensor) -> Tensor:
        """1 / (1 + rank)."""
        return 1 / (1 + rank)


class BrierScore(Metric):
    """Mean squared error of the probabilities, summed over the classes (Brier 1950): 0 is best, 2 the worst.

    Like the cross-entropy it distinguishes models that have the same accuracy on few rows, and is best for the true
    probabilities; unlike it, a row that is wrong with certainty (an outlier, a false label) cannot outweigh all others.

    Args:
        **kwargs: Options of `torchmetrics.Metric`.
    """

    is_differentiable = True
    higher_is_better = False
    full_state_update = False
    squared_errors: Tensor
    num_answers: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("squared_errors", default=torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("num_answers", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Take in logits [B, C], or [B] of class 1 against class 0, and targets int64 [B]."""
        if logits.ndim == 1:
            logits = torch.stack([torch.zeros_like(logits), logits], dim=1)
        wanted = torch.nn.functional.one_hot(target.long(), logits.shape[1])
        self.squared_errors += (logits.float().softmax(dim=1) - wanted).square().sum()
        self.num_answers += len(target)

    def compute(self) -> Tensor:
        """The mean over rows."""
        mean: Tensor = self.squared_errors / self.num_answers.clamp(min=1)
        return mean


def _at_least_one(k: int) -> int:
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    return k
