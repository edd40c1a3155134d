"""Losses that PyTorch lacks in the form that training calls: `criterion(logits, target)`."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from flywheel.project.errors import ConfigError


class BinaryCrossEntropy(nn.Module):
    """Cross-entropy of truth values: of two classes from one logit a row, or of each class against the rest.

    Label smoothing as in `torch.nn.CrossEntropyLoss` (Szegedy et al. 2016, arXiv:1512.00567): a target of 0 or 1
    becomes s/2 or 1 - s/2. Weights too: a weighted mean over the rows.

    Args:
        label_smoothing: s, in [0, 1).
        weight: Weight of each class, float32 [num_classes]; None: every class weighs 1.
        reduction: `mean`, or `none`: the loss of each row, times its class's weight.

    Raises:
        ValueError: A value is out of its range.
    """

    def __init__(
        self, label_smoothing: float = 0.0, weight: Tensor | None = None, reduction: Literal["mean", "none"] = "mean"
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing {label_smoothing} is not in [0, 1)")
        if reduction not in ("mean", "none"):
            raise ValueError(f"reduction must be mean or none, not '{reduction}'")
        self.reduction: str = reduction
        self.label_smoothing = label_smoothing
        self.weight: Tensor | None
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the mean loss against class numbers, int64 [B], or each row's, [B].

        Args:
            logits: [B], of class 1 against class 0; or [B, num_classes], of each class (the mean over classes counts).
            target: Class numbers.
        """
        hot = target if logits.ndim == 1 else functional.one_hot(target, logits.shape[1])
        wanted = hot.to(logits.dtype) * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        by_row = losses if losses.ndim == 1 else losses.mean(dim=1)
        if self.weight is None:
            return by_row.mean() if self.reduction == "mean" else by_row
        weights = self.weight.to(logits.dtype)[target]
        return torch.dot(by_row, weights) / weights.sum() if self.reduction == "mean" else by_row * weights


class Quantile(nn.Module):
    """The loss that is least for a quantile of the target (Koenker & Bassett 1978): the model answers that quantile.

    Args:
        quantile: Which, in (0, 1); 0.5 is the median.
        reduction: `mean`, or `none`: the loss of each row.

    Raises:
        ValueError: The quantile is out of its range.
    """

    def __init__(self, quantile: float = 0.5, reduction: Literal["mean", "none"] = "mean") -> None:
        super().__init__()
        if not 0 < quantile < 1:
            raise ValueError(f"quantile {quantile} is not in (0, 1)")
        self.quantile = quantile
        self.reduction: str = reduction

    def forward(self, answers: Tensor, target: Tensor) -> Tensor:
        """Give the mean loss of answers, float32 [B], for targets, float32 [B], or each row's, [B]."""
        missing = target - answers
        losses = torch.maximum(self.quantile * missing, (self.quantile - 1) * missing)
        return losses.mean() if self.reduction == "mean" else losses


CLASS_WEIGHTED = (nn.CrossEntropyLoss, nn.NLLLoss, BinaryCrossEntropy)
"""Criteria whose mean is weighted by class."""


def class_weights(criterion: nn.Module, target: Tensor) -> Tensor | None:
    """The weight of each row's class in a criterion's mean, [B]; None: it is the plain mean.

    Args:
        criterion: Any criterion.
        target: int64 [B].
    """
    weights = getattr(criterion, "weight", None) if isinstance(criterion, CLASS_WEIGHTED) else None
    return None if weights is None else weights[target]


def row_losses(criterion: nn.Module, logits: Tensor, target: Tensor) -> Tensor:
    """The losses that a criterion takes the mean of, [B]: each row's, times its class's weight.

    Raises:
        ConfigError: It gives no loss a row.
    """
    must_weigh_rows(criterion)
    settings: Any = criterion
    settings.reduction = "none"
    try:
        losses: Tensor = criterion(logits, target)
    finally:
        settings.reduction = "mean"
    if losses.ndim == 0 or len(losses) != len(target):
        raise cannot_weigh(type(criterion).__name__)
    return losses if losses.ndim == 1 else losses.flatten(1).mean(dim=1)


def must_weigh_rows(criterion: nn.Module) -> None:
    """Refuse a criterion that is no mean of losses of rows: its rows cannot have weights.

    Raises:
        ConfigError: It has no `reduction`, or another than `mean`.
    """
    if getattr(criterion, "reduction", None) != "mean":
        raise cannot_weigh(type(criterion).__name__)


def cannot_weigh(name: str) -> ConfigError:
    """The error of a criterion, by its class's name, that gives no loss for each row."""
    what = f"{name} gives no loss for each row, but the rows of these data have weights"
    fix = "choose a loss with reduction: mean, or leave out weight_column and preprocess.overlap: weight"
    return ConfigError(what, where="loss.criterion", fix=fix)
