"""A linear model over words and hashed n-grams: cheap, and hard to beat on short texts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PADDING_ID = 0
MULTIPLIER = 2_654_435_761  # 2**32 divided by the golden ratio: neighbouring ids land far apart (Knuth, TAOCP 3, 6.4)


class NgramLinear(nn.Module):
    """Each token and each hashed n-gram has one row of weights; a text's logits are their scaled sum.

    Joulin et al. 2016, arXiv:1607.01759 (fastText), with the embedding as wide as the output (`width: 0`) or through a
    narrow one. An n-gram is hashed from its tokens' ids into one of `buckets` rows; those that collide share it.
    The sum is divided by a power of the number of features, by default the square root, between fastText's mean (1) and
    a plain linear model's sum (0): long texts are surer than short ones, but not without bounds.

    Args:
        vocabulary_size: Ids there are, padding (0) included.
        num_outputs: Logits of a row.
        ngrams: Longest n-gram: 1 (tokens only), 2, 3...
        buckets: Rows for hashed n-grams.
        width: Of the embedding; 0: features go to the logits directly.
        dropout: Probability of leaving out a feature, in training.
        distinct: Whether a feature counts once a text however often it occurs (Wang & Manning 2012, ACL: in long texts
            presence says more than counts).
        length_power: Power of the number of features that divides their sum, in [0, 1].
        init_std: Of the first weights; 0: all begin at zero, which suits `width: 0`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_outputs: int,
        ngrams: int = 2,
        buckets: int = 200_000,
        width: int = 0,
        dropout: float = 0.0,
        distinct: bool = False,
        length_power: float = 0.5,
        init_std: float = 0.0,
    ) -> None:
        super().__init__()
        if ngrams < 1 or buckets < 1:
            raise ValueError(f"ngrams and buckets must be above 0, not {ngrams} and {buckets}")
        if not 0 <= length_power <= 1:
            raise ValueError(f"length_power must be in [0, 1], not {length_power}")
        if width and not init_std:
            raise ValueError("init_std must be above 0 where there is a width: zeros behind zeros learn nothing")
        self.ngrams, self.buckets, self.dropout, self.distinct = ngrams, buckets, dropout, distinct
        self.length_power = length_power
        rows = vocabulary_size + (buckets if ngrams > 1 else 0)
        self.vocabulary_size = vocabulary_size
        self.table = nn.Embedding(rows, width or num_outputs, padding_idx=PADDING_ID)
        nn.init.normal_(self.table.weight, std=init_std)
        with torch.no_grad():
            self.table.weight[PADDING_ID].zero_()
        self.bias = nn.Parameter(torch.zeros(width or num_outputs))
        self.head = nn.Linear(width, num_outputs) if width else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token ids, int32 [B, L], to logits [B, num_outputs], or [B] where there is one output."""
        features_BF = self.features(tokens)
        if self.training and self.dropout:
            left_out = torch.rand(features_BF.shape, device=tokens.device) < self.dropout
            features_BF = features_BF.masked_fill(left_out, PADDING_ID)
        number_B1 = (features_BF != PADDING_ID).sum(dim=1, keepdim=True).clamp(min=1)
        summed_BO = self.table(features_BF).sum(dim=1) * number_B1.to(self.bias.dtype) ** -self.length_power
        logits: Tensor = self.head(summed_BO + self.bias)
        return logits.squeeze(1) if logits.shape[1] == 1 else logits

    def features(self, tokens: Tensor) -> Tensor:
        """Give rows of the table, int64 [B, ngrams * L]; 0 where none is.

        Tokens, then n-grams by their last token; `distinct` ones ascending, with 0 in place of repetitions.
        """
        ids_BL = tokens.long()
        real_BL = ids_BL != PADDING_ID
        found, hashed_BL = [ids_BL], ids_BL
        for order in range(2, self.ngrams + 1):
            earlier = nn.functional.pad(ids_BL, (order - 1, 0))[:, : ids_BL.shape[1]]
            # Within 63 bits: the remainder below 2**31, times a number below 2**32.
            hashed_BL = (hashed_BL * MULTIPLIER + earlier) % 2_147_483_647
            there = real_BL & (earlier != PADDING_ID)
            found.append(torch.where(there, hashed_BL % self.buckets + self.vocabulary_size, PADDING_ID))
        features_BF = torch.cat(found, dim=1)
        if not self.distinct:
            return features_BF
        # As int32: its sort takes half the time, and no table is that long.
        features_BF = features_BF.int().sort(dim=1).values.long()
        before_BF = nn.functional.pad(features_BF, (1, 0), value=-1)[:, :-1]
        return features_BF.masked_fill(features_BF == before_BF, PADDING_ID)
