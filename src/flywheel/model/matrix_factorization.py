"""Matrix factorisation: a vector for each user and each item, whose product is the score (Koren et al. 2009)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flywheel.model.ranker import Ranker, item_vectors, mean_vector, recent_items, user_vectors


class MatrixFactorization(Ranker):
    """BPR-MF, trained with `loss: bpr` on sampled pairs: Rendle et al. 2009, "BPR", arXiv:1205.2618.

    A user that is not known is folded in: the mean of the vectors of the last items of the history stands for the
    user's. A least-squares projection would need a solver in the exported graph; instead, `user_dropout` trains the
    item vectors for this. The order of the history, and anything but its last `window` items, changes
    nothing for known users: the vector that training found is all there is.

    Args:
        num_users: Number of known users.
        num_items: Number of items in the catalogue.
        width: Width of the vectors.
        window: Last items of the history that an unknown user is folded in by.
        user_dropout: Share of training rows whose user is taken for unknown.

    Raises:
        ValueError: A number is out of its range.
    """

    def __init__(
        self, num_users: int, num_items: int, width: int = 64, window: int = 50, user_dropout: float = 0.1
    ) -> None:
        super().__init__(num_users, num_items, user_dropout)
        if width < 1 or window < 1:
            raise ValueError("width and window must be at least 1")
        self.window = window
        self.users = user_vectors(num_users, width)
        self.items = item_vectors(num_items, width)
        self.bias = nn.Parameter(torch.zeros(num_items))

    def score(self, user_B: Tensor, history_BH: Tensor, candidates_BC: Tensor) -> Tensor:
        """Score each row's own candidates: logits [B, C]."""
        items_BCD = self.items(candidates_BC + 1)
        return torch.einsum("bd,bcd->bc", self._user(user_B, history_BH), items_BCD) + self.bias[candidates_BC]

    def score_all(self, user_B: Tensor, history_BH: Tensor) -> Tensor:
        """Score the whole catalogue: logits [B, num_items]."""
        return self._user(user_B, history_BH) @ self.items.weight[1:].T + self.bias

    def _user(self, user_B: Tensor, history_BH: Tensor) -> Tensor:
        folded_BD = mean_vector(self.items, recent_items(history_BH, self.window))
        return torch.where((user_B > 0)[:, None], self.users(user_B), folded_BD)
