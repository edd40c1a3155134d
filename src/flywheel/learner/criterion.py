"""Losses that PyTorch has not in the form that training calls: `criterion(logits, target)`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class BinaryCrossEntropy(nn.Module):
    """Cross-entropy of truth values: of two classes from one logit a row, or of each class against the rest.

    Label smoothing as in `torch.nn.CrossEntropyLoss` (Szegedy et al. 2016, arXiv:1512.00567): a target of 0 or 1
    becomes s/2 or 1 - s/2. Weights too: a weighted mean over the rows.

    Args:
        label_smoothing: s, in [0, 1).
        weight: Of each class, float32 [num_classes]; None: 1.

    Raises:
        ValueError: A value is out of its range.
    """

    def __init__(self, label_smoothing: float = 0.0, weight: Tensor | None = None) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing {label_smoothing} is not in [0, 1)")
        self.label_smoothing = label_smoothing
        self.weight: Tensor | None
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the mean loss against class numbers, int64 [B].

        Args:
            logits: [B], of class 1 against class 0; or [B, num_classes], of each class (the mean over classes counts).
            target: The class numbers.
        """
        hot = target if logits.ndim == 1 else functional.one_hot(target, logits.shape[1])
        wanted = hot.to(logits.dtype) * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        by_row = losses if losses.ndim == 1 else losses.mean(dim=1)
        if self.weight is None:
            return by_row.mean()
        weights = self.weight.to(logits.dtype)[target]
        return torch.dot(by_row, weights) / weights.sum()
