"""A small convolutional network for pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class CNN(nn.Module):
    """3x3 convolutions, each followed by 2x2 max pooling, batch norm and ReLU; then an average over what is left.

    Pooling comes first in a block because batch norm and ReLU then run on a quarter of the pixels; channels-last
    weights make PyTorch pick its faster convolutions (both measured in
    bench/RESULTS.md, "accuracy").
    Batch norm: Ioffe & Szegedy 2015, arXiv:1502.03167. Global average pooling: Lin et al. 2013, arXiv:1312.4400.

    Args:
        num_channels: Channels of the picture (1 or 3).
        num_outputs: Number of outputs.
        widths: Channels after each convolution; the picture must be at least 2 ** len(widths) pixels wide and high.
        dropout: Probability of dropping a feature before the last layer.
    """

    def __init__(
        self, num_channels: int, num_outputs: int, widths: Sequence[int] = (32, 64, 128), dropout: float = 0.0
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = num_channels
        for width in widths:
            # The bias would be taken out again by the batch norm that follows.
            convolution = nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False)
            layers += [convolution, nn.MaxPool2d(2), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.features = nn.Sequential(*layers)
        pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout)]
        flat = [nn.Flatten(0)] if num_outputs == 1 else []  # one number a row: [B], not [B, 1]
        self.head = nn.Sequential(*pooled, nn.Linear(channels, num_outputs), *flat)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs lack this form

    def forward(self, image: Tensor) -> Tensor:
        """Map pictures, float32 [B, C, H, W], to logits [B, num_outputs], or [B] where there is one output."""
        logits: Tensor = self.head(self.features(image))
        return logits
