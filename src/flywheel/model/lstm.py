"""A long short-term memory over the tokens' embeddings."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flywheel.model.recurrent import lstm_states

PADDING_ID = 0


class LSTM(nn.Module):
    """Embedding, LSTM layers, and a linear layer over the state at the last real token.

    Hochreiter & Schmidhuber 1997; bidirectional: Graves & Schmidhuber 2005. Padding never changes the answer: what a
    forward pass does after the last real token is not looked at, and a backward pass reads each text turned round in
    its own place, so that it begins at the last real token.

    Args:
        vocabulary_size: Ids there are, padding (0) included.
        num_outputs: Number of logits of a row.
        embedding: Width of an embedding.
        hidden: Width of the state, of each direction.
        layers: LSTM layers, one over the other.
        bidirectional: Whether texts are also read backwards; the layers of the two directions see both.
        embedding_dropout: Probability of dropping a number of an embedding.
        dropout: Probability of dropping a number between layers and before the last layer.
        pooling: `last` (the state at the last real token) or `max` (of every number over the text).
        padded_length: 0: padding is not read. Otherwise each text is read at the end of this many places, after its
            padding, whose embedding is learnt like any other: Keras' `pad_sequences` and `LSTM` without a mask.
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_outputs: int,
        embedding: int = 64,
        hidden: int = 64,
        layers: int = 1,
        bidirectional: bool = False,
        embedding_dropout: float = 0.0,
        dropout: float = 0.0,
        pooling: str = "last",
        padded_length: int = 0,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers must be 1 or more, not {layers}")
        if pooling not in ("last", "max"):
            raise ValueError(f"pooling must be last or max, not '{pooling}'")
        self.pooling, self.padded_length = pooling, padded_length
        ignored = None if padded_length else PADDING_ID
        self.embedding = nn.Embedding(vocabulary_size, embedding, padding_idx=ignored)
        self.embedding_dropout, self.dropout = nn.Dropout(embedding_dropout), nn.Dropout(dropout)
        both = 2 if bidirectional else 1
        sizes = [embedding] + [hidden * both] * (layers - 1)
        self.forwards = nn.ModuleList([nn.LSTM(size, hidden, batch_first=True) for size in sizes])
        self.backwards = nn.ModuleList([nn.LSTM(size, hidden, batch_first=True) for size in sizes if bidirectional])
        self.head = nn.Linear(hidden * both, num_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token ids, int32 [B, L], to logits [B, num_outputs], or [B] where there is one output."""
        lengths_B = (tokens != PADDING_ID).sum(dim=1)
        if self.padded_length:
            tokens = _at_the_end(F.pad(tokens, (0, self.padded_length - tokens.shape[1])), lengths_B)
            lengths_B = torch.full_like(lengths_B, self.padded_length)
        x_BLH = self.embedding_dropout(self.embedding(tokens))
        for layer, forwards in enumerate(self.forwards):
            x_BLH = self.dropout(x_BLH) if layer else x_BLH
            ahead_BLH = lstm_states(cast(nn.LSTM, forwards), x_BLH)
            if len(self.backwards):
                backwards = cast(nn.LSTM, self.backwards[layer])
                turned_BLH = lstm_states(backwards, _turned(x_BLH, lengths_B))
                ahead_BLH = torch.cat([ahead_BLH, _turned(turned_BLH, lengths_B)], dim=2)
            x_BLH = ahead_BLH
        logits: Tensor = self.head(self.dropout(self._pooled(x_BLH, lengths_B)))
        return logits.squeeze(1) if logits.shape[1] == 1 else logits

    def _pooled(self, x_BLH: Tensor, lengths_B: Tensor) -> Tensor:
        if self.pooling == "max":
            beyond_BL = torch.arange(x_BLH.shape[1], device=x_BLH.device) >= lengths_B.clamp(min=1)[:, None]
            return x_BLH.masked_fill(beyond_BL[:, :, None], -1.0).amax(dim=1)  # a state is above -1
        last_B = (lengths_B - 1).clamp(min=0)
        ahead_BH = x_BLH.gather(1, last_B[:, None, None].expand(-1, 1, x_BLH.shape[2])).squeeze(1)
        if not len(self.backwards):
            return ahead_BH
        half = x_BLH.shape[2] // 2  # a backward pass ends at the first token
        return torch.cat([ahead_BH[:, :half], x_BLH[:, 0, half:]], dim=1)


def _at_the_end(tokens: Tensor, lengths_B: Tensor) -> Tensor:
    """Move each row's padding from its end to its beginning."""
    place_L = torch.arange(tokens.shape[1], device=tokens.device)
    return tokens.gather(1, (place_L + lengths_B[:, None]) % tokens.shape[1])


def _turned(x_BLH: Tensor, lengths_B: Tensor) -> Tensor:
    """Turn each row's first `lengths` places round; the others stay."""
    place_L = torch.arange(x_BLH.shape[1], device=x_BLH.device)
    mirrored_BL = lengths_B[:, None] - 1 - place_L
    source_BL = torch.where(mirrored_BL >= 0, mirrored_BL, place_L)
    return x_BLH.gather(1, source_BL[:, :, None].expand(-1, -1, x_BLH.shape[2]))
