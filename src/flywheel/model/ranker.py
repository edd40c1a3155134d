"""What all recommenders share: how items are coded, which items may be recommended, and who is unknown."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

SEEN = -1e9
"""The logit of an item that the user has had: finite, and after a softmax exactly 0."""
INITIAL_DEVIATION = 0.05


class Ranker(nn.Module, ABC):
    """Scores the items of a catalogue for a user.

    The codes: the item of column j of the scores, and of target j, has the code j + 1 in a history; 0 is padding. User
    code 0 is a user that is not known. A history is filled on the right, its most recent item last.

    Args:
        num_users: Users that are known, code 0 not counted.
        num_items: Items of the catalogue, code 0 not counted.
        user_dropout: Share of training rows whose user is taken for unknown, so that the network learns to serve a user
            by the history alone (Volkovs et al. 2017, "DropoutNet", NeurIPS).

    Raises:
        ValueError: A number is out of its range.
    """

    def __init__(self, num_users: int, num_items: int, user_dropout: float) -> None:
        super().__init__()
        if num_users < 1 or num_items < 2 or not 0 <= user_dropout < 1:
            raise ValueError("num_users >= 1, num_items >= 2 and user_dropout in [0, 1) are required")
        self.num_users, self.num_items, self.user_dropout = num_users, num_items, user_dropout

    def forward(self, user: Tensor, history: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Score items.

        Args:
            user: Integers [B].
            history: Integers [B, H], padded on the right.
            candidates: int64 [B, C], columns of the catalogue; None: all of it.

        Returns:
            Logits [B, C] of the candidates as they are, or [B, num_items] with `SEEN` for the items of the history.
        """
        user_B, history_BH = user.long(), history.long()
        if self.training and self.user_dropout:
            known = torch.rand(user_B.shape, device=user_B.device) >= self.user_dropout
            user_B = user_B * known
        if candidates is not None:
            return self.score(user_B, history_BH, candidates)
        return without_seen(self.score_all(user_B, history_BH), history_BH)

    @abstractmethod
    def score(self, user_B: Tensor, history_BH: Tensor, candidates_BC: Tensor) -> Tensor:
        """Score each row's own candidates: logits [B, C]."""

    @abstractmethod
    def score_all(self, user_B: Tensor, history_BH: Tensor) -> Tensor:
        """Score the whole catalogue: logits [B, num_items]."""


def without_seen(scores_BN: Tensor, history_BH: Tensor) -> Tensor:
    """Put `SEEN` where an item is in the history."""
    with_padding = torch.cat([scores_BN[:, :1], scores_BN], dim=1)  # column 0 takes what padding would mark
    return with_padding.scatter(1, history_BH, SEEN)[:, 1:]


def item_vectors(num_items: int, width: int) -> nn.Embedding:
    """Vectors by item code, the one of code 0 fixed at zero."""
    vectors = nn.Embedding(num_items + 1, width, padding_idx=0)
    nn.init.normal_(vectors.weight, std=INITIAL_DEVIATION)
    with torch.no_grad():
        vectors.weight[0] = 0
    return vectors


user_vectors = item_vectors
"""Vectors by user code, likewise: an unknown user's is zero."""


def recent_items(history_BH: Tensor, window: int) -> Tensor:
    """The last `window` items, the most recent first: int64 [B, window], 0 where the history is shorter."""
    length_B1 = (history_BH != 0).sum(dim=1, keepdim=True)
    place_BW = length_B1 - 1 - torch.arange(window, device=history_BH.device)
    recent_BW: Tensor = history_BH.gather(1, place_BW.clamp(min=0)) * (place_BW >= 0)
    return recent_BW


def mean_vector(vectors: nn.Embedding, codes_BL: Tensor) -> Tensor:
    """Mean of the vectors of the codes that are not 0: [B, D]; zero where there is none."""
    number_B1 = (codes_BL != 0).sum(dim=1, keepdim=True).clamp(min=1)
    mean_BD: Tensor = vectors(codes_BL).sum(dim=1) / number_B1
    return mean_BD
