"""The augmentation that changes nothing, and what all of them have in common.

An augmentation gets the scaled inputs of a whole batch and its target, on the training's device, and gives both back.
It draws from PyTorch's global generator of the device, so a training's seed fixes it. It runs in training only.
"""

from __future__ import annotations

from torch import Tensor, nn


class NoAugmentation(nn.Module):
    """Leave the batch as it is."""

    def forward(self, inputs: dict[str, Tensor], target: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the batch."""
        return inputs, target
