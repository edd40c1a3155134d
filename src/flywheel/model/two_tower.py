"""Two towers: a network for the user and one for the item, whose outputs' product is the score."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flywheel.model.ranker import Ranker, item_vectors, recent_items, user_vectors


class TwoTower(Ranker):
    """A user tower over the user's vector and recent items, an item tower over the item's vector, and a dot product.

    Covington et al. 2016, "Deep neural networks for YouTube recommendations" (the user tower: a pooled history beside
    the user), and Yi et al. 2019, "Sampling-bias-corrected neural modeling" (the item tower). The pooling is a weighted
    sum of the vectors of the last `window` items, with a learnt weight for each place and dimension that starts at
    1 / (1 + place): so the order in which items were taken counts. Both towers share the items' vectors, and each adds
    to what it is given (He et al. 2016, arXiv:1512.03385): from the start, a user is near the items of the history.

    Args:
        num_users: Number of known users.
        num_items: Number of items in the catalogue.
        width: Width of the vectors, and of the towers' outputs.
        window: Last items of the history that the user tower sees.
        hidden: Widths of the hidden layers of each tower.
        dropout: Dropout of history vectors and hidden units, in [0, 1).
        user_dropout: Share of training rows whose user is taken for unknown.

    Raises:
        ValueError: A number is out of its range.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        width: int = 64,
        window: int = 20,
        hidden: Sequence[int] = (128,),
        dropout: float = 0.2,
        user_dropout: float = 0.1,
    ) -> None:
        super().__init__(num_users, num_items, user_dropout)
        if width < 1 or window < 1 or not 0 <= dropout < 1:
            raise ValueError("width and window must be at least 1, dropout in [0, 1)")
        self.window = window
        self.users = user_vectors(num_users, width)
        self.items = item_vectors(num_items, width)
        self.bias = nn.Parameter(torch.zeros(num_items))
        self.recency = nn.Parameter((1.0 / (1.0 + torch.arange(window)))[:, None].repeat(1, width))
        self.drop = nn.Dropout(dropout)
        self.user_tower = _tower(2 * width, hidden, width, dropout)
        self.item_tower = _tower(width, hidden, width, dropout)

    def score(self, user_B: Tensor, history_BH: Tensor, candidates_BC: Tensor) -> Tensor:
        """Score each row's own candidates: logits [B, C]."""
        items_BCD = self._item(self.items(candidates_BC + 1))
        return torch.einsum("bd,bcd->bc", self._user(user_B, history_BH), items_BCD) + self.bias[candidates_BC]

    def score_all(self, user_B: Tensor, history_BH: Tensor) -> Tensor:
        """Score the whole catalogue: logits [B, num_items]."""
        return self._user(user_B, history_BH) @ self._item(self.items.weight[1:]).T + self.bias

    def _user(self, user_B: Tensor, history_BH: Tensor) -> Tensor:
        recent_BWD = self.drop(self.items(recent_items(history_BH, self.window)))
        pooled_BD: Tensor = (recent_BWD * self.recency).sum(dim=1)
        tower_BD: Tensor = self.user_tower(torch.cat([self.users(user_B), pooled_BD], dim=1))
        return pooled_BD + tower_BD

    def _item(self, vectors: Tensor) -> Tensor:
        """What the tower adds to the vector itself: [..., D] -> [..., D]."""
        tower: Tensor = self.item_tower(vectors)
        return vectors + tower


def _tower(width: int, hidden: Sequence[int], outputs: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for next_width in hidden:
        layers += [nn.Linear(width, next_width), nn.ReLU(), nn.Dropout(dropout)]
        width = next_width
    return nn.Sequential(*layers, nn.Linear(width, outputs))
