"""Links: from a network's logits to what a user sees, where PyTorch has none."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Unscale(nn.Module):
    """Bring numbers that were learnt in units of their deviation back to their own units.

    Args:
        mean: Mean of the target over train.
        std: Standard deviation of the target over train.
        log1p: Whether the logarithm of 1 + target was learnt.
    """

    def __init__(self, mean: float, std: float, log1p: bool = False) -> None:
        super().__init__()
        self.mean, self.std, self.log1p = float(mean), float(std), bool(log1p)

    def forward(self, logits: Tensor) -> Tensor:
        """Map float32 [B] to float32 [B]."""
        scaled = logits * self.std + self.mean
        return torch.expm1(scaled) if self.log1p else scaled


class Rate(nn.Module):
    """Make rates of their logarithms, for counts (Poisson regression).

    Args:
        mean: Mean that was taken from the target: 0, as the counts themselves are learnt.
        std: Deviation that the target was divided by: 1.
        log1p: Whether the logarithm of 1 + target was learnt.

    Raises:
        ValueError: The target is not learnt as it is.
    """

    def __init__(self, mean: float = 0.0, std: float = 1.0, log1p: bool = False) -> None:
        super().__init__()
        if (mean, std, log1p) != (0.0, 1.0, False):
            raise ValueError("counts are learnt as they are: set preprocess.target.normalise: none and log1p: false")

    def forward(self, logits: Tensor) -> Tensor:
        """Map float32 [B] to float32 [B], above 0."""
        return torch.exp(logits)


class BinaryProbabilities(nn.Module):
    """Make probabilities of sigmoid units: of two classes from one unit, or of a unit for each class.

    The answers of several units, each "is it my class?", are brought to a sum of 1; their order stays.
    """

    def forward(self, logits: Tensor) -> Tensor:
        """Map logits of class 1, [B], to probabilities [B, 2]; or logits [B, num_classes] to the same shape."""
        if logits.ndim == 1:
            return torch.stack([torch.sigmoid(-logits), torch.sigmoid(logits)], dim=-1)
        # Softmax of log-sigmoids: the sigmoids divided by their sum, also where all of them are nearly 0.
        return torch.softmax(nn.functional.logsigmoid(logits), dim=-1)
