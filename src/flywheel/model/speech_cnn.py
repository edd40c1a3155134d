"""A small convolutional network for spectrograms of any length."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SpeechCNN(nn.Module):
    """3x3 convolutions over time and frequency, each halving both; then the mean and maximum over time and frequency.

    What is padding is set to 0, a band's mean, before every convolution, exactly as a convolution pads at the end of a
    clip. A stride of 2 in place of pooling keeps the places of frames independent of how much padding follows, and the
    last averages leave padding out: any amount of it gives the same answer.
    Batch norm: Ioffe & Szegedy 2015, arXiv:1502.03167.

    Args:
        num_bands: Number of values in a frame.
        num_outputs: Number of outputs.
        padding_value: Value of frames of padding, in every band; no sound has it.
        widths: Channels after each convolution.
        dropout: Probability of dropping a feature before the last layer.
    """

    def __init__(
        self,
        num_bands: int,
        num_outputs: int,
        padding_value: float,
        widths: Sequence[int] = (24, 48, 96),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.padding_value, self.num_outputs = padding_value, num_outputs
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        channels = 1
        for width in widths:
            # The bias would be taken out again by the batch norm that follows.
            self.convolutions.append(nn.Conv2d(channels, width, kernel_size=3, stride=2, padding=1, bias=False))
            self.norms.append(nn.BatchNorm2d(width))
            channels, num_bands = width, -(-num_bands // 2)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * channels, num_outputs))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs lack this form

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Map spectrograms, float32 [B, T, F], to logits [B, num_outputs], or [B] where there is one output."""
        used_BT11 = (spectrogram != self.padding_value).any(dim=2)[:, None, :, None].to(spectrogram.dtype)
        x_BCTF = spectrogram[:, None]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x_BCTF = torch.relu(norm(convolution(x_BCTF * used_BT11)))
            used_BT11 = used_BT11[:, :, ::2]
        x_BCTF = x_BCTF * used_BT11
        # After ReLU nothing is below 0, so what padding is set to is never the maximum of a clip.
        most_BC = x_BCTF.amax(dim=(2, 3))
        num_places = used_BT11.sum(dim=(2, 3)).clamp(min=1.0) * x_BCTF.shape[3]
        mean_BC = x_BCTF.sum(dim=(2, 3)) / num_places
        logits: Tensor = self.head(torch.cat([mean_BC, most_BC], dim=1))
        return logits.flatten(0) if self.num_outputs == 1 else logits
