"""Convolutions over the tokens' embeddings, and the largest answer of each filter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

PADDING_ID = 0


class TextCNN(nn.Module):
    """Filters of several widths, each pooled by its maximum over the text (Kim 2014, arXiv:1408.5882).

    A filter may reach over the ends of a text, as if zeros stood there, so that texts shorter than a filter have an
    answer; the answers at padded places are left out of the maximum.

    Args:
        vocabulary_size: Ids there are, padding (0) included.
        num_outputs: Number of logits of a row.
        embedding: Width of an embedding.
        filters: Number of filters of each width.
        widths: Widths of the filters, in tokens.
        embedding_dropout: Probability of dropping a number of an embedding.
        dropout: Probability of dropping a pooled feature.
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_outputs: int,
        embedding: int = 100,
        filters: int = 100,
        widths: Sequence[int] = (3, 4, 5),
        embedding_dropout: float = 0.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if not widths or min(widths) < 1:
            raise ValueError(f"widths must hold numbers above 0, not {list(widths)}")
        self.embedding = nn.Embedding(vocabulary_size, embedding, padding_idx=PADDING_ID)
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        self.convolutions = nn.ModuleList(
            [nn.Conv1d(embedding, filters, width, padding=width // 2) for width in widths]
        )
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(filters * len(widths), num_outputs))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token ids, int32 [B, L], to logits [B, num_outputs], or [B] where there is one output."""
        padding_B1L = (tokens == PADDING_ID)[:, None, :]
        x_BEL = self.embedding_dropout(self.embedding(tokens)).transpose(1, 2)
        # ReLU makes answers 0 or more, so 0 at padded places never wins, and a text without tokens has all 0.
        pooled = [
            # A filter of even width has one place more than there are tokens: it begins before the first.
            torch.relu(convolution(x_BEL)[:, :, : tokens.shape[1]]).masked_fill(padding_B1L, 0.0).amax(dim=2)
            for convolution in self.convolutions
        ]
        logits: Tensor = self.head(torch.cat(pooled, dim=1))
        return logits.squeeze(1) if logits.shape[1] == 1 else logits
