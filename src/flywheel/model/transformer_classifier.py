"""A transformer block between embeddings and a small classifier, padding and all: Keras' example for reviews."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class TransformerClassifier(nn.Module):
    """Word and learnt position embeddings, one transformer block, the mean over all places, and a hidden layer.

    The network of Keras' example "Text classification with Transformer" (Nandan 2020): the norm follows each part
    (Vaswani et al. 2017, arXiv:1706.03762), and nothing masks padding, which takes part in attention and mean like a
    word. `flywheel.model.transformer` is the one to use for a task of one's own.

    Args:
        num_outputs: Logits of a row; with 1 the output is [B].
        vocabulary_size: Ids, 0 (padding) included.
        sequence_length: Places of every row, those of padding included.
        width: Width of the embeddings.
        num_heads: Heads of the attention; a divisor of `width`.
        feed_forward: Width inside the feed-forward part.
        hidden: Width of the layer before the logits.
        dropout: Probability of dropping a number of what each part adds, and before both last layers.

    Raises:
        ValueError: `width` is not a multiple of `num_heads`.
    """

    def __init__(
        self,
        num_outputs: int,
        vocabulary_size: int,
        sequence_length: int,
        width: int = 32,
        num_heads: int = 2,
        feed_forward: int = 32,
        hidden: int = 20,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"width {width} is not a multiple of num_heads {num_heads}")
        self._num_outputs, self._length, self._num_heads = num_outputs, sequence_length, num_heads
        self.words = nn.Embedding(vocabulary_size, width)
        self.positions = nn.Embedding(sequence_length, width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.feed_forward = nn.Sequential(nn.Linear(width, feed_forward), nn.ReLU(), nn.Linear(feed_forward, width))
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_outputs),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token ids, int [B, L], filled with 0 on the right, to logits [B, num_outputs], or [B] for one output."""
        tokens = F.pad(tokens, (0, self._length - tokens.shape[1]))  # batches are cut to their longest row
        x_BLD = self.words(tokens) + self.positions.weight
        x_BLD = self.attention_norm(x_BLD + self.dropout(self._attention(x_BLD)))
        x_BLD = self.feed_forward_norm(x_BLD + self.dropout(self.feed_forward(x_BLD)))
        logits: Tensor = self.head(x_BLD.mean(dim=1))
        return logits.squeeze(1) if self._num_outputs == 1 else logits

    def _attention(self, x_BLD: Tensor) -> Tensor:
        heads = (part(x_BLD).unflatten(2, (self._num_heads, -1)).transpose(1, 2)
                 for part in (self.query, self.key, self.value))  # fmt: skip
        seen_BHLd = F.scaled_dot_product_attention(*heads)
        attended: Tensor = self.out(seen_BHLd.transpose(1, 2).flatten(2))
        return attended
