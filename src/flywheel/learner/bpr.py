"""Bayesian personalised ranking: the loss that wants each wanted item above each other one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class BPR(nn.Module):
    """Mean of -log sigmoid(score of the target - score of another): Rendle et al. 2009, arXiv:1205.2618.

    In training the others are the sampled candidates. On a whole catalogue, in validation, they are all other items,
    those that the user has had included: their logit is so low that they add nothing.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the mean over rows and others.

        Args:
            logits: [B, C], C at least 2.
            target: int64 [B], the column of the wanted item.
        """
        wanted_B1 = logits.gather(1, target[:, None])
        pairs_BC = functional.softplus(logits - wanted_B1)  # -log sigmoid(wanted - other)
        # The wanted item beside itself is in the sum as log 2; it is not a pair.
        own_B1 = torch.zeros_like(wanted_B1)
        return pairs_BC.scatter(1, target[:, None], own_B1).sum() / (logits.shape[0] * (logits.shape[1] - 1))
