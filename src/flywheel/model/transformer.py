"""A small Transformer encoder over token ids, trained from scratch."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PADDING_ID = 0
POSITIONS = ("sinusoidal", "learned")


class Transformer(nn.Module):
    """Word and position embeddings, layers of self-attention and feed-forward, a masked mean, a linear layer.

    Vaswani et al. 2017, arXiv:1706.03762, with the norm before each part instead of after it (Xiong et al. 2020,
    arXiv:2002.04745), which trains without warm-up, and GELU. Padding is masked out of attention and mean: any amount
    of it on the right gives the same logits.

    Args:
        num_outputs: Logits of a row; with 1 the output is [B].
        vocabulary_size: Ids, 0 (padding) included.
        sequence_length: Most columns of `tokens`.
        width: Width of the vectors.
        num_layers: Number of layers.
        num_heads: Heads of each layer's attention; a divisor of `width`.
        feed_forward: Width inside each feed-forward part; None: four times `width`.
        dropout: Probability of dropping a number of the embeddings, of what each part adds, of attention's weights,
            and before the last layer.
        positions: `sinusoidal` (fixed; `width` must be even) or `learned`.

    Raises:
        ValueError: The sizes do not fit each other, or `positions` is not known.
    """

    def __init__(
        self,
        num_outputs: int,
        vocabulary_size: int,
        sequence_length: int,
        width: int = 128,
        num_layers: int = 2,
        num_heads: int = 4,
        feed_forward: int | None = None,
        dropout: float = 0.1,
        positions: str = "sinusoidal",
    ) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"width {width} is not a multiple of num_heads {num_heads}")
        if positions not in POSITIONS:
            raise ValueError(f"positions must be one of {', '.join(POSITIONS)}, not '{positions}'")
        if positions == "sinusoidal" and width % 2:
            raise ValueError(f"width {width} is odd; sinusoidal positions need sine and cosine")
        self._num_outputs, self._scale = num_outputs, math.sqrt(width)
        self.words = nn.Embedding(vocabulary_size, width)
        # Multiplied by sqrt(width) in use (section 3.4): words begin as large as positions, and learn faster than them.
        nn.init.normal_(self.words.weight, std=1 / self._scale)
        if positions == "learned":
            self.positions = nn.Parameter(torch.randn(sequence_length, width) * 0.02)
        else:
            self.register_buffer("positions", _sinusoids(sequence_length, width), persistent=False)
        self.dropout = nn.Dropout(dropout)
        inner = feed_forward or 4 * width
        self.layers = nn.ModuleList(_Layer(width, num_heads, inner, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, num_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token ids, int [B, L], filled with 0 on the right, to logits [B, num_outputs], or [B] for one output."""
        x_BLD = self.dropout(self.words(tokens) * self._scale + self.positions[: tokens.shape[1]])
        # Added to attention's logits: finite, so that a row that is all padding is no 0/0.
        mask_B11L = (tokens == PADDING_ID)[:, None, None, :].to(x_BLD.dtype) * torch.finfo(x_BLD.dtype).min
        for layer in self.layers:
            x_BLD = layer(x_BLD, mask_B11L)
        kept_BL1 = (tokens != PADDING_ID)[:, :, None].to(x_BLD.dtype)
        mean_BD = (self.norm(x_BLD) * kept_BL1).sum(1) / kept_BL1.sum(1).clamp(min=1)
        logits: Tensor = self.classifier(self.dropout(mean_BD))
        return logits.squeeze(1) if self._num_outputs == 1 else logits


class _Layer(nn.Module):
    """Norm, attention, sum; norm, feed-forward, sum."""

    def __init__(self, width: int, num_heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.drop = num_heads, dropout
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)  # query, key and value in one: a third of the calls
        self.out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width), nn.Dropout(dropout)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor, mask_B11L: Tensor) -> Tensor:
        normed = self.attention_norm(x_BLD)
        qkv = self.qkv(normed).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        drop = self.drop if self.training else 0.0
        seen_BHLd = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], attn_mask=mask_B11L, dropout_p=drop)
        x_BLD = x_BLD + self.dropout(self.out(seen_BHLd.transpose(1, 2).flatten(2)))
        added: Tensor = x_BLD + self.feed_forward(x_BLD)
        return added


def _sinusoids(length: int, width: int) -> Tensor:
    """Sine and cosine of each position at wavelengths from 2 pi to 20,000 pi (section 3.5), float32 [length, width]."""
    rates = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10_000) / width))
    angles = torch.arange(length, dtype=torch.float64)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1).float()
