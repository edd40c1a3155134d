"""Linear and logistic regression over a table's numbers and categories."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """A weight for each number and for each code of each category, and a bias, for each output.

    With cross-entropy it is multinomial logistic regression, with the mean squared error linear regression. Its weights
    are learnt by gradient, or found directly by `flywheel.learner.estimator.linear`.

    Args:
        num_numeric: Numbers a row has; 0: there is no input `numeric`.
        cardinalities: Codes of each category; empty: there is no input `categories`.
        num_outputs: Number of outputs.

    Raises:
        ValueError: There are no inputs.
    """

    def __init__(self, num_numeric: int, cardinalities: Sequence[int], num_outputs: int) -> None:
        super().__init__()
        if not num_numeric and not cardinalities:
            raise ValueError("there are neither numbers nor categories")
        self.num_outputs, self.cardinalities = num_outputs, list(cardinalities)
        self.numeric = nn.Linear(num_numeric, num_outputs, bias=False) if num_numeric else None
        self.codes = nn.ModuleList(nn.Embedding(codes, num_outputs) for codes in cardinalities)
        self.bias = nn.Parameter(torch.zeros(num_outputs))
        with torch.no_grad():
            for weights in self.codes.parameters():
                weights.zero_()  # what train never shows weighs nothing

    def forward(self, numeric: Tensor | None = None, categories: Tensor | None = None) -> Tensor:
        """Map numbers, float32 [B, F], and codes, int32 [B, C], to logits [B, num_outputs], or [B] for one output."""
        terms = [] if numeric is None or self.numeric is None else [self.numeric(numeric)]
        if categories is not None:
            terms += [weight(categories[:, place]) for place, weight in enumerate(self.codes)]
        logits = torch.stack(terms).sum(dim=0) + self.bias
        return logits.flatten() if len(self.bias) == 1 else logits
