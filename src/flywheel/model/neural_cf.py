"""Neural collaborative filtering: a network over the vectors of a user and an item (He et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from flywheel.model.ranker import Ranker, item_vectors, mean_vector, recent_items, user_vectors

MAX_CELLS = 32_000_000
"""Numbers of the first hidden layer that are held at a time for 256 rows, when a whole catalogue is scored."""
ROWS = 256


class NeuralCF(Ranker):
    """NeuMF: He et al. 2017, "Neural collaborative filtering", arXiv:1708.05031.

    Generalised matrix factorisation (a weighted product of two vectors) and a multilayer perceptron over two others,
    joined by the last layer. The paper's user is a vector alone; here the mean of the vectors of the last items is
    added to it (as in SVD++, Koren 2008), so that a user that is not known can be served too.

    Scoring a whole catalogue runs the perceptron for each pair. The first layer is a sum of a user's part and an
    item's, each computed once, and the catalogue is done in pieces, or memory would be rows x items x width.

    Args:
        num_users: Number of known users.
        num_items: Number of items in the catalogue.
        width: Width of the vectors of each of the two parts.
        window: Last items of the history whose mean is added to the user.
        hidden: Widths of the perceptron's hidden layers, one at least.
        dropout: Dropout of hidden units, in [0, 1).
        user_dropout: Share of training rows whose user is taken for unknown.

    Raises:
        ValueError: A number is out of its range.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        width: int = 32,
        window: int = 10,
        hidden: Sequence[int] = (32, 16, 8),
        dropout: float = 0.0,
        user_dropout: float = 0.1,
    ) -> None:
        super().__init__(num_users, num_items, user_dropout)
        if width < 1 or window < 1 or not hidden or not 0 <= dropout < 1:
            raise ValueError("width and window must be at least 1, hidden must not be empty, dropout in [0, 1)")
        self.window = window
        self.product_users, self.layer_users = user_vectors(num_users, width), user_vectors(num_users, width)
        self.product_history, self.layer_history = item_vectors(num_items, width), item_vectors(num_items, width)
        self.product_items, self.layer_items = item_vectors(num_items, width), item_vectors(num_items, width)
        self.bias = nn.Parameter(torch.zeros(num_items))
        self.first_user, self.first_item = nn.Linear(width, hidden[0]), nn.Linear(width, hidden[0], bias=False)
        layers: list[nn.Module] = [nn.Dropout(dropout)]
        for above, below in pairwise(hidden):
            layers += [nn.Linear(above, below), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden[-1], 1, bias=False))
        self.product_weight = nn.Parameter(torch.ones(width))
        self._piece = max(1, MAX_CELLS // (ROWS * hidden[0]))

    def score(self, user_B: Tensor, history_BH: Tensor, candidates_BC: Tensor) -> Tensor:
        """Score each row's own candidates: logits [B, C]."""
        product_BD, first_BF = self._user(user_B, history_BH)
        codes_BC = candidates_BC + 1
        products_BC = torch.einsum("bd,bcd->bc", product_BD, self.product_items(codes_BC))
        layers_BC = self._perceptron(first_BF, self.first_item(self.layer_items(codes_BC)))
        return products_BC + layers_BC + self.bias[candidates_BC]

    def score_all(self, user_B: Tensor, history_BH: Tensor) -> Tensor:
        """Score the whole catalogue: logits [B, num_items]."""
        product_BD, first_BF = self._user(user_B, history_BH)
        first_NF = self.first_item(self.layer_items.weight[1:])
        pieces = [self._perceptron(first_BF, piece) for piece in first_NF.split(self._piece)]
        return product_BD @ self.product_items.weight[1:].T + torch.cat(pieces, dim=1) + self.bias

    def _user(self, user_B: Tensor, history_BH: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted vector of the product part, and the user's part of the first layer."""
        recent_BW = recent_items(history_BH, self.window)
        product_BD = self.product_users(user_B) + mean_vector(self.product_history, recent_BW)
        layer_BD = self.layer_users(user_B) + mean_vector(self.layer_history, recent_BW)
        return product_BD * self.product_weight, self.first_user(layer_BD)

    def _perceptron(self, user_BF: Tensor, item: Tensor) -> Tensor:
        """Run the pairs: [B, F] with [B, C, F] or [C, F] -> [B, C]."""
        output: Tensor = self.layers(functional.relu(user_BF[:, None] + item))
        return output.squeeze(-1)
