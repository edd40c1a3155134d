"""The mean of the tokens' embeddings, and one hidden layer over it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PADDING_ID = 0


class BagOfEmbeddings(nn.Module):
    """Embedding, average over the real tokens, a hidden layer with ReLU, dropout, and a linear layer.

    The order of the tokens is not seen (a deep averaging network: Iyyer et al. 2015).

    Args:
        vocabulary_size: Ids there are, padding (0) included.
        num_outputs: Number of logits of a row.
        embedding: Width of an embedding.
        hidden: Width of the hidden layer; 0: none.
        dropout: Probability of dropping a hidden unit, and (with `word_dropout`) see there.
        word_dropout: Probability of leaving out a token, in training.
        padded_length: 0: the mean is over the real tokens. Otherwise it is over this many places, those of padding
            included, whose embedding is learnt like any other: Keras' `GlobalAveragePooling1D` without a mask.
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_outputs: int,
        embedding: int = 64,
        hidden: int = 64,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        padded_length: int = 0,
    ) -> None:
        super().__init__()
        self.padded_length = padded_length
        ignored = None if padded_length else PADDING_ID
        self.embedding = nn.Embedding(vocabulary_size, embedding, padding_idx=ignored)
        self.word_dropout = word_dropout
        layers: list[nn.Module] = [nn.Linear(embedding, hidden), nn.ReLU()] if hidden else []
        self.head = nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(hidden or embedding, num_outputs))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token ids, int32 [B, L], to logits [B, num_outputs], or [B] where there is one output."""
        if self.training and self.word_dropout:
            tokens = tokens.masked_fill(torch.rand(tokens.shape, device=tokens.device) < self.word_dropout, PADDING_ID)
        logits: Tensor = self.head(self._mean(tokens))
        return logits.squeeze(1) if logits.shape[1] == 1 else logits

    def _mean(self, tokens: Tensor) -> Tensor:
        sum_BE: Tensor = self.embedding(tokens).sum(dim=1)
        if self.padded_length:  # batches are cut to their longest row: what was cut off is padding
            beyond = self.padded_length - tokens.shape[1]
            sum_BE = sum_BE + beyond * self.embedding.weight[PADDING_ID]
            return sum_BE / self.padded_length
        # Padding's embedding is zero and has no gradient, so the sum needs no mask.
        return sum_BE / (tokens != PADDING_ID).sum(dim=1, keepdim=True).clamp(min=1)
